//! What the router does later, each thing on its own clock.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::contacts::ContactId;
use crate::relay::RelayId;
use crate::session::seal::CipherKey;

/// What is to be done when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Nothing was heard of this ciphertext, sent over that relay.
    Silence(RelayId, CipherKey),
    /// This contact's messages could not be sealed for a whole window.
    Blocked(ContactId),
    /// Ask whether this contact is there.
    Probe(ContactId),
    /// Give this contact the receipt that it asked for too often.
    Answer(ContactId),
    /// Look at this contact again: its link had no room.
    Retry(ContactId),
}

/// Alarms in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    due: BTreeMap<(Instant, u64), Alarm>,
    set: u64,
}

impl Alarms {
    pub(super) fn set(&mut self, at: Instant, alarm: Alarm) {
        self.set = self.set.wrapping_add(1);
        self.due.insert((at, self.set), alarm);
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes one that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Alarm> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// Drops what `relay` was to be asked about: its link is gone, and its clocks stop.
    pub(super) fn forget_link(&mut self, relay: RelayId) {
        self.due.retain(|_, alarm| !matches!(alarm, Alarm::Silence(of, _) if *of == relay));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn in_the_order_of_their_times_and_of_setting() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let contact = |n| Alarm::Probe(ContactId(n));
        alarms.set(now + Duration::from_secs(2), contact(2));
        alarms.set(now, contact(0));
        alarms.set(now, contact(1));
        assert_eq!(alarms.take(now), Some(contact(0)));
        assert_eq!(alarms.take(now), Some(contact(1)));
        assert_eq!(alarms.take(now), None);
        assert_eq!(alarms.next(), Some(now + Duration::from_secs(2)));
    }
}
