//! Deadlines, in whole seconds: which lanes to look at when. A lane registers once for the first
//! of its deadlines, not for every envelope.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lane::Lane;
use super::{Hub, lock};

#[derive(Debug, Default)]
pub(super) struct Wheel {
    seconds: Mutex<BTreeMap<u32, Vec<Arc<Lane>>>>,
    earlier: Notify,
}

impl Wheel {
    pub(super) fn set(&self, second: u32, lane: Arc<Lane>) {
        let mut seconds = lock(&self.seconds);
        let is_first = seconds.first_key_value().is_none_or(|(first, _)| second < *first);
        seconds.entry(second).or_default().push(lane);
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

    fn due(&self, now: u32) -> Vec<Arc<Lane>> {
        let mut seconds = lock(&self.seconds);
        let later = seconds.split_off(&now.saturating_add(1));
        std::mem::replace(&mut *seconds, later).into_values().flatten().collect()
    }
}

impl Hub {
    /// Ends what is due and tells the senders.
    pub(super) fn expire(&self, now: Instant) {
        let since = now.saturating_duration_since(self.epoch).as_secs();
        let second = u32::try_from(since).unwrap_or(u32::MAX);
        for lane in self.wheel.due(second) {
            let expired = lane.expire(second);
            self.subtract(expired.bytes, expired.messages);
            if !expired.failed.is_empty() {
                lane.sender().notice(|notices| notices.failed.extend(expired.failed));
            }
            match expired.next {
                Some(next) => self.wheel.set(next, lane),
                None => lane.sender().forget_lane(&lane),
            }
        }
    }
}
