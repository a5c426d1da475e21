//! The system's own network: TCP, directly or through a SOCKS5 proxy (RFC 1928).
//!
//! Where there is a proxy, nothing is dialled around it and no name is looked up here: the proxy gets
//! names as they were written.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ams_link::stream::BoxedStream;
use ams_wire::address::HostPort;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_socks::TargetAddr;
use tokio_socks::tcp::Socks5Stream;

use crate::outside::{Connecting, Network};
use crate::relay::DialError;

/// For finding the addresses of a host, and again for connecting to one of them.
const CONNECT: Duration = Duration::from_secs(10);
/// Addresses of a host that are tried.
const MOST_ADDRESSES: usize = 4;
/// For the proxy's word that it is connected: a way through Tor may have to be built first.
const THROUGH: Duration = Duration::from_secs(60);

/// Dials, through the proxy that it is told of last.
#[derive(Debug, Default)]
pub struct Tcp {
    proxy: watch::Sender<Option<SocketAddr>>,
}

impl Tcp {
    /// From now on connections are made through this proxy, or directly. Those that are up stay as
    /// they are. Answers whether that changes anything.
    pub fn go_through(&self, proxy: Option<SocketAddr>) -> bool {
        self.proxy.send_if_modified(|now| std::mem::replace(now, proxy) != proxy)
    }
}

impl Network for Tcp {
    fn connect<'a>(&'a self, to: &'a HostPort) -> Connecting<'a> {
        let proxy = *self.proxy.borrow();
        Box::pin(async move {
            let stream = match proxy {
                Some(proxy) => through(proxy, to).await?,
                None => directly(to).await?,
            };
            // Records are gathered already; waiting for more would only delay them.
            stream.set_nodelay(true).map_err(|error| DialError::from_io(&error))?;
            Ok(BoxedStream::new(stream))
        })
    }
}

async fn directly(at: &HostPort) -> Result<TcpStream, DialError> {
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
            Ok(Err(error)) => failure = DialError::from_io(&error),
            Err(_) => failure = DialError::Silent,
        }
    }
    Err(failure)
}

async fn through(proxy: SocketAddr, to: &HostPort) -> Result<TcpStream, DialError> {
    let failed = |why: String| DialError::Proxy { at: proxy, why };
    let stream = match timeout(CONNECT, TcpStream::connect(proxy)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(failed("nothing listens there".to_owned()));
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("no answer".to_owned())),
    };
    // A name stays one; whether it is one is decided here and not by a look-up.
    let target = match to.bare_host().parse::<IpAddr>() {
        Ok(ip) => TargetAddr::Ip(SocketAddr::new(ip, to.port())),
        Err(_) => TargetAddr::Domain(to.bare_host().into(), to.port()),
    };
    match timeout(THROUGH, Socks5Stream::connect_with_socket(stream, target)).await {
        Ok(Ok(stream)) => Ok(stream.into_inner()),
        Ok(Err(error)) => Err(refused(proxy, to, error)),
        Err(_) => Err(failed(format!("no word on {to}"))),
    }
}

/// What a proxy's answer means (RFC 1928 section 6).
fn refused(proxy: SocketAddr, to: &HostPort, error: tokio_socks::Error) -> DialError {
    use tokio_socks::Error;

    let failed = |why: String| DialError::Proxy { at: proxy, why };
    match error {
        Error::ConnectionRefused => DialError::Refused,
        Error::TtlExpired => DialError::Silent,
        Error::HostUnreachable | Error::NetworkUnreachable | Error::GeneralSocksServerFailure => {
            failed(format!("it cannot reach {to}"))
        }
        Error::ConnectionNotAllowedByRuleset => failed(format!("it does not allow {to}")),
        Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
            failed("it wants a password, which amsd has none for".to_owned())
        }
        Error::InvalidResponseVersion => failed("what answers there is no SOCKS5 proxy".to_owned()),
        Error::Io(error) => failed(format!("it ended the connection ({error})")),
        other => failed(other.to_string()),
    }
}
