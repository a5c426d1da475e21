//! What a daemon finds outside of itself, beside its disk: time, chance, the network, programs. Values, so
//! that a simulation can put its own in their place.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ams_link::Chance;
use ams_link::stream::BoxedStream;
use ams_wire::address::HostPort;

use crate::clock::Clock;
use crate::hooks::Programs;
use crate::hooks::platform::System;
use crate::relay::DialError;
use crate::tcp::Tcp;

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
            network: Arc::new(Tcp::default()),
            programs: Arc::new(System { folder: std::env::temp_dir() }),
        }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("clock", &self.clock).finish_non_exhaustive()
    }
}
