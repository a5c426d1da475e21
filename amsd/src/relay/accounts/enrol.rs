//! What a relay is told to make an account, or to take this device for one. Each runs on a link of
//! its own, whose key the relay then takes as the device's.

use std::collections::VecDeque;
use std::time::Duration;

use ams_crypto::opaque::{ClientError, ClientLogin, ClientRegistration, Password};
use ams_link::receiver::{Frame, ReceiveError};
use ams_link::sender::SendError;
use ams_link::stream::BoxedStream;
use ams_link::{Link, Receiver, Sender};
use ams_wire::WireError;
use ams_wire::from_relay::{Bye, FromRelay};
use ams_wire::id::InviteToken;
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_relay::{ClientHello, JoinFinish, JoinStart, LoginFinish, LoginStart, ToRelay};
use ams_wire::username::Username;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::outside::Network;
use crate::relay::dial::{DialError, dial};
use crate::relay::row::RelayRow;

/// For one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// For the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a device is not enrolled. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum EnrolError {
    /// No link.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The link ended, or no answer came.
    #[error("{0}")]
    Lost(String),
    /// The relay refused, and never says why.
    #[error("the relay refused")]
    Refused,
    /// The two speak different versions.
    #[error("the relay speaks another version of AMS: one of the two needs an update")]
    Version,
    /// The relay sent something else than the answer.
    #[error("the relay said something that makes no sense")]
    Nonsense,
    /// Not enough memory for the password hash.
    #[error("not enough memory for the password hash (64 MiB)")]
    OutOfMemory,
}

impl From<SendError> for EnrolError {
    fn from(error: SendError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<ReceiveError> for EnrolError {
    fn from(error: ReceiveError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<WireError> for EnrolError {
    fn from(_: WireError) -> Self {
        Self::Nonsense
    }
}

impl From<ClientError> for EnrolError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused => Self::Refused,
            ClientError::Malformed => Self::Nonsense,
            ClientError::OutOfMemory => Self::OutOfMemory,
        }
    }
}

/// Makes the account that the invite `token` names.
pub(super) async fn join(
    network: &dyn Network,
    row: &RelayRow,
    token: InviteToken,
    password: Password,
) -> Result<(), EnrolError> {
    let (registration, request) = ClientRegistration::start(password)?;
    let mut talk =
        Talk::open(network, row, &ToRelay::JoinStart(JoinStart { token, request })).await?;
    let response = talk.hear(|said| match said {
        FromRelay::JoinResponse(response) => Some(response),
        _ => None,
    });
    let response = response.await?;
    let upload = off_the_async_threads(move || registration.finish(&response)).await?;
    talk.finish(&ToRelay::JoinFinish(JoinFinish { upload })).await
}

/// Enrols this device on the account `user`.
pub(super) async fn login(
    network: &dyn Network,
    row: &RelayRow,
    user: Username,
    password: Password,
) -> Result<(), EnrolError> {
    let (login, ke1) = ClientLogin::start(password)?;
    let mut talk = Talk::open(network, row, &ToRelay::LoginStart(LoginStart { user, ke1 })).await?;
    let response = talk.hear(|said| match said {
        FromRelay::LoginResponse(ke2) => Some(ke2),
        _ => None,
    });
    let ke2 = response.await?;
    let hash = talk.handshake_hash;
    let ke3 = off_the_async_threads(move || login.finish(&ke2, &hash)).await?;
    talk.finish(&ToRelay::LoginFinish(LoginFinish { ke3 })).await
}

/// Hashing a password takes a tenth of a second.
pub(super) async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, EnrolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(EnrolError::Lost("the daemon is stopping".to_owned())),
    }
}

/// A link on which nothing else happens.
struct Talk {
    tx: Sender<WriteHalf<BoxedStream>>,
    rx: Receiver<ReadHalf<BoxedStream>>,
    heard: VecDeque<Frame>,
    handshake_hash: [u8; 32],
}

impl Talk {
    async fn open(
        network: &dyn Network,
        row: &RelayRow,
        first: &ToRelay<'_>,
    ) -> Result<Self, EnrolError> {
        let Link { sender: tx, receiver: rx, handshake_hash, .. } = dial(network, row).await?;
        let mut talk = Self { tx, rx, heard: VecDeque::new(), handshake_hash };
        talk.tx.push(&ToRelay::Hello(ClientHello { versions: vec![PROTOCOL_VERSION] }))?;
        talk.tx.push(first)?;
        talk.flush().await?;
        let version = talk.hear(|said| match said {
            FromRelay::Hello(hello) => Some(hello.version),
            _ => None,
        });
        if version.await? == PROTOCOL_VERSION { Ok(talk) } else { Err(EnrolError::Version) }
    }

    async fn flush(&mut self) -> Result<(), EnrolError> {
        Ok(timeout(ANSWER, self.tx.flush()).await.unwrap_or(Err(SendError::Cut))?)
    }

    /// The next frame, which `pick` takes apart.
    async fn hear<T>(
        &mut self,
        pick: impl Fn(FromRelay<'_>) -> Option<T>,
    ) -> Result<T, EnrolError> {
        loop {
            let Some(Frame { number, body }) = self.heard.pop_front() else {
                let silent = || EnrolError::Lost("the relay did not answer in time".to_owned());
                let batch = timeout(ANSWER, self.rx.receive()).await.map_err(|_| silent())?;
                self.heard.extend(batch?);
                continue;
            };
            match FromRelay::decode(number, &body)? {
                None | Some(FromRelay::Pong) => {}
                Some(FromRelay::Ping) => {
                    self.tx.push(&ToRelay::Pong)?;
                    self.flush().await?;
                }
                Some(FromRelay::Refused) => return Err(EnrolError::Refused),
                Some(FromRelay::Bye(Bye::Version)) => return Err(EnrolError::Version),
                Some(FromRelay::Bye(_)) => {
                    return Err(EnrolError::Lost("the relay is stopping or restarting".to_owned()));
                }
                Some(said) => return pick(said).ok_or(EnrolError::Nonsense),
            }
        }
    }

    /// The last step, and goodbye.
    async fn finish(mut self, last: &ToRelay<'_>) -> Result<(), EnrolError> {
        self.tx.push(last)?;
        self.flush().await?;
        let enrolled = self.hear(|said| matches!(said, FromRelay::Enrolled).then_some(()));
        enrolled.await?;
        if self.tx.push(&ToRelay::Bye).is_ok() {
            // It is enrolled whether or not the relay takes the goodbye.
            let _ = timeout(GOODBYE, self.tx.close()).await;
        }
        Ok(())
    }
}
