//! Calls over a socket, without blocking the test's runtime, and waiting for what a daemon tells.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ams_rpc::Method;
use ams_rpc::client::{CallError, Client, Failure};
use ams_rpc::methods::events;
use ams_rpc::types::SubscribeParams;

use crate::PATIENCE;

/// One connection to a daemon or to a relay's administration; it has one call under way.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Arc<Mutex<Client>>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`CallError`]; what was called may not be running.
    pub async fn open(socket: &Path) -> Result<Self, CallError> {
        let socket = socket.to_owned();
        let client = blocking(move || connect(&socket)).await?;
        Ok(Self { client: Arc::new(Mutex::new(client)) })
    }

    /// Calls a method.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn try_call<M: Method>(&self, params: M::Params) -> Result<M::Result, CallError> {
        let client = Arc::clone(&self.client);
        blocking(move || client.lock().unwrap().call::<M>(&params)).await
    }

    /// Calls a method, which must answer.
    pub async fn call<M: Method>(&self, params: M::Params) -> M::Result {
        self.try_call::<M>(params).await.unwrap_or_else(|error| panic!("{}: {error}", M::NAME))
    }
}

fn connect(socket: &Path) -> Result<Client, CallError> {
    let client = Client::connect(socket)?;
    client.set_timeout(Some(PATIENCE * 2))?;
    Ok(client)
}

/// Runs what blocks beside the runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

/// What a method refused.
#[must_use]
pub fn failure<T: std::fmt::Debug>(answer: Result<T, CallError>) -> Failure {
    match answer {
        Err(CallError::Failed(failure)) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

/// The kind of what a method refused, as scripts see it.
#[must_use]
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> String {
    let failure = failure(answer);
    failure.data.unwrap_or_else(|| panic!("no kind: {}", failure.message)).kind
}

/// Looks at a daemon until `look` finds what it looks for: at once, and again whenever the daemon
/// told of something. So what is waited for must not only come, it must also be told.
pub(crate) fn until<T>(
    socket: &Path,
    what: &str,
    mut look: impl FnMut(&mut Client) -> Option<T>,
) -> T {
    let failed =
        |error: CallError| -> String { format!("{}: waits for {what}: {error}", socket.display()) };
    // Before the first look, so that nothing is told in between.
    let told = connect(socket).and_then(|client| {
        let told = client.subscribe::<events::Subscribe>(&SubscribeParams::default())?;
        told.set_timeout(Some(PATIENCE))?;
        Ok(told)
    });
    let mut told = told.unwrap_or_else(|error| panic!("{}", failed(error)));
    let mut client = connect(socket).unwrap_or_else(|error| panic!("{}", failed(error)));
    loop {
        if let Some(found) = look(&mut client) {
            return found;
        }
        match told.next_notification() {
            Ok(_) => {}
            Err(CallError::TimedOut) => {
                let late = look(&mut client).is_some();
                let but = if late { "; it is so, but nobody told" } else { "" };
                panic!("{}: waited in vain for {what}{but}", socket.display());
            }
            Err(error) => panic!("{}", failed(error)),
        }
    }
}
