//! The serving end: a socket that only its owner can use, and the clients on it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use interprocess::local_socket::tokio::{Listener as LocalListener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::ConnectionActor;
use crate::error::RpcError;
use crate::platform;
use crate::request::error_answer;
use crate::service::Service;

pub use crate::connection::{MAX_CALLS, MAX_SUBSCRIPTIONS};
pub use crate::request::{MAX_BATCH, MAX_DEPTH, MAX_LINE};

/// Clients at the same time.
pub const MAX_CONNECTIONS: usize = 256;
/// After a failed accept: first pause and longest pause.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A socket that can be connected to. Its file goes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    inner: LocalListener,
    _file: Option<platform::SocketFile>,
}

impl Listener {
    /// Makes the socket at `path`, for its owner alone. The folder is the caller's to check:
    /// [`platform::private_dir`]. Call within a runtime.
    ///
    /// # Errors
    /// Says what is in the way; a socket that somebody serves is never touched.
    pub fn bind(path: &Path) -> Result<Self, platform::BindError> {
        let (inner, file) = platform::bind(path)?;
        Ok(Self { inner, _file: Some(file) })
    }

    /// Takes over a socket that is bound and listening already, as a service manager hands it
    /// over. Its file stays when this is dropped. Call within a runtime.
    ///
    /// # Errors
    /// When it is not a socket that can be used.
    pub fn adopt(socket: platform::Handed) -> io::Result<Self> {
        Ok(Self { inner: platform::adopt(socket)?, _file: None })
    }
}

/// Serves a [`Service`] on a [`Listener`].
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    service: Service,
    allow_root: bool,
    whoever_can_open: bool,
    most: usize,
}

impl Server {
    /// Only the user who runs this program may connect.
    #[must_use]
    pub fn new(listener: Listener, service: Service) -> Self {
        let most = MAX_CONNECTIONS;
        Self { listener, service, allow_root: false, whoever_can_open: false, most }
    }

    /// Lets root connect too.
    #[must_use]
    pub fn allow_root(mut self, yes: bool) -> Self {
        self.allow_root = yes;
        self
    }

    /// Lets everybody connect whom the rights of the socket's file let: for a service that is
    /// [`within`](Service::within) a scope.
    #[must_use]
    pub fn whoever_can_open(mut self, yes: bool) -> Self {
        self.whoever_can_open = yes;
        self
    }

    /// So many clients at the same time, instead of [`MAX_CONNECTIONS`].
    #[must_use]
    pub fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Serves until `stop`; then takes no more lines, gives the calls that run a moment to answer,
    /// and returns when the last connection is closed and the socket is gone.
    pub async fn run(self, stop: CancellationToken) {
        let clients = Arc::new(Semaphore::new(self.most));
        let tasks = TaskTracker::new();
        let mut next_id = 1_usize;
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.inner.accept() => accepted,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(ACCEPT_PAUSE.1);
                    continue;
                }
            };
            pause = ACCEPT_PAUSE.0;
            match platform::may_call(&stream, self.allow_root) {
                Ok(_) if self.whoever_can_open => {}
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    refuse(&stream, RpcError::not_allowed("this socket belongs to another user"));
                    continue;
                }
            }
            let Ok(permit) = Arc::clone(&clients).try_acquire_owned() else {
                refuse(&stream, RpcError::busy(format!("there are {} clients already", self.most)));
                continue;
            };
            let connection =
                ConnectionActor::new(next_id, stream, self.service.clone(), stop.clone());
            next_id = next_id.wrapping_add(1);
            match connection {
                Ok(connection) => {
                    tasks.spawn(async move {
                        connection.run().await;
                        drop(permit);
                    });
                }
                Err(error) => tracing::warn!(%error, "cannot serve a client"),
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

/// Says why and closes. The accept loop waits for nobody: a fresh socket has room for one line.
fn refuse(mut stream: &Stream, error: RpcError) {
    let mut line = error_answer(None, error).get().to_owned();
    line.push('\n');
    let _ = stream.write_all(line.as_bytes()).now_or_never();
}
