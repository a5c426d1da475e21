//! When to ping, and when the other side is gone. A value without a clock: the owner tells it the
//! time, and so decides which clock runs.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

/// Silence after which to ping.
pub const SILENCE: Duration = Duration::from_secs(25);
/// Pings without an answer after which the link is dead.
pub const PINGS: u8 = 2;
/// Jitter in percent each way, so that ten thousand links do not ping at once.
const JITTER: u32 = 10;

/// What to do at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Something was heard in the meantime: wait for the new deadline.
    Nothing,
    /// Send a `Ping`.
    Ping,
    /// Nobody is there: close the link.
    Dead,
}

/// Silence on one link.
#[derive(Debug)]
pub struct Keepalive {
    silence: Duration,
    heard: Instant,
    deadline: Instant,
    unanswered: u8,
}

impl Keepalive {
    /// For a link that came up at `now`.
    pub fn new(now: Instant) -> Self {
        Self::with_silence(now, SILENCE)
    }

    /// With another silence than [`SILENCE`].
    pub fn with_silence(now: Instant, silence: Duration) -> Self {
        let deadline = later(now, silence);
        Self { silence, heard: now, deadline, unanswered: 0 }
    }

    /// Something came from the other side. Cheap: the deadline stays, and moves when it is reached.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.unanswered = 0;
    }

    /// When to call [`Keepalive::due`].
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What to do now that the deadline is reached; sets the next one.
    pub fn due(&mut self, now: Instant) -> Due {
        if now < self.deadline {
            return Due::Nothing;
        }
        let moved = later(self.heard, self.silence);
        if self.unanswered == 0 && moved > now {
            self.deadline = moved;
            return Due::Nothing;
        }
        if self.unanswered >= PINGS {
            return Due::Dead;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.deadline = later(now, self.silence);
        Due::Ping
    }
}

fn later(from: Instant, silence: Duration) -> Instant {
    let percent =
        rand::rng().random_range(100_u32.saturating_sub(JITTER)..=100_u32.saturating_add(JITTER));
    let wait = silence.saturating_mul(percent).checked_div(100).unwrap_or(silence);
    from.checked_add(wait).unwrap_or(from)
}
