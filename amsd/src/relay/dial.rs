//! From an address to an encrypted link.

use std::io;
use std::time::Duration;

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_link::Link;
use ams_link::handshake::{self, HandshakeError};
use ams_wire::address::{HostPort, RELAY_PORT};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::row::RelayRow;

/// For finding the address and connecting.
const CONNECT: Duration = Duration::from_secs(10);
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
    /// What answers does not hold the relay's key.
    #[error("not the relay of this link, or its key changed")]
    WrongRelay,
    /// The network says something else.
    #[error("{0}")]
    Io(String),
}

/// Dials the relay of `row`, as the device that `row` is there.
pub(super) async fn dial(row: &RelayRow) -> Result<Link<TcpStream>, DialError> {
    let at = HostPort::parse(&row.at, RELAY_PORT).map_err(|_| DialError::BadAddress)?;
    let relay = DhPublic::from_bytes(row.key.0).map_err(|_| DialError::WrongRelay)?;
    let stream = timeout(CONNECT, connect(&at)).await.unwrap_or(Err(DialError::Silent))?;
    // Records are gathered already; waiting for more would only delay them.
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    let device = DhSecret::from_bytes(&row.device_secret);
    handshake::connect(stream, &device, &relay, HANDSHAKE).await.map_err(|error| match error {
        wrong if wrong.is_wrong_key() => DialError::WrongRelay,
        HandshakeError::TimedOut => DialError::Silent,
        HandshakeError::Io(error) => failed(&error),
        other => DialError::Io(other.to_string()),
    })
}

async fn connect(at: &HostPort) -> Result<TcpStream, DialError> {
    let unknown = || DialError::UnknownHost(at.host().to_owned());
    let found = lookup_host((at.bare_host(), at.port())).await.map_err(|_| unknown())?;
    let mut failure = unknown();
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = failed(&error),
        }
    }
    Err(failure)
}

fn failed(error: &io::Error) -> DialError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Refused,
        io::ErrorKind::TimedOut => DialError::Silent,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            DialError::Io("the network there cannot be reached".to_owned())
        }
        _ => DialError::Io(error.to_string()),
    }
}
