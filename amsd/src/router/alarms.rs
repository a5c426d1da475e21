//! What the router does later, each thing on its own clock. One alarm of a kind for a contact: a
//! new time replaces the old one.

use std::collections::{BTreeMap, BTreeSet};

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
}

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
