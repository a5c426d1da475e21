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

/// For finding the addresses of a host, and again for connecting to one of them.
const CONNECT: Duration = Duration::from_secs(10);
/// Addresses of a host that are tried.
const MOST_ADDRESSES: usize = 4;
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
    let stream = connect(&at).await?;
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
    let found = timeout(CONNECT, lookup_host((at.bare_host(), at.port()))).await;
    let found: Vec<_> = found
        .map_err(|_| DialError::Silent)?
        .map_err(|_| unknown())?
        .take(MOST_ADDRESSES)
        .collect();
    // One that swallows everything must not use up the time of the others.
    let tries = u32::try_from(found.len()).unwrap_or(1);
    let limit = CONNECT.checked_div(tries).unwrap_or(CONNECT);
    let mut failure = unknown();
    for address in found {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = failed(&error),
            Err(_) => failure = DialError::Silent,
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
