//! Wall-clock time, for what outlives the process: the expiry of invites and requests. Everything
//! shorter runs by the runtime's own clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The system's clock.
    System,
    /// Follows the runtime's clock from a given moment, so that a test that pauses or advances that
    /// one moves both.
    Following {
        /// The runtime's clock at the beginning.
        since: Instant,
        /// Seconds since 1970 at the beginning.
        from: u64,
    },
}

impl Clock {
    /// Follows the runtime's clock, from `from` seconds since 1970. Call within a runtime.
    pub fn following(from: u64) -> Self {
        Self::Following { since: Instant::now(), from }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn now(&self) -> u64 {
        match self {
            Self::System => {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
            }
            Self::Following { since, from } => from.saturating_add(since.elapsed().as_secs()),
        }
    }
}
