//! Deadlines, in whole seconds: which lanes to look at when. A lane registers for the first of its
//! deadlines, not for every envelope; when an earlier one comes, the later entry stays and does
//! nothing at its time. So a lane has one entry a second at most, and one that does something.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lane::{Lane, Next};
use super::{Hub, lock};

#[derive(Debug, Default)]
pub(super) struct Wheel {
    seconds: Mutex<BTreeMap<u32, Second>>,
    earlier: Notify,
}

/// What to look at in one second: each lane once, in the order in which they came. In any other
/// order a sender could tell two lanes of the same second apart.
#[derive(Debug, Default)]
struct Second {
    lanes: Vec<Arc<Lane>>,
    addresses: HashSet<usize>,
}

impl Wheel {
    pub(super) fn set(&self, second: u32, lane: Arc<Lane>) {
        let mut seconds = lock(&self.seconds);
        let is_first = seconds.first_key_value().is_none_or(|(first, _)| second < *first);
        let entry = seconds.entry(second).or_default();
        if entry.addresses.insert(Arc::as_ptr(&lane).addr()) {
            entry.lanes.push(lane);
        }
        drop(seconds);
        if is_first {
            self.earlier.notify_one();
        }
    }

    pub(super) fn next(&self) -> Option<u32> {
        lock(&self.seconds).first_key_value().map(|(first, _)| *first)
    }

    /// Resolves when [`Wheel::next`] became earlier.
    pub(super) async fn changed(&self) {
        self.earlier.notified().await;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.seconds).values().map(|second| second.lanes.len()).sum()
    }

    fn due(&self, now: u32) -> Vec<Arc<Lane>> {
        let mut seconds = lock(&self.seconds);
        let later = seconds.split_off(&now.saturating_add(1));
        let due = std::mem::replace(&mut *seconds, later);
        drop(seconds);
        due.into_values().flat_map(|second| second.lanes).collect()
    }
}

impl Hub {
    /// Ends what is due and tells the senders.
    pub(super) fn expire(&self, now: Instant) {
        let second = self.second(now);
        for lane in self.wheel.due(second) {
            let expired = lane.expire(second);
            self.subtract(expired.bytes, expired.messages);
            if !expired.failed.is_empty() {
                lane.sender().notice(|notices| notices.failed.extend(expired.failed));
            }
            match expired.next {
                Next::At(second) => self.wheel.set(second, lane),
                Next::Closed => lane.sender().forget_lane(&lane),
                Next::Stale => {}
            }
        }
    }
}
