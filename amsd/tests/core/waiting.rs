//! The router with a link that is a test's hands, under a clock that stands until a test moves it:
//! what a relay says of messages and of people, and every way in which a message that waits goes out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ams_crypto::envelope;
use ams_rpc::types::{LinkState, State};
use ams_wire::id::{EnvelopeId, Handle};
use amsd::clock::Clock;
use amsd::live::Live;
use amsd::outbox::row::OutState;
use amsd::outbox::wish::Wish;
use amsd::outbox::{self, Draft, queue};
use amsd::relay::{LinkEvent, LinkHandle, Mailbox, Parcel};
use amsd::router::Deps;
use amsd::settings::{Settings, Undeliverable};
use amsd::store::StoreError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::person::{NOW, Person, RELAY, draft, friends};

/// How long the relay tries.
const WINDOW: Duration = Duration::from_secs(60);
/// How far the clock is moved at a time.
const STEP: Duration = Duration::from_secs(5);
/// Of real time, for what needs none but the disk's.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// The relay, as alice's router sees it.
struct Hands {
    alice: Person,
    bob: Person,
    events: mpsc::Sender<LinkEvent>,
    live: Live,
    mailbox: Mailbox,
    waiting: VecDeque<Parcel>,
    _settings: watch::Sender<Settings>,
    _stop: DropGuard,
    _still: std::sync::mpsc::Sender<()>,
}

