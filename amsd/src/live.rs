//! What is true at this moment and gone with the process: which links are up, who is online.
//!
//! Written by the relay actors (links) and the router (presence, paths used); read by everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use ams_rpc::types::{ContactFact, Fact as Event, LinkFact, LinkState, Presence, Time};
use ams_wire::id::Handle;
use tokio::sync::watch;

use crate::contacts::{ContactId, ContactRow};
use crate::relay::RelayId;

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Up, down, or between.
    pub state: LinkState,
    /// Since when. Every try while it is down is part of the same time.
    pub since: Time,
    /// Why it is not up.
    pub reason: Option<String>,
}

#[derive(Default)]
struct Inner {
    links: BTreeMap<RelayId, LinkStatus>,
    /// How often a link ended, or did not come up, against everybody's wish.
    failures: BTreeMap<RelayId, u64>,
    online: BTreeSet<(RelayId, Handle)>,
    used: BTreeMap<ContactId, RelayId>,
}

/// Tells everybody who follows events.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// Clones share it.
#[derive(Clone)]
pub struct Live {
    inner: Arc<RwLock<Inner>>,
    tell: Tell,
    changed: watch::Sender<()>,
}

impl Live {
    /// Nothing is up.
    pub fn new(tell: Tell) -> Self {
        Self { inner: Arc::default(), tell, changed: watch::Sender::new(()) }
    }

    /// A link is in another state; a change between up and not up is told, and a refusal.
    pub fn relay(&self, relay: RelayId, nick: &str, state: LinkState, reason: Option<String>) {
        self.set(relay, nick, state, reason, false);
    }

    /// A link ended, or did not come up, although it is wanted.
    pub fn relay_failed(&self, relay: RelayId, nick: &str, reason: String) {
        self.set(relay, nick, LinkState::Down, Some(reason), true);
    }

    fn set(
        &self,
        relay: RelayId,
        nick: &str,
        state: LinkState,
        reason: Option<String>,
        failed: bool,
    ) {
        let before = self.write(|inner| {
            let was = inner.links.get(&relay);
            let same = was.filter(|was| was.state == state || is_tried(was.state, state));
            let since = same.map_or_else(Time::now, |was| was.since);
            if failed {
                let failures = inner.failures.entry(relay).or_default();
                *failures = failures.saturating_add(1);
            }
            let status = LinkStatus { state, since, reason: reason.clone() };
            inner.links.insert(relay, status).map_or(LinkState::Off, |was| was.state)
        });
        self.changed.send_replace(());
        let fact = LinkFact { name: nick.to_owned(), reason };
        let (came, went) = match relay.is_direct() {
            true => {
                (Event::PeerUp as fn(LinkFact) -> Event, Event::PeerDown as fn(LinkFact) -> Event)
            }
            false => (Event::RelayUp as _, Event::RelayDown as _),
        };
        match (before, state) {
            (before, state) if before == state => {}
            (_, LinkState::Up) => (self.tell)(came(fact)),
            // A refusal also where the link never came up: the user has something to do.
            (LinkState::Up, _) | (_, LinkState::Refused) => (self.tell)(went(fact)),
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

    /// Changes when a link does.
    pub fn follow(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// How often the link to `relay` failed since the start. A try that was asked for is over when
    /// this is more than it was before.
    pub fn failures(&self, relay: RelayId) -> u64 {
        self.read(|inner| inner.failures.get(&relay).copied().unwrap_or_default())
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

    /// What is for the contact goes this way.
    pub fn goes(&self, contact: ContactId, path: RelayId) {
        self.write(|inner| inner.used.insert(contact, path));
    }

    /// The path over which something for the contact went last, since the start.
    pub fn used_last(&self, contact: ContactId) -> Option<RelayId> {
        self.read(|inner| inner.used.get(&contact).copied())
    }

    /// Whether a contact is there, as far as anybody says.
    pub fn presence(&self, contact: &ContactRow) -> Presence {
        self.read(|inner| {
            let up = |relay| inner.links.get(&relay).is_some_and(|l| l.state == LinkState::Up);
            let mut presence = Presence::Unknown;
            // Whoever shows another key there is somebody else.
            let counts = |relay| up(relay) && !contact.is_in_doubt(relay);
            for path in contact.paths.iter().filter(|path| counts(path.relay)) {
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

/// Both are between a link that ended and one that comes up.
fn is_tried(a: LinkState, b: LinkState) -> bool {
    let tried = |state| matches!(state, LinkState::Connecting | LinkState::Down);
    tried(a) && tried(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: RelayId = RelayId(1);

    #[test]
    fn a_relay_is_down_since_it_went_down_however_often_it_is_tried() {
        let live = Live::new(Arc::new(|_| {}));
        let since = |live: &Live| live.link(HOME).unwrap().since;
        live.relay(HOME, "home", LinkState::Up, None);
        let up = since(&live);
        // The clock has to move for the difference to show.
        while Time::now() == up {
            std::hint::spin_loop();
        }
        live.relay_failed(HOME, "home", "gone".to_owned());
        let down = since(&live);
        assert_ne!(down, up);
        while Time::now() == down {
            std::hint::spin_loop();
        }
        live.relay(HOME, "home", LinkState::Connecting, None);
        live.relay_failed(HOME, "home", "gone".to_owned());
        assert_eq!(since(&live), down);
        assert_eq!(live.failures(HOME), 2);
        live.relay(HOME, "home", LinkState::Up, None);
        assert_ne!(since(&live), down);
    }

    #[test]
    fn what_the_user_must_know_is_told() {
        let (sender, told) = std::sync::mpsc::channel();
        let live = Live::new(Arc::new(move |event| sender.send(event).unwrap()));
        let show = |state| live.relay(HOME, "home", state, None);
        let count = || told.try_iter().collect::<Vec<_>>();
        show(LinkState::Connecting);
        assert!(count().is_empty());
        show(LinkState::Refused);
        assert!(matches!(count()[..], [Event::RelayDown(_)]));
        show(LinkState::Refused);
        show(LinkState::Connecting);
        assert!(count().is_empty());
        show(LinkState::Up);
        show(LinkState::Refused);
        assert!(matches!(count()[..], [Event::RelayUp(_), Event::RelayDown(_)]));
    }
}
