//! What the router does later, each thing on its own clock. One alarm of a kind for a contact: a
//! new time replaces the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::contacts::ContactId;

/// What is to be done when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// This contact's messages could not be sealed for a whole window.
    Blocked(ContactId),
    /// Ask whether this contact is there.
    Probe(ContactId),
    /// Give this contact the receipt that it asked for too often.
    Answer(ContactId),
    /// Look at this contact again: its link had no room, or the store failed.
    Retry(ContactId),
    /// The time of a message may be over.
    Expiry,
    /// What was said of who is there could not be acted upon.
    Presence,
}

/// The wall clock is looked at this often: it may have been set, or the machine may have slept.
const CLOCK_LOOK: Duration = Duration::from_secs(30);

/// Alarms in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    times: BTreeMap<Alarm, Instant>,
    order: BTreeSet<(Instant, Alarm)>,
}

impl Alarms {
    pub(super) fn set(&mut self, at: Instant, alarm: Alarm) {
        self.cancel(alarm);
        self.times.insert(alarm, at);
        self.order.insert((at, alarm));
    }

    pub(super) fn cancel(&mut self, alarm: Alarm) {
        if let Some(at) = self.times.remove(&alarm) {
            self.order.remove(&(at, alarm));
        }
    }

    /// The next message whose time ends does so when the wall clock, which now says `clock`, says
    /// `ends`; both in milliseconds.
    pub(super) fn expect_end(&mut self, ends: Option<i64>, clock: i64, now: Instant) {
        let Some(ends) = ends else { return self.cancel(Alarm::Expiry) };
        let left = u64::try_from(ends.saturating_sub(clock)).unwrap_or(0);
        let pause = Duration::from_millis(left).min(CLOCK_LOOK);
        self.set(now.checked_add(pause).unwrap_or(now), Alarm::Expiry);
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Alarm> {
        let (at, alarm) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(alarm);
        Some(alarm)
    }
}

/// Until then; without a time, for ever.
pub(super) async fn at(alarm: Option<Instant>) {
    match alarm {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// After this pause.
pub(super) fn later(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_order_of_their_times_and_one_of_a_kind() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let contact = |n| Alarm::Probe(ContactId(n));
        let second = Duration::from_secs(1);
        alarms.set(now, contact(2));
        alarms.set(now + second, contact(1));
        alarms.set(now + second + second, contact(2));
        assert_eq!(alarms.take(now), None, "it was put off");
        assert_eq!(alarms.take(now + second), Some(contact(1)));
        alarms.cancel(contact(2));
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn the_wall_clock_is_looked_at_again_and_again() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let (second, year) = (1000, 365 * 24 * 60 * 60 * 1000);
        alarms.expect_end(Some(5 * second), 3 * second, now);
        assert_eq!(alarms.next(), Some(now + Duration::from_secs(2)));
        alarms.expect_end(Some(5 * second), year, now);
        assert_eq!(alarms.next(), Some(now), "long over");
        alarms.expect_end(Some(year), 0, now);
        assert_eq!(alarms.next(), Some(now + CLOCK_LOOK));
        alarms.expect_end(Some(i64::MAX), i64::MIN, now);
        assert_eq!(alarms.next(), Some(now + CLOCK_LOOK));
        alarms.expect_end(None, 0, now);
        assert_eq!(alarms.next(), None);
    }
}
