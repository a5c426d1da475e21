//! From an address to an encrypted link.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_link::Link;
use ams_link::handshake::{self, HandshakeError};
use ams_link::stream::BoxedStream;
use ams_wire::address::{HostPort, RELAY_PORT};

use super::row::RelayRow;
use crate::outside::Network;

/// For the two round trips of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why there is no link. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address on disk is none.
    #[error("the relay's address is damaged")]
    BadAddress,
    /// The name of the host leads nowhere.
    #[error("the host {0} is not known")]
    UnknownHost(String),
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No answer.
    #[error("no answer")]
    Silent,
    /// The proxy that everything goes through.
    #[error("the proxy at {at}: {why}")]
    Proxy {
        /// Where it is.
        at: SocketAddr,
        /// What is wrong with it, or what it says.
        why: String,
    },
    /// What answers does not hold the relay's key.
    #[error("not the relay of this link, or its key changed")]
    WrongRelay,
    /// The network says something else.
    #[error("{0}")]
    Io(String),
}

impl DialError {
    /// What the system says, for people.
    pub(crate) fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Silent,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::Io("the network there cannot be reached".to_owned())
            }
            _ => Self::Io(error.to_string()),
        }
    }
}

/// Dials the relay of `row`, as the device that `row` is there.
pub(super) async fn dial(
    network: &dyn Network,
    row: &RelayRow,
) -> Result<Link<BoxedStream>, DialError> {
    let at = HostPort::parse(&row.at, RELAY_PORT).map_err(|_| DialError::BadAddress)?;
    let relay = DhPublic::from_bytes(row.key.0).map_err(|_| DialError::WrongRelay)?;
    let stream = network.connect(&at).await?;
    let device = DhSecret::from_bytes(&row.device_secret);
    handshake::connect(stream, &device, &relay, HANDSHAKE).await.map_err(|error| match error {
        wrong if wrong.is_wrong_key() => DialError::WrongRelay,
        HandshakeError::TimedOut => DialError::Silent,
        HandshakeError::Io(error) => DialError::from_io(&error),
        other => DialError::Io(other.to_string()),
    })
}