impl Hands {
    async fn new(policy: Undeliverable) -> Self {
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

    async fn tell(&self, event: LinkEvent) {
        assert!(self.events.send(event).await.is_ok(), "the router ended");
    }

    async fn link_up(&mut self) {
        let (link, mailbox) = LinkHandle::pair();
        self.mailbox = mailbox;
        self.waiting.clear();
        self.live.relay(RELAY, "home", LinkState::Up, None);
        self.tell(LinkEvent::Up { relay: RELAY, nick: "home".into(), link, window: WINDOW }).await;
    }

    async fn link_down(&self) {
        self.live.relay(RELAY, "home", LinkState::Down, None);
        self.tell(LinkEvent::Down { relay: RELAY, reason: "lost".into() }).await;
    }

    async fn presence(&self, online: bool) {
        let bob = vec![self.alice.handle("bob")];
        let (online, offline) = if online { (bob, Vec::new()) } else { (Vec::new(), bob) };
        self.tell(LinkEvent::Presence { relay: RELAY, online, offline }).await;
    }

    /// The next thing that leaves, while the clock stands.
    async fn next(&mut self) -> Parcel {
        let since = std::time::Instant::now();
        loop {
            if let Some(parcel) = self.left() {
                return parcel;
            }
            assert!(since.elapsed() < PATIENCE, "nothing leaves");
            tokio::task::yield_now().await;
        }
    }

    /// The next thing that leaves, and how long that takes.
    async fn next_in_time(&mut self) -> (Parcel, Duration) {
        let since = Instant::now();
        loop {
            self.settle().await;
            if let Some(parcel) = self.left() {
                return (parcel, since.elapsed());
            }
            assert!(since.elapsed() < Duration::from_secs(7200), "nothing leaves");
            tokio::time::advance(STEP).await;
        }
    }

    fn left(&mut self) -> Option<Parcel> {
        while let Some(parcels) = self.mailbox.try_recv() {
            self.waiting.extend(parcels);
        }
        self.waiting.pop_front()
    }

    /// Lets the router do what is due now: each step of it is a transaction, behind which these come.
    async fn settle(&self) {
        for _ in 0..4 {
            let done: Result<(), StoreError> = self.alice.store.write(|_| Ok(())).await;
            done.unwrap();
            tokio::task::yield_now().await;
        }
    }

    /// The next that is no bare envelope, while the clock stands.
    async fn next_full(&mut self) -> Parcel {
        loop {
            let parcel = self.next().await;
            if parcel.key.is_some() {
                return parcel;
            }
        }
    }

    async fn taken(&self, parcel: &Parcel) {
        let keys = vec![parcel.key.unwrap()];
        self.tell(LinkEvent::Taken { relay: RELAY, keys }).await;
    }

    async fn failed(&self, parcel: &Parcel) {
        let envelope = envelope::id(&parcel.envelope).unwrap();
        self.tell(LinkEvent::Failed { relay: RELAY, envelope }).await;
    }

    /// Waits until alice's messages are so, while the clock stands.
    async fn states_are(&self, wanted: &[OutState]) {
        let since = std::time::Instant::now();
        while self.alice.states("bob") != wanted {
            assert!(since.elapsed() < PATIENCE, "{:?}", self.alice.states("bob"));
            tokio::task::yield_now().await;
        }
    }

    /// Bob opens it, and what he has to say comes to alice.
    async fn arrives(&mut self, parcel: &Parcel) {
        self.bob.open("alice", &parcel.envelope).await;
        let receipt = self.bob.bare("alice", false).unwrap();
        self.comes(&receipt).await;
    }

    async fn comes(&self, envelope: &[u8]) {
        let accepted = self.alice.open("bob", envelope).await;
        self.tell(LinkEvent::Handled { relay: RELAY, of: vec![accepted] }).await;
    }

    /// A message that waits, because bob is not there. What it left as.
    async fn kept(&mut self) -> Parcel {
        self.alice.push("bob", "kept").await;
        let parcel = self.next_full().await;
        self.taken(&parcel).await;
        self.states_are(&[OutState::Sent]).await;
        self.failed(&parcel).await;
        self.states_are(&[OutState::Waiting]).await;
        parcel
    }

    /// It leaves again, as the same bytes, and nothing else was asked before; then it arrives.
    async fn goes_out(&mut self, kept: &Parcel) {
        let again = self.next_full().await;
        self.is_kept(&again, kept).await;
    }

    /// The answer to a question passed over it, so that it is sealed anew.
    async fn goes_out_anew(&mut self, kept: &Parcel) {
        let anew = self.next_full().await;
        assert!(anew.envelope != kept.envelope);
        self.has_arrived(&anew).await;
    }

    async fn is_kept(&mut self, again: &Parcel, kept: &Parcel) {
        assert!(again.envelope == kept.envelope, "a question, or another message");
        self.has_arrived(again).await;
    }

    async fn has_arrived(&mut self, parcel: &Parcel) {
        self.arrives(parcel).await;
        self.states_are(&[OutState::Delivered]).await;
        assert_eq!(self.bob.inbox(), ["kept"]);
        self.alice.counts_are_right();
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_if_the_contact_is_online_now() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    hands.presence(true).await;
    // The relay gave up although it says that bob is there; nobody says anything new.
    let kept = hands.kept().await;
    let (again, after) = hands.next_in_time().await;
    assert!(after <= Duration::from_secs(70), "{after:?}");
    hands.is_kept(&again, &kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_the_contact_comes_online() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    hands.presence(true).await;
    hands.goes_out(&kept).await;
}

/// A snapshot says who is online before the link is up.
#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_if_the_contact_is_online_in_the_snapshot() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    hands.link_down().await;
    hands.presence(true).await;
    hands.link_up().await;
    hands.goes_out(&kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_an_envelope_of_the_contacts_comes() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    hands.bob.push("alice", "I am here").await;
    let out = hands.bob.seal("alice").await;
    hands.comes(&out[0].envelope).await;
    hands.goes_out(&kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_the_user_says_so() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    let id = hands.alice.contact("bob").0;
    let decided = hands
        .alice
        .store
        .write(move |txn| queue::decide(txn, id, 1, queue::Decision::Retry, NOW))
        .await;
    assert_eq!(decided.unwrap().unwrap().state, OutState::Queued);
    hands.goes_out(&kept).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_when_a_question_is_answered() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    let (question, after) = hands.next_in_time().await;
    assert!(question.envelope != kept.envelope && question.key.is_some());
    assert!(after >= Duration::from_secs(55), "{after:?}");
    hands.arrives(&question).await;
    hands.goes_out_anew(&kept).await;
}

/// Presence never says a word of somebody invisible. Whether they are there is asked every minute
/// at first and every hour in the end, for as long as something waits.
#[tokio::test(start_paused = true)]
async fn somebody_invisible_is_asked_less_and_less_often_and_gets_what_waits() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let kept = hands.kept().await;
    let (mut question, mut gaps) = (None, Vec::new());
    for _ in 0..10 {
        let (parcel, after) = hands.next_in_time().await;
        assert!(parcel.envelope != kept.envelope);
        gaps.push(after.as_secs());
        question = Some(parcel);
    }
    assert!(gaps.is_sorted() && gaps[0] <= 70, "{gaps:?}");
    assert!((3590..=3610).contains(gaps.last().unwrap()), "{gaps:?}");
    assert_eq!(hands.alice.states("bob"), [OutState::Waiting]);
    // Whatever the last one was, it asks for an answer.
    let asked = hands.bob.open("alice", &question.unwrap().envelope).await;
    assert!(asked.answer);
    let answer = hands.bob.bare("alice", false).unwrap();
    hands.comes(&answer).await;
    hands.goes_out_anew(&kept).await;
}

/// It says `Failed` of what arrived, of what it never had, and again.
#[tokio::test(start_paused = true)]
async fn a_relay_that_lies_about_failures_makes_nothing_wrong_for_long() {
    let mut hands = Hands::new(Undeliverable::Ask).await;
    hands.tell(LinkEvent::Failed { relay: RELAY, envelope: EnvelopeId([9; 16]) }).await;
    hands.alice.push("bob", "kept").await;
    let parcel = hands.next_full().await;
    hands.taken(&parcel).await;
    hands.bob.open("alice", &parcel.envelope).await;
    hands.failed(&parcel).await;
    hands.states_are(&[OutState::Undelivered]).await;
    hands.failed(&parcel).await;
    // The receipt is the truth.
    let receipt = hands.bob.bare("alice", false).unwrap();
    hands.comes(&receipt).await;
    hands.states_are(&[OutState::Delivered]).await;
    hands.failed(&parcel).await;
    hands.alice.push("bob", "then").await;
    let then = hands.next_full().await;
    hands.arrives(&then).await;
    hands.states_are(&[OutState::Delivered, OutState::Delivered]).await;
    assert_eq!(hands.bob.inbox(), ["kept", "then"]);
}

/// Silence of the relay counts as a failure, but only while the link is up.
#[tokio::test(start_paused = true)]
async fn a_relay_that_swallows_everything_is_noticed() {
    let mut hands = Hands::new(Undeliverable::Ask).await;
    hands.alice.push("bob", "kept").await;
    let parcel = hands.next_full().await;
    let before = Instant::now();
    while hands.alice.states("bob") != [OutState::Undelivered] {
        tokio::time::advance(STEP).await;
        hands.settle().await;
    }
    let silent = before.elapsed();
    assert!(silent >= WINDOW && silent <= WINDOW + Duration::from_secs(30), "{silent:?}");
    hands.arrives(&parcel).await;
    hands.states_are(&[OutState::Delivered]).await;
}

/// It says that somebody is there who is not, again and again, and speaks of people nobody knows.
#[tokio::test(start_paused = true)]
async fn a_relay_that_lies_about_presence_loses_nothing() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let unknown = vec![Handle([0xee; 16])];
    hands.tell(LinkEvent::Presence { relay: RELAY, online: unknown, offline: Vec::new() }).await;
    let kept = hands.kept().await;
    for _ in 0..5 {
        hands.presence(true).await;
        let again = hands.next_full().await;
        assert!(again.envelope == kept.envelope);
        hands.taken(&again).await;
        hands.states_are(&[OutState::Sent]).await;
        hands.failed(&again).await;
        hands.states_are(&[OutState::Waiting]).await;
        hands.presence(false).await;
    }
    hands.presence(true).await;
    hands.goes_out(&kept).await;
    assert!(hands.bob.inbox().len() == 1);
}

/// Three envelopes in a row that no key opens: alice asks bob for fresh keys, once.
#[tokio::test(start_paused = true)]
async fn what_no_key_opens_has_fresh_keys_asked_for() {
    let hands = Hands::new(Undeliverable::Keep).await;
    let asked = |hands: &Hands| {
        let looked = hands.alice.store.read_now(|db| amsd::relay::chores::rows(db, RELAY));
        looked.unwrap().contains(&hands.alice.handle("bob"))
    };
    hands.alice.chores().await;
    let junk = vec![7; 600];
    let good = hands.bob.bare("alice", false).unwrap();
    for envelope in [&junk, &junk, &good, &junk, &junk, &good] {
        hands.comes(envelope).await;
    }
    hands.bob.push("alice", "m").await;
    hands.comes(&hands.bob.seal("alice").await[0].envelope).await;
    assert!(!asked(&hands), "each time something readable came before the third");
    for _ in 0..3 {
        hands.comes(&junk).await;
    }
    while !asked(&hands) {
        tokio::task::yield_now().await;
    }
    // Once in a quarter of an hour.
    hands.alice.chores().await;
    for _ in 0..6 {
        hands.comes(&junk).await;
    }
    hands.comes(&good).await;
    hands.alice.push("bob", "the router has handled all that").await;
    hands.states_are(&[OutState::Queued]).await;
    assert!(!asked(&hands));
}

/// The sender's trying ends at its time, and not a moment before.
#[tokio::test(start_paused = true)]
async fn a_message_with_an_end_ends_then() {
    let mut hands = Hands::new(Undeliverable::Keep).await;
    let wish = Wish { expires_at: Some(NOW + 1_500), ..Wish::default() };
    let draft = Draft { wish, ..draft("bob", None, "soon over") };
    let pushed = hands.alice.store.write(move |txn| outbox::push(txn, &draft, NOW)).await;
    assert_eq!(pushed.unwrap().state, State::Queued);
    let parcel = hands.next_full().await;
    assert_eq!(parcel.ttl, 2, "a relay is told whole seconds");
    hands.taken(&parcel).await;
    hands.states_are(&[OutState::Sent]).await;
    tokio::time::advance(Duration::from_millis(1_499)).await;
    hands.settle().await;
    hands.states_are(&[OutState::Sent]).await;
    tokio::time::advance(Duration::from_millis(2)).await;
    hands.states_are(&[OutState::Expired]).await;
    hands.alice.counts_are_right();
}
