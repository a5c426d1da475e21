//! When to ping, and when the other side is gone. A value without a clock: the owner tells it the
//! time, and so decides which clock runs.

use std::time::Duration;

use tokio::time::Instant;

use crate::chance::Chance;

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
    /// The silence of this round, with its jitter.
    round: Duration,
    heard: Instant,
    deadline: Instant,
    unanswered: u8,
    chance: Chance,
}

impl Keepalive {
    /// For a link that came up at `now`.
    pub fn new(now: Instant, chance: Chance) -> Self {
        Self::with_silence(now, SILENCE, chance)
    }

    /// With another silence than [`SILENCE`].
    pub fn with_silence(now: Instant, silence: Duration, chance: Chance) -> Self {
        let round = jittered(silence, &chance);
        Self { silence, round, heard: now, deadline: later(now, round), unanswered: 0, chance }
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
        if self.unanswered == 0 {
            self.deadline = later(self.heard, self.round);
        }
        if now < self.deadline {
            return Due::Nothing;
        }
        if self.unanswered >= PINGS {
            return Due::Dead;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.round = jittered(self.silence, &self.chance);
        self.deadline = later(now, self.round);
        Due::Ping
    }
}

fn jittered(silence: Duration, chance: &Chance) -> Duration {
    let percent = |of: u32| silence.saturating_mul(of).checked_div(100).unwrap_or(silence);
    let (least, most) = (100_u32.saturating_sub(JITTER), 100_u32.saturating_add(JITTER));
    chance.within(percent(least)..=percent(most))
}

fn later(from: Instant, wait: Duration) -> Instant {
    from.checked_add(wait).unwrap_or(from)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(22_500);
    const MOST: Duration = Duration::from_millis(27_500);

    #[test]
    fn two_pings_then_dead() {
        let start = Instant::now();
        let mut link = Keepalive::new(start, Chance::default());
        assert_eq!(link.due(start), Due::Nothing);
        let mut last = start;
        for _ in 0..PINGS {
            let now = link.deadline();
            assert!((LEAST..=MOST).contains(&(now - last)), "{:?}", now - last);
            assert_eq!(link.due(now), Due::Ping);
            last = now;
        }
        assert_eq!(link.due(link.deadline()), Due::Dead);
    }

    #[test]
    fn whatever_is_heard_puts_it_off() {
        let start = Instant::now();
        let mut link = Keepalive::new(start, Chance::default());
        let heard = start + Duration::from_secs(20);
        link.heard(heard);
        let first = link.deadline();
        assert!(first <= start + MOST);
        assert_eq!(link.due(first), Due::Nothing);
        assert!((heard + LEAST..=heard + MOST).contains(&link.deadline()));
        assert_eq!(link.due(link.deadline()), Due::Ping);
    }

    #[test]
    fn an_answer_clears_the_count() {
        let mut link = Keepalive::new(Instant::now(), Chance::default());
        for _ in 0..10 {
            let now = link.deadline();
            assert_eq!(link.due(now), Due::Ping);
            link.heard(now + Duration::from_millis(50));
            // The ping's own deadline finds that it was answered.
            assert_eq!(link.due(link.deadline()), Due::Nothing);
        }
    }
}
