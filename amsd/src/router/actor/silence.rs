//! What has no receipt long after it was handed over. A relay has had its window by then, and the
//! message counts as failed. A direct link has none: it ends when the contact falls silent, and as
//! long as it is up the contact is there. What went that way goes again.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{RouterActor, STORE_PAUSE, later, log_failure};
use crate::outbox::state;
use crate::relay::RelayId;
use crate::session::seal::CipherKey;
use ams_wire::id::EnvelopeId;

const UNCONFIRMED: &str = "the contact did not confirm it";

impl RouterActor {
    pub(super) async fn on_silence(&mut self, now: Instant) {
        let mut silent: BTreeMap<RelayId, Vec<CipherKey>> = BTreeMap::new();
        for (relay, key) in self.flights.take_due(now) {
            silent.entry(relay).or_default().push(key);
        }
        for (relay, keys) in silent {
            if relay.is_direct() {
                self.go_again(relay, keys).await;
            } else {
                self.settle(relay, keys, state::Outcome::Silence).await;
            }
        }
    }

    async fn go_again(&mut self, relay: RelayId, keys: Vec<CipherKey>) {
        let (lost, now) = (keys.clone(), self.deps.clock.now());
        let queued =
            self.deps.store.write(move |txn| state::link_lost(txn, &lost, UNCONFIRMED, now));
        let is_kept = log_failure(queued.await).is_some();
        for key in keys {
            if is_kept {
                self.due.add(key.contact, |_| ());
            } else {
                self.flights.start(key, relay, EnvelopeId([0; 16]), later(STORE_PAUSE));
            }
        }
    }
}
