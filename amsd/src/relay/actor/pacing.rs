//! When to tell the relay what the account still has to say. The chores of one row go one at a
//! time, in order; those of different rows do not wait for each other, and nothing waits for a
//! request that the relay limits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ams_wire::id::Handle;
use ams_wire::to_relay::ToRelay;
use tokio::time::Instant;

use crate::relay::chores;

/// First pause of a chore that the relay limited: it takes a new request every two seconds.
const FIRST: Duration = Duration::from_secs(3);
/// Longest pause. The relay takes one renewal in 15 minutes; the next one is not to come much later
/// than it may.
const LONGEST: Duration = Duration::from_secs(2 * 60);

#[derive(Debug)]
struct Waiting {
    frame: Vec<u8>,
    row: Option<Handle>,
    /// It asks for something. The relay may want that much later; an approval, a block or a
    /// removal of the same row says the same before it as behind it.
    asks: bool,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Instant,
    next: Duration,
}

/// The chores of one account.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    waiting: BTreeMap<u64, Waiting>,
    /// Told on this link, and not gone from the disk yet.
    told: BTreeSet<u64>,
    /// Limited by the relay; outlives the link.
    resting: BTreeMap<u64, Rest>,
}

impl Pacing {
    /// What waits on disk now.
    pub(super) fn set(&mut self, waiting: Vec<(u64, Vec<u8>)>) {
        let waiting = waiting.into_iter().map(|(number, frame)| {
            let said = chores::decode(&frame);
            let row = said.as_ref().and_then(chores::row_of);
            let asks = matches!(said, Some(ToRelay::Ask(_)));
            (number, Waiting { frame, row, asks })
        });
        self.waiting = waiting.collect();
        self.resting.retain(|number, _| self.waiting.contains_key(number));
    }

    /// The next one to be told now, if there is one. It counts as told.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u64, &[u8])> {
        let mut busy = BTreeSet::new();
        let (&number, waiting) = self.waiting.iter().find(|(number, waiting)| {
            let rests = self.resting.get(number).is_some_and(|rest| rest.until > now);
            let may_go = !rests && !self.told.contains(number);
            if rests && waiting.asks {
                return false;
            }
            // Also one that cannot go now holds up those of its row that come after it.
            let first_of_row = waiting.row.is_none_or(|row| busy.insert(row));
            may_go && first_of_row
        })?;
        self.told.insert(number);
        Some((number, &waiting.frame))
    }

    /// The relay wants this one later.
    pub(super) fn limited(&mut self, number: u64, now: Instant) {
        self.told.remove(&number);
        let pause = self.resting.get(&number).map_or(FIRST, |rest| rest.next);
        let until = now.checked_add(pause).unwrap_or(now);
        let next = pause.saturating_mul(2).min(LONGEST);
        self.resting.insert(number, Rest { until, next });
    }

    /// This one is gone from the disk.
    pub(super) fn done(&mut self, number: u64) {
        self.told.remove(&number);
        self.waiting.remove(&number);
        self.resting.remove(&number);
    }

    /// The link ended: what had no answer is told again on the next one.
    pub(super) fn link_ended(&mut self) {
        self.told.clear();
    }

    /// When a pause ends.
    pub(super) fn wake(&self) -> Option<Instant> {
        let resting = self.resting.iter().filter(|(number, _)| !self.told.contains(number));
        resting.map(|(_, rest)| rest.until).min()
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "times of a test")]
mod tests {
    use ams_wire::id::Blob;
    use ams_wire::to_relay::Ask;
    use ams_wire::username::Username;

    use super::*;

    fn encoded(frame: &ToRelay<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        frame.encode(&mut out).unwrap();
        out
    }

    fn block(row: u8) -> Vec<u8> {
        encoded(&ToRelay::Block(Handle([row; 16])))
    }

    fn unblock(row: u8) -> Vec<u8> {
        encoded(&ToRelay::Unblock(Handle([row; 16])))
    }

    fn ask(row: u8) -> Vec<u8> {
        let (to, intro) = (Username::new("bob").unwrap(), Blob::new(vec![1; 64]).unwrap());
        encoded(&ToRelay::Ask(Ask { handle: Handle([row; 16]), to, intro }))
    }

    fn all(pacing: &mut Pacing, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| pacing.next(now).map(|(number, _)| number)).collect()
    }

    #[test]
    fn one_at_a_time_for_each_row() {
        let now = Instant::now();
        let mut pacing = Pacing::default();
        pacing.set(vec![(1, block(1)), (2, block(2)), (3, unblock(1)), (4, block(3))]);
        assert_eq!(all(&mut pacing, now), [1, 2, 4]);
        pacing.done(2);
        assert!(all(&mut pacing, now).is_empty());
        pacing.done(1);
        assert_eq!(all(&mut pacing, now), [3]);
    }

    #[test]
    fn a_limited_one_rests_longer_each_time_and_holds_up_its_row_alone() {
        let mut now = Instant::now();
        let mut pacing = Pacing::default();
        pacing.set(vec![(1, block(1)), (2, unblock(1)), (3, block(2))]);
        let mut pause = FIRST;
        for _ in 0..12 {
            assert!(all(&mut pacing, now).contains(&1));
            assert_eq!(pacing.wake(), None);
            pacing.limited(1, now);
            assert_eq!(pacing.wake(), Some(now + pause));
            assert!(all(&mut pacing, now + pause - Duration::from_millis(1)).is_empty());
            now += pause;
            pause = (pause * 2).min(LONGEST);
        }
        assert_eq!(pause, LONGEST);
        assert_eq!(all(&mut pacing, now), [1]);
        pacing.done(1);
        assert_eq!(all(&mut pacing, now), [2]);
    }

    #[test]
    fn a_request_that_the_relay_limits_holds_up_nothing() {
        let now = Instant::now();
        let mut pacing = Pacing::default();
        pacing.set(vec![(1, ask(1)), (2, block(1)), (3, unblock(1))]);
        assert_eq!(all(&mut pacing, now), [1], "its answer is waited for");
        pacing.limited(1, now);
        assert_eq!(all(&mut pacing, now), [2]);
        pacing.done(2);
        assert_eq!(all(&mut pacing, now), [3]);
        pacing.done(3);
        assert_eq!(all(&mut pacing, now + FIRST), [1]);
    }

    #[test]
    fn what_had_no_answer_is_told_again_on_the_next_link() {
        let now = Instant::now();
        let mut pacing = Pacing::default();
        pacing.set(vec![(1, block(1)), (2, block(2))]);
        assert_eq!(all(&mut pacing, now), [1, 2]);
        // Answered, and on its way to the disk: looking at the disk again does not tell it twice.
        pacing.set(vec![(1, block(1)), (2, block(2))]);
        assert!(all(&mut pacing, now).is_empty());
        pacing.limited(2, now);
        pacing.link_ended();
        assert_eq!(all(&mut pacing, now), [1]);
        // It was made needless meanwhile, and its rest with it.
        pacing.set(vec![(1, block(1))]);
        assert_eq!(pacing.wake(), None);
    }
}
