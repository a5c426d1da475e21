//! Envelopes that a link took and that have no receipt yet: what need not be handed over again,
//! what a `Failed` speaks of, and when silence counts as an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ams_wire::id::EnvelopeId;
use tokio::time::Instant;

use crate::contacts::ContactId;
use crate::relay::RelayId;
use crate::session::seal::CipherKey;

/// Between two looks whether a link is alive on which something is silent.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
struct Flight {
    relay: RelayId,
    envelope: EnvelopeId,
    /// From then on it counts as silent, if its link does not.
    silent: Instant,
    /// When that is looked at.
    due: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: BTreeMap<CipherKey, Flight>,
    by_envelope: BTreeMap<EnvelopeId, CipherKey>,
    by_due: BTreeSet<(Instant, CipherKey)>,
}

impl Flights {
    /// `relay` took it; without a word until `silent` it counts as failed.
    pub(super) fn start(
        &mut self,
        key: CipherKey,
        relay: RelayId,
        envelope: EnvelopeId,
        silent: Instant,
    ) {
        self.end(key);
        self.flights.insert(key, Flight { relay, envelope, silent, due: silent });
        self.by_envelope.insert(envelope, key);
        self.by_due.insert((silent, key));
    }

    /// It has a receipt, or is to be handed over anew.
    pub(super) fn end(&mut self, key: CipherKey) -> Option<RelayId> {
        let flight = self.flights.remove(&key)?;
        self.by_envelope.remove(&flight.envelope);
        self.by_due.remove(&(flight.due, key));
        Some(flight.relay)
    }

    /// `relay` gave up on it; `None` where it went on over another relay since.
    pub(super) fn failed(&mut self, relay: RelayId, envelope: EnvelopeId) -> Option<CipherKey> {
        let key = *self.by_envelope.get(&envelope)?;
        let of_this_relay = self.flights.get(&key).is_some_and(|flight| flight.relay == relay);
        of_this_relay.then(|| self.end(key)).flatten().map(|_| key)
    }

    /// Nothing of what `relay` had is with it any more: this was it.
    pub(super) fn link_lost(&mut self, relay: RelayId) -> Vec<CipherKey> {
        let flights = self.flights.iter();
        let lost: Vec<_> = flights.filter(|(_, f)| f.relay == relay).map(|(key, _)| *key).collect();
        for key in &lost {
            self.end(*key);
        }
        lost
    }

    /// Which relay has what of a contact's.
    pub(super) fn of(&self, contact: ContactId) -> BTreeMap<CipherKey, RelayId> {
        let first = CipherKey { contact, root: ams_wire::id::RootTag([0; 8]), ctr: 0 };
        let of_contact = self.flights.range(first..).take_while(|(key, _)| key.contact == contact);
        of_contact.map(|(key, flight)| (*key, flight.relay)).collect()
    }

    /// When the next one has been silent for too long.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// Takes those that have, though something else was `heard` on their link since. On a link that is
    /// silent itself nothing fails: it comes to life, or ends, and then all that was on it goes again.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        heard: impl Fn(RelayId) -> Option<Instant>,
    ) -> Vec<(RelayId, CipherKey)> {
        let mut silent = Vec::new();
        while let Some((due, key)) = self.by_due.first().copied()
            && due <= now
        {
            self.by_due.remove(&(due, key));
            let Some(flight) = self.flights.get_mut(&key) else { continue };
            if heard(flight.relay).is_some_and(|heard| heard < flight.silent) {
                flight.due = now.checked_add(LOOK).unwrap_or(now);
                self.by_due.insert((flight.due, key));
                continue;
            }
            silent.extend(self.end(key).map(|relay| (relay, key)));
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(contact: u64, ctr: u64) -> CipherKey {
        CipherKey { contact: ContactId(contact), root: ams_wire::id::RootTag([9; 8]), ctr }
    }

    #[test]
    fn a_flight_is_known_by_contact_envelope_and_time() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        let (one, other) = (RelayId(1), RelayId(2));
        let later = now + Duration::from_secs(1);
        flights.start(key(1, 1), one, EnvelopeId([1; 16]), later);
        flights.start(key(1, 2), other, EnvelopeId([2; 16]), now);
        flights.start(key(2, 1), one, EnvelopeId([3; 16]), now);
        assert_eq!(
            flights.of(ContactId(1)),
            BTreeMap::from([(key(1, 1), one), (key(1, 2), other)])
        );
        assert_eq!(flights.failed(other, EnvelopeId([1; 16])), None, "another relay's word");
        assert_eq!(flights.failed(one, EnvelopeId([1; 16])), Some(key(1, 1)));
        assert_eq!(flights.failed(one, EnvelopeId([1; 16])), None);
        assert_eq!(flights.take_due(now, |_| None), [(other, key(1, 2)), (one, key(2, 1))]);
        assert_eq!(flights.next_due(), None);
    }

    #[test]
    fn a_second_start_has_its_own_time() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        flights.start(key(1, 1), RelayId(1), EnvelopeId([1; 16]), now);
        flights.start(key(1, 1), RelayId(1), EnvelopeId([1; 16]), later);
        assert!(flights.take_due(now, |_| None).is_empty());
        assert_eq!(flights.link_lost(RelayId(1)), [key(1, 1)]);
        assert_eq!(flights.next_due(), None);
    }

    #[test]
    fn nothing_fails_on_a_link_that_is_silent() {
        let (mut flights, now) = (Flights::default(), Instant::now());
        let silent = now + Duration::from_secs(1);
        flights.start(key(1, 1), RelayId(1), EnvelopeId([1; 16]), silent);
        assert!(flights.take_due(silent, |_| Some(now)).is_empty());
        assert_eq!(flights.next_due(), Some(silent + LOOK));
        let later = silent + LOOK;
        assert!(flights.take_due(later, |_| Some(now)).is_empty(), "silent still");
        let last = later + LOOK;
        assert_eq!(flights.take_due(last, |_| Some(silent)), [(RelayId(1), key(1, 1))]);
        assert_eq!(flights.next_due(), None);
    }
}
