//! When to dial again: waits double from half a second to a minute, half of each by chance, so that
//! a relay that restarts is not met by all its clients at once.

use std::time::Duration;

use crate::chance::Chance;

/// Longest first wait.
pub const FIRST: Duration = Duration::from_millis(500);
/// Longest wait.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The waits of one destination.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    chance: Chance,
}

impl Backoff {
    /// Nothing failed yet.
    pub fn new(chance: Chance) -> Self {
        Self { next: FIRST, chance }
    }

    /// How long to wait before the next try, between a half and the whole of this round's wait.
    pub fn wait(&mut self) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(LONGEST);
        let half = most.checked_div(2).unwrap_or(most);
        half.saturating_add(self.chance.within(Duration::ZERO..=half))
    }

    /// The other side proved to live: a record of this link opened. A mere connection proves
    /// nothing, or a relay that accepts and fails would be dialled without end.
    pub fn alive(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_reset_by_life_alone() {
        let mut backoff = Backoff::new(Chance::default());
        let mut most = FIRST;
        for _ in 0..20 {
            let wait = backoff.wait();
            assert!((most / 2..=most).contains(&wait), "{wait:?} of {most:?}");
            most = (most * 2).min(LONGEST);
        }
        assert_eq!(most, LONGEST);
        backoff.alive();
        assert!(backoff.wait() <= FIRST);
    }

    #[test]
    fn waits_differ() {
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|_| Backoff { next: LONGEST, chance: Chance::default() }.wait()).collect();
        assert!(waits.len() > 10);
    }
}
