//! A link that is a test's hands, under a clock that stands until a test moves it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ams_crypto::envelope;
use ams_rpc::types::LinkState;
use amsd::clock::Clock;
use amsd::live::Live;
use amsd::outbox::row::OutState;
use amsd::relay::{LinkEvent, LinkHandle, Mailbox, Parcel};
use amsd::router::Deps;
use amsd::settings::{Settings, Undeliverable};
use amsd::store::StoreError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::person::{NOW, Person, RELAY, friends};

/// How long the relay tries.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// How far the clock is moved at a time.
pub(crate) const STEP: Duration = Duration::from_secs(5);
/// Messages, where they are many.
pub(crate) const MANY: usize = 900;
/// Of real time, for what needs none but the disk's.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The relay, as alice's router sees it.
pub(crate) struct Hands {
    pub(crate) alice: Person,
    pub(crate) bob: Person,
    events: mpsc::Sender<LinkEvent>,
    live: Live,
    mailbox: Mailbox,
    waiting: VecDeque<Parcel>,
    _settings: watch::Sender<Settings>,
    _stop: DropGuard,
    _still: std::sync::mpsc::Sender<()>,
}

impl Hands {
    pub(crate) async fn new(policy: Undeliverable) -> Self {
        // A paused clock jumps when every task rests, also while the disk's thread works; it does not
        // while something runs beside the tasks.
        let (still, until) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || until.recv());
        let (alice, bob) = friends().await;
        let (events, received) = mpsc::channel(64);
        let chosen = Settings { undeliverable: policy, ..Settings::default() };
        let (settings, watched) = watch::channel(chosen);
        let live = Live::new(Arc::new(|_| ()));
        let stop = CancellationToken::new();
        let began = Instant::now();
        let clock = move || NOW + i64::try_from(began.elapsed().as_millis()).unwrap();
        let deps = Deps {
            store: alice.store.clone(),
            me: alice.me.clone(),
            clock: Clock::told_by(clock),
            settings: watched,
            live: live.clone(),
            events: received,
        };
        alice.router.start(deps, stop.clone());
        let mut hands = Self {
            alice,
            bob,
            events,
            live,
            mailbox: LinkHandle::pair().1,
            waiting: VecDeque::new(),
            _settings: settings,
            _stop: stop.drop_guard(),
            _still: still,
        };
        hands.link_up().await;
        hands
    }

    pub(crate) async fn tell(&self, event: LinkEvent) {
        assert!(self.events.send(event).await.is_ok(), "the router ended");
    }

    pub(crate) async fn link_up(&mut self) {
        let (link, mailbox) = LinkHandle::pair();
        self.mailbox = mailbox;
        self.waiting.clear();
        self.live.relay(RELAY, "home", LinkState::Up, None);
        self.tell(LinkEvent::Up { relay: RELAY, nick: "home".into(), link, window: WINDOW }).await;
    }

    pub(crate) async fn link_down(&self) {
        self.live.relay(RELAY, "home", LinkState::Down, None);
        self.tell(LinkEvent::Down { relay: RELAY, reason: "lost".into() }).await;
    }

    pub(crate) async fn presence(&self, online: bool) {
        let bob = vec![self.alice.handle("bob")];
        let (online, offline) = if online { (bob, Vec::new()) } else { (Vec::new(), bob) };
        self.tell(LinkEvent::Presence { relay: RELAY, online, offline }).await;
    }

    /// The next thing that leaves, while the clock stands.
    pub(crate) async fn next(&mut self) -> Parcel {
        let since = std::time::Instant::now();
        loop {
            if let Some(parcel) = self.left() {
                return parcel;
            }
            assert!(since.elapsed() < PATIENCE, "nothing leaves");
            tokio::task::yield_now().await;
        }
    }

    /// Time passes, and the relay is alive.
    pub(crate) async fn passes(&self, time: Duration) {
        tokio::time::advance(time).await;
        self.mailbox.hears(Instant::now());
        self.settle().await;
    }

    /// So many messages while nothing can leave, and their bodies.
    pub(crate) async fn many(&mut self) -> Vec<String> {
        self.link_down().await;
        let bodies: Vec<_> = (0..MANY).map(|number| format!("message {number}")).collect();
        for body in &bodies {
            self.alice.push("bob", body).await;
        }
        bodies
    }

    /// What another message leaves as; `None`: it finds no room.
    pub(crate) async fn pushed(&mut self, body: &'static str) -> Option<Parcel> {
        self.alice.push("bob", body).await;
        self.settle().await;
        while let Some(parcel) = self.left() {
            if parcel.key.is_some() {
                return Some(parcel);
            }
        }
        None
    }

    /// The next thing that leaves, and how long that takes.
    pub(crate) async fn next_in_time(&mut self) -> (Parcel, Duration) {
        let since = Instant::now();
        loop {
            self.settle().await;
            if let Some(parcel) = self.left() {
                return (parcel, since.elapsed());
            }
            assert!(since.elapsed() < Duration::from_secs(7200), "nothing leaves");
            tokio::time::advance(STEP).await;
            self.mailbox.hears(Instant::now());
        }
    }

    pub(crate) fn left(&mut self) -> Option<Parcel> {
        while let Some(parcels) = self.mailbox.try_recv() {
            self.waiting.extend(parcels);
        }
        self.waiting.pop_front()
    }

    /// Lets the router do what is due now: each step of it is a transaction, behind which these come.
    pub(crate) async fn settle(&self) {
        for _ in 0..4 {
            let done: Result<(), StoreError> = self.alice.store.write(|_| Ok(())).await;
            done.unwrap();
            tokio::task::yield_now().await;
        }
    }

    /// The next that is no bare envelope, while the clock stands.
    pub(crate) async fn next_full(&mut self) -> Parcel {
        loop {
            let parcel = self.next().await;
            if parcel.key.is_some() {
                return parcel;
            }
        }
    }

    pub(crate) async fn taken(&self, parcel: &Parcel) {
        let keys = vec![parcel.key.unwrap()];
        self.tell(LinkEvent::Taken { relay: RELAY, keys }).await;
    }

    pub(crate) async fn failed(&self, parcel: &Parcel) {
        let envelope = envelope::id(&parcel.envelope).unwrap();
        self.tell(LinkEvent::Failed { relay: RELAY, envelope }).await;
    }

    /// Waits until alice's messages are so, while the clock stands.
    pub(crate) async fn states_are(&self, wanted: &[OutState]) {
        let since = std::time::Instant::now();
        while self.alice.states("bob") != wanted {
            assert!(since.elapsed() < PATIENCE, "{:?}", self.alice.states("bob"));
            tokio::task::yield_now().await;
        }
    }

    /// Bob opens it, and what he has to say comes to alice.
    pub(crate) async fn arrives(&mut self, parcel: &Parcel) {
        self.bob.open("alice", &parcel.envelope).await;
        let receipt = self.bob.bare("alice", false).unwrap();
        self.comes(&receipt).await;
    }

    pub(crate) async fn comes(&self, envelope: &[u8]) {
        let accepted = self.alice.open("bob", envelope).await;
        self.tell(LinkEvent::Handled { relay: RELAY, of: vec![accepted] }).await;
    }

    /// A message that waits, because bob is not there. What it left as.
    pub(crate) async fn kept(&mut self) -> Parcel {
        self.alice.push("bob", "kept").await;
        let parcel = self.next_full().await;
        self.taken(&parcel).await;
        self.states_are(&[OutState::Sent]).await;
        self.failed(&parcel).await;
        self.states_are(&[OutState::Waiting]).await;
        parcel
    }

    /// It leaves again, as the same bytes, and nothing else was asked before; then it arrives.
    pub(crate) async fn goes_out(&mut self, kept: &Parcel) {
        let again = self.next_full().await;
        self.is_kept(&again, kept).await;
    }

    /// The answer to a question passed over it, so that it is sealed anew.
    pub(crate) async fn goes_out_anew(&mut self, kept: &Parcel) {
        let anew = self.next_full().await;
        assert!(anew.envelope != kept.envelope);
        self.has_arrived(&anew).await;
    }

    pub(crate) async fn is_kept(&mut self, again: &Parcel, kept: &Parcel) {
        assert!(again.envelope == kept.envelope, "a question, or another message");
        self.has_arrived(again).await;
    }

    pub(crate) async fn has_arrived(&mut self, parcel: &Parcel) {
        self.arrives(parcel).await;
        self.states_are(&[OutState::Delivered]).await;
        assert_eq!(self.bob.inbox(), ["kept"]);
        self.alice.counts_are_right();
    }
}
