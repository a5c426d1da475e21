//! What relays say of who is there.

use ams_wire::id::Handle;

use super::{RouterActor, STORE_PAUSE, log_failure};
use crate::contacts;
use crate::outbox::queue;
use crate::relay::RelayId;
use crate::router::alarms::{Alarm, later};
use crate::store::StoreError;

/// What a relay said.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) relay: RelayId,
    /// Our handles of them.
    pub(super) handles: Vec<Handle>,
    pub(super) online: bool,
}

impl RouterActor {
    pub(super) async fn presence(&mut self, heard: Heard) {
        let Heard { relay, handles, online } = heard;
        // The last word counts.
        for before in self.unheard.iter_mut().filter(|before| before.relay == relay) {
            before.handles.retain(|handle| !handles.contains(handle));
        }
        self.unheard.retain(|before| !before.handles.is_empty());
        let live = &self.deps.live;
        let handles: Vec<_> =
            handles.into_iter().filter(|handle| live.set_online(relay, *handle, online)).collect();
        if handles.is_empty() {
            return;
        }
        let (news, now) = (handles.clone(), self.deps.clock.now());
        let known = self.deps.store.write(move |txn| {
            let mut known = Vec::new();
            for handle in &news {
                let Some((id, row)) = contacts::by_handle(txn, relay, *handle)? else { continue };
                if row.is_in_doubt(relay) {
                    continue;
                }
                if online {
                    queue::contact_is_there(txn, id, relay, now)?;
                }
                known.push((id, row));
            }
            Ok::<_, StoreError>(known)
        });
        let Some(known) = log_failure(known.await) else {
            // It was not acted upon, so it must count as news when it is heard again.
            for handle in &handles {
                self.deps.live.set_online(relay, *handle, !online);
            }
            self.unheard.push(Heard { relay, handles, online });
            return self.alarms.set(later(STORE_PAUSE), Alarm::Presence);
        };
        for (id, row) in known {
            self.deps.live.tell_presence(id, &row, online);
            if online {
                let seen = self.seen.entry(id).or_default();
                seen.probe = None;
                // A full window stays full until its receipts are asked for.
                let blocked = seen.blocked_since.is_some();
                self.alarms.cancel(Alarm::Probe(id));
                self.due.add(id, |want| {
                    want.greet = true;
                    want.probe |= blocked;
                });
            } else if row.paths.len() > 1 {
                // It may be online over another path.
                self.due.add(id, |_| ());
            }
        }
    }

    /// No relay says twice who is there: what the disk had no room for is heard again, in order.
    pub(super) async fn hear_again(&mut self) {
        for heard in std::mem::take(&mut self.unheard) {
            self.presence(heard).await;
        }
    }
}
