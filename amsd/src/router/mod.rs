//! Which paths each contact has, now. Seals what is due and hands it to the links.
//!
//! 1. a commit tells that a contact is due ([`RouterHandle::due`]), or a link tells what came or
//!    changed ([`crate::relay::LinkEvent`]);
//! 2. [`serve`] looks at the contact in a transaction: what goes again, what is sealed now, which
//!    receipt is owed, and over which [`path`];
//! 3. after the commit, and never before, the link gets the envelopes ([`parcels`]);
//! 4. [`pings`] ask whether a daemon is there, beside all that
//! 5. [`flights`] notice what nobody answers; [`alarms`] do what has to be done later.

mod actor;
mod alarms;
mod flights;
mod parcels;
pub mod path;
mod pings;
mod seen;
mod serve;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::contacts::ContactId;
use crate::live::Live;
use crate::profile::Me;
use crate::pulse::Pulse;
use crate::relay::LinkEvent;
use crate::settings::Settings;
use crate::store::Store;
use pings::Pings;
pub use pings::{Answered, PingError};
use serve::Want;

/// Contacts to look at. A set, not a queue: a contact that is due twice is looked at once.
#[derive(Default)]
struct Due {
    contacts: Mutex<BTreeMap<ContactId, Want>>,
    /// Whoever there is.
    everybody: AtomicBool,
    pings: Pings,
    news: Notify,
}

impl Due {
    fn add(&self, contact: ContactId, change: impl FnOnce(&mut Want)) {
        let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        change(contacts.entry(contact).or_default());
        drop(contacts);
        self.news.notify_one();
    }

    /// Whether everybody is to be looked at, since this was asked last.
    fn take_everybody(&self) -> bool {
        self.everybody.swap(false, Ordering::Relaxed)
    }

    /// Takes up to `most` of them.
    fn take(&self, most: usize) -> Vec<(ContactId, Want)> {
        let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(first) = contacts.pop_first()
        {
            taken.push(first);
        }
        if !contacts.is_empty() {
            self.news.notify_one();
        }
        taken
    }
}

/// What the router works with.
pub struct Deps {
    /// The profile's store.
    pub store: Store,
    /// Who this profile is.
    pub me: Me,
    /// The wall clock.
    pub clock: Clock,
    /// What the user chose.
    pub settings: watch::Receiver<Settings>,
    /// What is up and who is online.
    pub live: Live,
    /// From the links.
    pub events: mpsc::Receiver<LinkEvent>,
}

/// Pokes the router.
#[derive(Clone, Default)]
pub struct RouterHandle {
    due: Arc<Due>,
    pulse: Pulse,
}

impl RouterHandle {
    /// Something of this contact's is to be sent.
    pub fn due(&self, contact: ContactId) {
        self.due.add(contact, |_| ());
    }

    /// Messages of this contact were read.
    pub fn read(&self, contact: ContactId) {
        self.due.add(contact, |want| want.read = true);
    }

    /// This contact may not know yet that we have its keys.
    pub fn greet(&self, contact: ContactId) {
        self.due.add(contact, |want| want.greet = true);
    }

    /// Something of anybody's may be to be sent.
    pub fn everybody(&self) {
        self.due.everybody.store(true, Ordering::Relaxed);
        self.due.news.notify_one();
    }

    /// Asks a contact's daemon for a sign of life, and waits for it. Dropped, it waits no more.
    ///
    /// # Errors
    /// [`PingError`], at once.
    pub async fn ping(&self, contact: ContactId) -> Result<Answered, PingError> {
        self.due.pings.wait(contact, || self.due.news.notify_one()).await
    }

    /// Resolves when the router has come around once more.
    pub(crate) async fn goes_on(&self) {
        self.pulse.felt().await;
    }

    /// Starts the router. It ends with `stop`, or when all links are gone.
    pub fn start(&self, deps: Deps, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(actor::RouterActor::new(self.due.clone(), self.pulse.clone(), deps).run(stop))
    }
}
