//! Somebody who connected, until it is known who that is. It cannot reach what is open to contacts:
//! whoever is one is handed to the actor of that contact.

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::device;
use ams_crypto::introduction;
use ams_link::Link;
use ams_link::peer::{self, Greeting};
use ams_link::receiver::Frame;
use ams_link::stream::BoxedStream;
use ams_wire::id::{Blob, Key};
use ams_wire::to_peer::ToPeer;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::incoming::Incoming;
use super::listen::Place;
use super::peers::Known;
use crate::contacts::direct::{self, Stranger};
use crate::profile;
use crate::relay::Deps;
use crate::settings::Requests;

/// For the first message, and again for each that follows.
const STEP: Duration = Duration::from_secs(5);
/// Most bytes of a record of somebody who is no contact: an introduction fits.
const RECORD: usize = 8 * 1024 + 16;
/// Records that a stranger may need for it.
const RECORDS: usize = 4;
/// Handshakes that are computed at once.
const TURNS: usize = 2;

/// Receives whoever connects.
#[derive(Clone)]
pub(super) struct Guests {
    deps: Deps,
    known: Known,
    turns: Arc<Semaphore>,
}

impl Guests {
    pub(super) fn new(deps: Deps, known: Known) -> Self {
        Self { deps, known, turns: Arc::new(Semaphore::new(TURNS)) }
    }

    /// Until it is gone, or a contact's actor has it. Whatever is wrong, it is closed without a
    /// byte that was not owed. `stranger` gives a place among strangers.
    pub(super) async fn receive(
        self,
        stream: BoxedStream,
        place: Place,
        stranger: impl FnOnce() -> Option<Place>,
    ) {
        let welcome = self.deps.settings.borrow().requests != Requests::Deny;
        let Ok(greeting) = peer::greet(stream, welcome, STEP).await else { return };
        match greeting {
            Greeting::Known(known) => {
                let Ok(secret) = self.deps.store.write(profile::link_secret).await else {
                    return;
                };
                let Ok(named) = self.in_turn(|| known.read(&secret)).await else { return };
                let key = Key(*named.link().as_bytes());
                if !self.known.has(&key) {
                    return;
                }
                let Ok(link) = named.answer(STEP).await else { return };
                self.confirm(link, key).await;
            }
            Greeting::First(first) => {
                let Some(waits) = stranger() else { return };
                drop(place);
                self.meet(first, waits).await;
            }
        }
    }

    /// The handshake's first message may be a replay: the link is one when a record opened.
    async fn confirm(&self, mut link: Link<BoxedStream>, key: Key) {
        link.receiver.bound(Some(RECORD));
        let Ok(Ok(batch)) = timeout(STEP, link.receiver.receive()).await else { return };
        link.receiver.bound(None);
        let early: Vec<Frame> = batch.collect();
        self.known.give(&key, Incoming { link, early });
    }

    async fn meet(&self, first: peer::FirstGreeting<BoxedStream>, waits: Place) {
        let Ok(secret) = self.deps.store.write(profile::link_secret).await else {
            return;
        };
        let record = device::record(self.deps.me.key(), &secret.public());
        let Ok(answer) = self.in_turn(|| first.answer(&secret, &record)).await else { return };
        let Ok(answered) = answer.exchange(STEP).await else { return };
        let Ok((mut link, identity)) = self.in_turn(|| answered.finish()).await else { return };
        let key = Key(*link.remote.as_bytes());
        link.receiver.bound(Some(RECORD));
        let (mut early, mut intro) = (Vec::new(), None);
        for _ in 0..RECORDS {
            let Ok(Ok(batch)) = timeout(STEP, link.receiver.receive()).await else { return };
            for frame in batch {
                if let Ok(Some(ToPeer::Introduce(said))) = ToPeer::decode(frame.number, &frame.body)
                {
                    intro = Some(said);
                }
                early.push(frame);
            }
            if intro.is_some() {
                break;
            }
        }
        if self.known.is(&key, &identity) {
            link.receiver.bound(None);
            self.known.give(&key, Incoming { link, early });
            return;
        }
        let Some(intro) = intro else { return };
        let stranger = Stranger { identity, link_key: key, from: waits.from };
        if self.keep(stranger, intro.clone()).await {
            let id = introduction::id(intro.as_bytes());
            let said = link.sender.push(&ToPeer::Noted(id)).is_ok()
                && link.sender.push(&ToPeer::Bye).is_ok();
            if said {
                // Whether it hears that is its own affair: it says the same again.
                let _ = timeout(STEP, link.sender.close()).await;
            }
        }
        drop(waits);
    }

    async fn keep(&self, stranger: Stranger, intro: Blob) -> bool {
        let (me, now) = (self.deps.me.clone(), self.deps.outside.clock.now());
        let rule = self.deps.settings.borrow().requests;
        let kept = self
            .deps
            .store
            .write(move |txn| direct::receive(txn, &me, &stranger, intro.as_bytes(), rule, now));
        kept.await
            .inspect_err(|error| tracing::warn!(%error, "a direct request could not be kept"))
            .unwrap_or(false)
    }

    /// Computes, few at once.
    async fn in_turn<T>(&self, compute: impl FnOnce() -> T) -> T {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        compute()
    }
}
