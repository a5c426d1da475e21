//! Who waits for a message to come in, or for one of ours to get somewhere. A waiter registers
//! first and looks at the disk then, so that nothing can happen in between unseen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ams_wire::id::MessageId;
use tokio::sync::watch;

use crate::contacts::ContactId;

type Places = BTreeMap<(ContactId, MessageId), watch::Sender<()>>;

/// All who wait. Clones share it.
#[derive(Clone)]
pub(super) struct Waiters(Arc<Shared>);

struct Shared {
    arrivals: watch::Sender<()>,
    /// One for each message that somebody waits for, gone with the last who does.
    states: Mutex<Places>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self(Arc::new(Shared { arrivals: watch::Sender::new(()), states: Mutex::default() }))
    }
}

impl Waiters {
    fn places(&self) -> MutexGuard<'_, Places> {
        // A map is whole between any two of the calls below.
        self.0.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arrived(&self) {
        self.0.arrivals.send_replace(());
    }

    /// Whatever anybody waits for may be so.
    pub(super) fn unsure(&self) {
        self.arrived();
        for waiting in self.places().values() {
            waiting.send_replace(());
        }
    }

    pub(super) fn moved(&self, contact: ContactId, id: MessageId) {
        if let Some(waiting) = self.places().get(&(contact, id)) {
            waiting.send_replace(());
        }
    }

    pub(super) fn all_moved(&self, contact: ContactId) {
        let all = (contact, MessageId([0; 16]))..=(contact, MessageId([0xff; 16]));
        for (_, waiting) in self.places().range(all) {
            waiting.send_replace(());
        }
    }

    pub(super) fn arrivals(&self) -> Arrivals {
        Arrivals(self.0.arrivals.subscribe())
    }

    pub(super) fn states(&self, contact: ContactId, id: MessageId) -> StateWaiter {
        let place = (contact, id);
        let news = self.places().entry(place).or_insert_with(|| watch::Sender::new(())).subscribe();
        StateWaiter { waiters: self.clone(), place, news: Some(news) }
    }
}

/// Waits for messages to come in.
pub struct Arrivals(watch::Receiver<()>);

impl Arrivals {
    /// Until one came in since this was made, or since the last call.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Waits for one message of ours.
pub struct StateWaiter {
    waiters: Waiters,
    place: (ContactId, MessageId),
    /// Taken only by drop.
    news: Option<watch::Receiver<()>>,
}

impl StateWaiter {
    /// Until it came into another state since this was made, or since the last call.
    pub async fn next(&mut self) {
        if let Some(news) = &mut self.news
            && news.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl Drop for StateWaiter {
    fn drop(&mut self) {
        let mut places = self.waiters.places();
        self.news = None;
        if places.get(&self.place).is_some_and(|sender| sender.receiver_count() == 0) {
            places.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_after_registering_is_seen() {
        let waiters = Waiters::default();
        let mut arrivals = waiters.arrivals();
        waiters.arrived();
        waiters.arrived();
        arrivals.next().await;
        let mut state = waiters.states(ContactId(1), MessageId([1; 16]));
        waiters.moved(ContactId(1), MessageId([1; 16]));
        state.next().await;
    }

    #[tokio::test]
    async fn only_the_message_that_moved_wakes() {
        let waiters = Waiters::default();
        let mut other = waiters.states(ContactId(2), MessageId([1; 16]));
        let mut first = waiters.states(ContactId(1), MessageId([1; 16]));
        let mut second = waiters.states(ContactId(1), MessageId([1; 16]));
        waiters.moved(ContactId(1), MessageId([1; 16]));
        first.next().await;
        second.next().await;
        tokio::select! {
            biased;
            () = other.next() => panic!("woken for another contact's message"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn what_concerns_a_contact_wakes_all_of_its_messages() {
        let waiters = Waiters::default();
        let mut low = waiters.states(ContactId(1), MessageId([0; 16]));
        let mut high = waiters.states(ContactId(1), MessageId([0xff; 16]));
        waiters.all_moved(ContactId(1));
        low.next().await;
        high.next().await;
    }

    #[test]
    fn nothing_stays_when_nobody_waits() {
        let waiters = Waiters::default();
        let first = waiters.states(ContactId(1), MessageId([1; 16]));
        let second = waiters.states(ContactId(1), MessageId([1; 16]));
        drop(first);
        assert_eq!(waiters.places().len(), 1);
        drop(second);
        assert!(waiters.places().is_empty());
        waiters.moved(ContactId(1), MessageId([1; 16]));
    }
}
