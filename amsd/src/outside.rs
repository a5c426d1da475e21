//! What a daemon finds outside of itself, beside its disk: time, chance, the network, programs. Values, so
//! that a simulation can put its own in their place.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ams_link::Chance;
use ams_link::stream::BoxedStream;
use ams_wire::address::HostPort;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::hooks::Programs;
#[cfg(unix)]
use crate::hooks::unix::System;
use crate::relay::DialError;

/// A connection to come.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<BoxedStream, DialError>> + Send + 'a>>;

/// Leads to other machines.
pub trait Network: Send + Sync {
    /// Connects.
    fn connect<'a>(&'a self, to: &'a HostPort) -> Connecting<'a>;
}

/// Time, chance, network and programs. Clones are the same.
#[derive(Clone)]
pub struct Outside {
    /// The wall clock.
    pub clock: Clock,
    /// Where jitter comes from.
    pub chance: Chance,
    /// The way to relays.
    pub network: Arc<dyn Network>,
    /// What runs the programs of hooks.
    pub programs: Arc<dyn Programs>,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            chance: Chance::default(),
            network: Arc::new(Tcp),
            programs: Arc::new(System { folder: std::env::temp_dir() }),
        }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The system's own network.
struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, to: &'a HostPort) -> Connecting<'a> {
        Box::pin(async move {
            let stream = connect(to).await?;
            // Records are gathered already; waiting for more would only delay them.
            stream.set_nodelay(true).map_err(|error| DialError::from_io(&error))?;
            Ok(BoxedStream::new(stream))
        })
    }
}

/// For finding the addresses of a host, and again for connecting to one of them.
const CONNECT: Duration = Duration::from_secs(10);
/// Addresses of a host that are tried.
const MOST_ADDRESSES: usize = 4;

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
            Ok(Err(error)) => failure = DialError::from_io(&error),
            Err(_) => failure = DialError::Silent,
        }
    }
    Err(failure)
}
