//! Wall-clock time, for what outlives the process: the expiry of invites and requests. Everything
//! shorter runs by the runtime's own clock.

use std::sync::atomic::{AtomicI64, Ordering};
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
        /// What somebody set it ahead since, in seconds.
        ahead: Option<&'static AtomicI64>,
    },
}

impl Clock {
    /// Follows the runtime's clock, from `from` seconds since 1970. Call within a runtime.
    pub fn following(from: u64) -> Self {
        Self::Following { since: Instant::now(), from, ahead: None }
    }

    /// As [`Clock::following`], and it jumps whenever `ahead` (in seconds) is changed: a clock that
    /// somebody sets while the relay runs.
    pub fn set_by(from: u64, ahead: &'static AtomicI64) -> Self {
        Self::Following { since: Instant::now(), from, ahead: Some(ahead) }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn now(&self) -> u64 {
        match self {
            Self::System => {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
            }
            Self::Following { since, from, ahead } => {
                let ahead = ahead.map_or(0, |ahead| ahead.load(Ordering::Relaxed));
                from.saturating_add(since.elapsed().as_secs()).saturating_add_signed(ahead)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_somebody_sets_jumps_and_goes_on() {
        static AHEAD: AtomicI64 = AtomicI64::new(0);
        let clock = Clock::set_by(1_000, &AHEAD);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!((clock.now(), Clock::following(7).now()), (1_005, 7));
        AHEAD.store(-2_000, Ordering::Relaxed);
        assert_eq!(clock.now(), 0, "nothing was before 1970");
        AHEAD.store(60, Ordering::Relaxed);
        assert_eq!(clock.now(), 1_065);
    }
}
