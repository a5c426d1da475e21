//! When the relay is told that envelopes were handled. Nobody waits for that word: the sender waits
//! for the receipt, which follows the same commit, and the two share a record.

use std::time::Duration;

use ams_wire::id::WorkMark;
use ams_wire::to_relay::Stored;
use tokio::time::Instant;

/// How long the word waits for something that goes out anyway: longer than a receipt takes.
const DELAY: Duration = Duration::from_millis(10);
/// So many go untold at most, far from what the relay lets lie unstored on one link.
const AT_ONCE: u64 = 16;

/// The envelopes of one link that were handled: committed, duplicates, refused or unreadable.
#[derive(Debug, Default)]
pub(super) struct Handled {
    count: u64,
    told: u64,
    /// The work mark behind the last of them.
    mark: WorkMark,
    due: Option<Instant>,
}

impl Handled {
    /// So many more are on disk.
    pub(super) fn add(&mut self, more: usize, mark: WorkMark, now: Instant) {
        self.count = self.count.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        self.mark = mark;
        if self.untold() >= AT_ONCE {
            self.due = Some(now);
        } else if self.due.is_none() {
            self.due = now.checked_add(DELAY);
        }
    }

    /// When the relay is to be told at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What the relay was not told yet.
    pub(super) fn take(&mut self) -> Option<Stored> {
        self.due = None;
        if self.untold() == 0 {
            return None;
        }
        self.told = self.count;
        Some(Stored { count: self.count, mark: self.mark })
    }

    fn untold(&self) -> u64 {
        self.count.saturating_sub(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(counter: u64) -> WorkMark {
        WorkMark { counter, ..WorkMark::default() }
    }

    #[test]
    fn what_was_handled_is_told_once_and_after_the_delay_at_the_latest() {
        let (mut handled, now) = (Handled::default(), Instant::now());
        assert_eq!((handled.due(), handled.take()), (None, None));
        handled.add(2, mark(7), now);
        handled.add(1, mark(9), now + DELAY / 2);
        assert_eq!(handled.due(), Some(now + DELAY), "the first of them waits no longer");
        assert_eq!(handled.take(), Some(Stored { count: 3, mark: mark(9) }));
        assert_eq!((handled.due(), handled.take()), (None, None));
    }

    #[test]
    fn many_are_told_at_once() {
        let (mut handled, now) = (Handled::default(), Instant::now());
        handled.add(15, mark(1), now);
        assert_eq!(handled.due(), Some(now + DELAY));
        handled.add(1, mark(2), now);
        assert_eq!(handled.due(), Some(now));
    }
}
