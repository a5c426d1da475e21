//! What is true at this moment and gone with the process: which links are up, who is online.
//!
//! Written by the relay actors (links) and the router (presence); read by everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use ams_rpc::types::{ContactFact, Fact as Event, LinkFact, LinkState, Presence, Time};
use ams_wire::id::Handle;

use crate::contacts::{ContactId, ContactRow};
use crate::relay::RelayId;

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Up, down, or between.
    pub state: LinkState,
    /// Since when.
    pub since: Time,
    /// Why it is not up.
    pub reason: Option<String>,
}

#[derive(Default)]
struct Inner {
    links: BTreeMap<RelayId, LinkStatus>,
    online: BTreeSet<(RelayId, Handle)>,
}

/// Tells everybody who follows events.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// Clones share it.
#[derive(Clone)]
pub struct Live {
    inner: Arc<RwLock<Inner>>,
    tell: Tell,
}

impl Live {
    /// Nothing is up.
    pub fn new(tell: Tell) -> Self {
        Self { inner: Arc::default(), tell }
    }

    /// A link is in another state; a change between up and not up is told.
    pub fn relay(&self, relay: RelayId, nick: &str, state: LinkState, reason: Option<String>) {
        let before = self.write(|inner| {
            let status = LinkStatus { state, since: Time::now(), reason: reason.clone() };
            match inner.links.get(&relay) {
                Some(before) if before.state == state => {
                    let since = before.since;
                    inner.links.insert(relay, LinkStatus { since, ..status });
                    state
                }
                _ => inner.links.insert(relay, status).map_or(LinkState::Off, |was| was.state),
            }
        });
        let fact = LinkFact { name: nick.to_owned(), reason };
        match (before == LinkState::Up, state == LinkState::Up) {
            (false, true) => (self.tell)(Event::RelayUp(fact)),
            (true, false) => (self.tell)(Event::RelayDown(fact)),
            _ => {}
        }
    }

    /// The relay is no longer ours.
    pub fn forget(&self, relay: RelayId) {
        self.write(|inner| {
            inner.links.remove(&relay);
            inner.online.retain(|(at, _)| *at != relay);
        });
    }

    /// How the link to `relay` stands.
    pub fn link(&self, relay: RelayId) -> Option<LinkStatus> {
        self.read(|inner| inner.links.get(&relay).cloned())
    }

    /// Whether the link to `relay` is up.
    pub fn is_up(&self, relay: RelayId) -> bool {
        self.read(|inner| inner.links.get(&relay).is_some_and(|link| link.state == LinkState::Up))
    }

    /// Whether the relay says that the contact behind `handle` is online.
    pub fn is_online(&self, relay: RelayId, handle: Handle) -> bool {
        self.read(|inner| inner.online.contains(&(relay, handle)))
    }

    /// The relay said so; answers whether that is news.
    pub fn set_online(&self, relay: RelayId, handle: Handle, online: bool) -> bool {
        self.write(|inner| {
            let key = (relay, handle);
            if online { inner.online.insert(key) } else { inner.online.remove(&key) }
        })
    }

    /// Nothing is known any more of who is online at `relay`.
    pub fn clear_online(&self, relay: RelayId) {
        self.write(|inner| inner.online.retain(|(at, _)| *at != relay));
    }

    /// Whether a contact is there, as far as anybody says.
    pub fn presence(&self, contact: &ContactRow) -> Presence {
        self.read(|inner| {
            let up = |relay| inner.links.get(&relay).is_some_and(|l| l.state == LinkState::Up);
            let mut presence = Presence::Unknown;
            for path in contact.paths.iter().filter(|path| up(path.relay)) {
                if inner.online.contains(&(path.relay, path.handle)) {
                    return Presence::Online;
                }
                presence = Presence::Offline;
            }
            presence
        })
    }

    /// Tells that a contact came or went.
    pub fn tell_presence(&self, id: ContactId, contact: &ContactRow, online: bool) {
        let fact = ContactFact {
            contact: contact.name.clone(),
            contact_id: id.to_string(),
            verified: contact.verified.is_some(),
        };
        (self.tell)(if online { Event::ContactOnline(fact) } else { Event::ContactOffline(fact) });
    }

    /// Tells everybody who follows events something that is not on disk.
    pub fn tell(&self, event: Event) {
        (self.tell)(event);
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}
