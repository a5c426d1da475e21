//! Two profiles and the rules between them, with a relay that is nothing but this file's hands:
//! each test decides which frame and which envelope arrives, how often, and in which order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that goes wrong may panic"
)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ams_crypto::dh::DhSecret;
use ams_crypto::safety::safety_number;
use ams_crypto::store::StoreKey;
use ams_wire::from_relay::{Request, Row, RowState};
use ams_wire::id::{Handle, Key};
use ams_wire::to_relay::ToRelay;
use ams_wire::username::Username;
use amsd::contacts::{self, ContactId, ask, request};
use amsd::fact::Fact;
use amsd::inbox::{self, Accepted, history, reader};
use amsd::outbox::row::{OutState, TextRow};
use amsd::outbox::seal::{self, Outgoing};
use amsd::outbox::{self, Draft, queue, state};
use amsd::profile::Me;
use amsd::relay::{RelayId, RelayRow, Relays, chores};
use amsd::session::row::{Ciphers, Roots};
use amsd::session::seal::Desk;
use amsd::session::{self, receipt};
use amsd::settings::{Requests, Undeliverable};
use amsd::store::{Read, Store, StoreError};

const RELAY: RelayId = RelayId(1);
const NOW: i64 = 1_800_000_000_000;

struct Person {
    name: &'static str,
    store: Store,
    me: Me,
    told: Arc<Mutex<Vec<Fact>>>,
    _folder: tempfile::TempDir,
}

impl Person {
    async fn new(name: &'static str, relay: Key) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let store = Store::create(
            &folder.path().join("ams.redb"),
            StoreKey::new(&[1; 32]),
            Arc::new(move |facts| heard.lock().unwrap().extend(facts)),
        )
        .unwrap();
        let me = store
            .write(move |txn| {
                let row = RelayRow {
                    nick: "home".to_owned(),
                    at: "127.0.0.1:7311".to_owned(),
                    key: relay,
                    device_secret: [3; 32],
                    user: Username::new(name).unwrap(),
                    enrolled: true,
                    wanted: true,
                    refused: None,
                    relay_counter: 0,
                    deleting: false,
                    adopting: false,
                };
                txn.put::<Relays>(&RELAY, &row)?;
                Me::create(txn)
            })
            .await
            .unwrap();
        Self { name, store, me, told, _folder: folder }
    }

    fn relay(&self) -> RelayRow {
        self.store.read_now(|db| db.get::<Relays>(&RELAY)).unwrap().unwrap()
    }

    async fn add(&self, user: &str) {
        let (me, relay, user) = (self.me.clone(), self.relay(), Username::new(user).unwrap());
        self.store
            .write(move |txn| ask::add(txn, &me, (RELAY, &relay), &user, None, NOW))
            .await
            .unwrap();
    }

    async fn accept(&self, name: &'static str) {
        let me = self.me.clone();
        self.store.write(move |txn| request::accept(txn, &me, name, None, NOW)).await.unwrap();
    }

    /// What waits to be told to the relay; told now.
    async fn chores(&self) -> Vec<ToRelay<'static>> {
        let waiting = self.store.read_now(|db| chores::waiting(db, RELAY)).unwrap();
        let mut frames = Vec::new();
        for (number, frame) in waiting {
            let (number_type, body) = ams_wire::frame::frames(&frame).next().unwrap().unwrap();
            let body: &'static [u8] = Box::leak(body.to_vec().into_boxed_slice());
            frames.push(ToRelay::decode(number_type, body).unwrap().unwrap());
            self.store.write(move |txn| chores::done(txn, RELAY, number)).await.unwrap();
        }
        frames
    }

    async fn request(&self, from: &Person, ask: &ams_wire::to_relay::Ask) {
        let (me, relay) = (self.me.clone(), self.relay());
        let request =
            Request { from: from.relay().user, their_handle: ask.handle, intro: ask.intro.clone() };
        self.store
            .write(move |txn| {
                request::receive(txn, &me, (RELAY, &relay), &request, Requests::Ask, NOW)
            })
            .await
            .unwrap();
    }

    async fn approval(&self, from: &Person, approve: &ams_wire::to_relay::Approve) {
        let (me, relay) = (self.me.clone(), self.relay());
        let row = Row {
            handle: approve.their_handle,
            peer: from.relay().user,
            state: RowState::Accepted,
            approval: Some(approve.approval.clone()),
        };
        self.store
            .write(move |txn| contacts::approval::receive(txn, &me, (RELAY, &relay), &row, NOW))
            .await
            .unwrap();
    }

    fn contact(&self, name: &str) -> (ContactId, contacts::ContactRow) {
        self.store.read_now(|db| contacts::by_name(db, name)).unwrap().unwrap()
    }

    fn handle(&self, name: &str) -> Handle {
        self.contact(name).1.path(RELAY).unwrap().handle
    }

    async fn push(&self, to: &'static str, text: &str) -> outbox::Pushed {
        let draft = Draft { to: to.to_owned(), id: None, text: text_row(text) };
        self.store.write(move |txn| outbox::push(txn, &draft, NOW)).await.unwrap()
    }

    async fn seal(&self, to: &str) -> Vec<Outgoing> {
        let (me, (id, row)) = (self.me.clone(), self.contact(to));
        self.store
            .write(move |txn| {
                let mut desk = Desk::open(txn, id)?;
                seal::seal_due(txn, &me, &mut desk, &row, RELAY, true)
            })
            .await
            .unwrap()
    }

    async fn open(&self, from: &str, envelope: &[u8]) -> Accepted {
        let (me, handle, envelope) = (self.me.clone(), self.handle(from), envelope.to_vec());
        self.store
            .write(move |txn| {
                let came = inbox::Came { me: &me, relay: RELAY, nick: "home", now: NOW };
                inbox::accept(txn, came, [(handle, envelope.as_slice())].into_iter())
            })
            .await
            .unwrap()
            .remove(0)
    }

    fn bare(&self, to: &str, answer: bool) -> Option<Vec<u8>> {
        let (id, row) = self.contact(to);
        self.store
            .read_now(|db| {
                let roots = session::row::roots(db, id)?;
                receipt::bare(db, &self.me, &roots, &row, id, true, answer)
            })
            .unwrap()
    }

    fn inbox(&self) -> Vec<String> {
        self.store
            .read_now(|db| {
                let reader = inbox::row::ReaderRow {
                    name: String::new(),
                    all: 0,
                    of: Vec::new(),
                    used_at: 0,
                };
                let batch = reader::take(db, &reader, None, 1000)?;
                Ok::<_, StoreError>(batch.messages.into_iter().map(|m| m.body).collect())
            })
            .unwrap()
    }

    async fn read_all(&self) {
        self.store
            .write(|txn| {
                let reader = reader::open(txn, reader::DEFAULT, false, NOW)?;
                let batch = reader::take(txn, &reader, None, 1000)?;
                reader::acknowledge(txn, reader::DEFAULT, batch.cursor, NOW)
            })
            .await
            .unwrap();
    }

    fn states(&self, to: &str) -> Vec<OutState> {
        let id = self.contact(to).0;
        self.store
            .read_now(|db| {
                let rows = db.list::<outbox::row::Out>(&id)?;
                Ok::<_, StoreError>(rows.into_iter().map(|(_, row)| row.state).collect())
            })
            .unwrap()
    }
}

/// Everything of a contact's that a new link gets first.
fn unreceipted(db: &impl Read, contact: ContactId) -> Result<Vec<Outgoing>, StoreError> {
    seal::unreceipted(db, &Desk::open(db, contact)?, RELAY, &BTreeSet::new())
}

async fn strangers() -> (Person, Person) {
    let relay = Key(*DhSecret::generate().public().as_bytes());
    (Person::new("alice", relay).await, Person::new("bob", relay).await)
}

fn text_row(text: &str) -> TextRow {
    TextRow { text: text.to_owned(), reply_to: None, title: None, priority: None, tags: Vec::new() }
}

/// Alice asks, bob accepts, and the first envelopes went both ways.
async fn friends() -> (Person, Person) {
    let (alice, bob) = strangers().await;
    become_friends(&alice, &bob).await;
    (alice, bob)
}

async fn become_friends(alice: &Person, bob: &Person) {
    alice.add("bob").await;
    let [ToRelay::Ask(ask)] = &alice.chores().await[..] else { panic!("one request") };
    bob.request(alice, ask).await;
    bob.accept("alice").await;
    let [ToRelay::Approve(approve)] = &bob.chores().await[..] else { panic!("one approval") };
    alice.approval(bob, approve).await;
    assert!(matches!(&alice.chores().await[..], [ToRelay::Fetched(_)]));
    greet(alice, bob).await;
}

/// The requester's first envelope, and the answer to it.
async fn greet(asked: &Person, approved: &Person) {
    let hello = asked.bare(approved.name, true).unwrap();
    assert!(approved.open(asked.name, &hello).await.answer);
    let answer = approved.bare(asked.name, false).unwrap();
    asked.open(approved.name, &answer).await;
}

/// Everything that `from` has to say is sealed and opened, and the receipt goes back.
async fn flow(from: &Person, to: &Person) {
    for out in from.seal(to.name).await {
        to.open(from.name, &out.envelope).await;
    }
    let receipt = to.bare(from.name, false).unwrap();
    from.open(to.name, &receipt).await;
}

#[tokio::test]
async fn two_people_meet_and_talk() {
    let (alice, bob) = friends().await;
    alice.push("bob", "hi").await;
    bob.push("alice", "hello").await;
    flow(&alice, &bob).await;
    flow(&bob, &alice).await;
    assert_eq!((bob.inbox(), alice.inbox()), (vec!["hi".to_owned()], vec!["hello".to_owned()]));
    assert_eq!(alice.states("bob"), [OutState::Delivered]);
    bob.read_all().await;
    alice.open("bob", &bob.bare("alice", false).unwrap()).await;
    assert_eq!(alice.states("bob"), [OutState::Read]);
    let approved = |person: &Person| {
        let told = person.told.lock().unwrap();
        told.iter().filter(|fact| matches!(fact, Fact::Event(event) if is_approval(event))).count()
    };
    assert_eq!((approved(&alice), approved(&bob)), (1, 1));
}

fn is_approval(event: &ams_rpc::types::Fact) -> bool {
    matches!(event, ams_rpc::types::Fact::ContactApproved(_))
}

#[tokio::test]
async fn a_message_that_comes_many_times_is_shown_once() {
    let (alice, bob) = friends().await;
    alice.push("bob", "once").await;
    let out = alice.seal("bob").await;
    assert!(bob.open("alice", &out[0].envelope).await.owes_receipt);
    for _ in 0..3 {
        assert!(bob.open("alice", &out[0].envelope).await.owes_receipt, "the sender lacks it");
    }
    assert_eq!(bob.inbox(), ["once"]);
}

#[tokio::test]
async fn any_order_of_a_full_window_arrives() {
    let (alice, bob) = friends().await;
    let texts: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    for text in &texts {
        alice.push("bob", text).await;
    }
    let out = alice.seal("bob").await;
    assert_eq!(out.len(), session_window(), "no more than the ratchet can skip");
    assert!(alice.seal("bob").await.is_empty());
    for out in out.iter().rev() {
        bob.open("alice", &out.envelope).await;
    }
    alice.open("bob", &bob.bare("alice", false).unwrap()).await;
    flow(&alice, &bob).await;
    let mut arrived = bob.inbox();
    arrived.sort_by_key(|text| text[1..].parse::<u32>().unwrap());
    assert_eq!(arrived, texts);
    assert!(alice.states("bob").iter().all(|state| *state == OutState::Delivered));
}

fn session_window() -> usize {
    amsd::session::seal::MAX_IN_FLIGHT
}

#[tokio::test]
async fn what_was_sent_goes_again_as_the_same_bytes() {
    let (alice, bob) = friends().await;
    for text in ["one", "two"] {
        alice.push("bob", text).await;
    }
    let first = alice.seal("bob").await;
    let id = alice.contact("bob").0;
    for out in &first {
        let key = out.key;
        alice
            .store
            .write(move |txn| {
                state::settle(txn, key, state::Outcome::Sent, "relay:home", Undeliverable::Ask, NOW)
            })
            .await
            .unwrap();
    }
    assert_eq!(alice.states("bob"), [OutState::Sent, OutState::Sent]);
    alice.store.write(move |txn| state::link_lost(txn, &[id], "lost", NOW)).await.unwrap();
    assert_eq!(alice.states("bob"), [OutState::Queued, OutState::Queued]);
    let again = alice.store.read_now(|db| unreceipted(db, id)).unwrap();
    let bytes = |out: &[Outgoing]| out.iter().map(|o| o.envelope.clone()).collect::<Vec<_>>();
    assert_eq!(bytes(&first), bytes(&again));
    for out in again {
        bob.open("alice", &out.envelope).await;
    }
    assert_eq!(bob.inbox(), ["one", "two"]);
}

#[tokio::test]
async fn an_undelivered_message_waits_for_the_user_and_frees_its_slot() {
    let (alice, bob) = friends().await;
    alice.push("bob", "lost").await;
    let lost = alice.seal("bob").await;
    let (id, key) = (alice.contact("bob").0, lost[0].key);
    alice
        .store
        .write(move |txn| {
            state::settle(txn, key, state::Outcome::Failed, "relay:home", Undeliverable::Ask, NOW)
        })
        .await
        .unwrap();
    assert_eq!(alice.states("bob"), [OutState::Undelivered]);
    assert!(alice.seal("bob").await.is_empty(), "nothing goes without the user");
    alice.push("bob", "later").await;
    flow(&alice, &bob).await;
    assert_eq!(alice.states("bob"), [OutState::Undelivered, OutState::Delivered]);
    let decided = alice
        .store
        .write(move |txn| queue::decide(txn, id, 1, queue::Decision::Retry, NOW))
        .await
        .unwrap();
    assert_eq!(decided.unwrap().state, OutState::Queued);
    let again = alice.store.read_now(|db| unreceipted(db, id)).unwrap();
    assert!(again.is_empty(), "its slot was freed, so it is sealed anew");
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox(), ["later", "lost"]);
    // The first ciphertext comes after all.
    bob.open("alice", &lost[0].envelope).await;
    assert_eq!(bob.inbox(), ["later", "lost"]);
    assert_eq!(alice.states("bob"), [OutState::Delivered, OutState::Delivered]);
}

#[tokio::test]
async fn requests_that_cross_make_one_contact() {
    let (alice, bob) = strangers().await;
    alice.add("bob").await;
    bob.add("alice").await;
    let [ToRelay::Ask(from_alice)] = &alice.chores().await[..] else { panic!() };
    let [ToRelay::Ask(from_bob)] = &bob.chores().await[..] else { panic!() };
    bob.request(&alice, from_alice).await;
    alice.request(&bob, from_bob).await;
    let [ToRelay::Approve(by_bob)] = &bob.chores().await[..] else { panic!("answers by itself") };
    let [ToRelay::Approve(by_alice)] = &alice.chores().await[..] else { panic!() };
    alice.approval(&bob, by_bob).await;
    bob.approval(&alice, by_alice).await;
    for text in ["a1", "a2"] {
        alice.push("bob", text).await;
    }
    bob.push("alice", "b1").await;
    flow(&alice, &bob).await;
    flow(&bob, &alice).await;
    bob.push("alice", "b2").await;
    flow(&bob, &alice).await;
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox(), ["a1", "a2"]);
    assert_eq!(alice.inbox(), ["b1", "b2"]);
    let all = |person: &Person| person.store.read_now(|db| contacts::all(db)).unwrap().len();
    assert_eq!((all(&alice), all(&bob)), (1, 1));
}

#[tokio::test]
async fn a_renewal_loses_nothing_and_doubles_nothing() {
    let (alice, bob) = friends().await;
    alice.push("bob", "under the old root").await;
    let old = alice.seal("bob").await;
    let (me, relay, id) = (alice.me.clone(), alice.relay(), alice.contact("bob").0);
    alice.store.write(move |txn| ask::renew(txn, &me, (RELAY, &relay), id, NOW)).await.unwrap();
    let [ToRelay::Ask(renewal)] = &alice.chores().await[..] else { panic!("a renewal") };
    bob.request(&alice, renewal).await;
    let [ToRelay::Approve(approve)] = &bob.chores().await[..] else { panic!("by itself") };
    alice.approval(&bob, approve).await;
    // One that arrived before the renewal did, whose receipt is lost.
    bob.open("alice", &old[0].envelope).await;
    alice.push("bob", "under the new root").await;
    greet(&alice, &bob).await;
    flow(&alice, &bob).await;
    flow(&alice, &bob).await;
    bob.push("alice", "back").await;
    flow(&bob, &alice).await;
    assert_eq!(bob.inbox(), ["under the old root", "under the new root"]);
    assert_eq!(alice.inbox(), ["back"]);
    assert!(alice.states("bob").iter().all(|state| *state == OutState::Delivered));
}

#[tokio::test]
async fn a_forged_envelope_changes_nothing() {
    let (alice, bob) = friends().await;
    alice.push("bob", "real").await;
    let out = alice.seal("bob").await;
    for at in [0, 23, 24, 100, out[0].envelope.len() - 1] {
        let mut forged = out[0].envelope.clone();
        forged[at] ^= 1;
        assert_eq!(bob.open("alice", &forged).await, Accepted::default());
    }
    // Reflected to its own sender.
    assert_eq!(alice.open("bob", &out[0].envelope).await, Accepted::default());
    bob.open("alice", &out[0].envelope).await;
    assert_eq!(bob.inbox(), ["real"]);
}

#[tokio::test]
async fn a_retried_message_whose_ciphertext_is_kept_goes_again_as_it_is() {
    let (alice, bob) = friends().await;
    alice.push("bob", "hello").await;
    let first = alice.seal("bob").await;
    let (id, key) = (alice.contact("bob").0, first[0].key);
    let keep = Undeliverable::Keep;
    alice
        .store
        .write(move |txn| state::settle(txn, key, state::Outcome::Failed, "relay:home", keep, NOW))
        .await
        .unwrap();
    assert_eq!(alice.states("bob"), [OutState::Waiting]);
    let none = alice.store.read_now(|db| unreceipted(db, id)).unwrap();
    assert!(none.is_empty(), "it waits");
    alice.store.write(move |txn| queue::contact_is_there(txn, id, NOW)).await.unwrap();
    let again = alice.store.read_now(|db| unreceipted(db, id)).unwrap();
    assert_eq!(again[0].envelope, first[0].envelope);
    bob.open("alice", &again[0].envelope).await;
    assert_eq!(bob.inbox(), ["hello"]);
}

#[tokio::test]
async fn a_receipt_that_is_never_given_for_one_message_stops_at_the_edge_of_the_window() {
    let (alice, bob) = friends().await;
    let id = alice.contact("bob").0;
    alice.push("bob", "stuck").await;
    let _never_arrives = alice.seal("bob").await;
    // Everything else is taken, until the span between the two is as wide as a receipt speaks of.
    let mut sent = 0;
    loop {
        alice.push("bob", "next").await;
        let out = alice.seal("bob").await;
        let Some(out) = out.first() else { break };
        sent += 1;
        bob.open("alice", &out.envelope).await;
        let receipt = bob.bare("alice", false).unwrap();
        alice.open("bob", &receipt).await;
        assert!(sent < 400, "the window is bounded");
    }
    assert_eq!(sent, 254);
    let (me, row) = (alice.me.clone(), alice.contact("bob").1);
    let probe = alice
        .store
        .write(move |txn| seal::probe(txn, &me, &mut Desk::open(txn, id)?, &row, RELAY, true))
        .await
        .unwrap();
    assert!(probe.is_some(), "one place is left to ask whether anybody is there");
}

#[tokio::test]
async fn another_copy_of_the_profile_ends_the_root() {
    let (alice, bob) = friends().await;
    let id = alice.contact("bob").0;
    alice.push("bob", "mine").await;
    let rows = alice.store.read_now(|db| db.list::<Roots>(&id)).unwrap();
    let mine = alice.seal("bob").await;
    // The copy goes on from the same state, and its text is taken under the same counter.
    alice
        .store
        .write(move |txn| {
            for (key, root) in &rows {
                txn.put::<Roots>(key, root)?;
            }
            txn.delete_all::<Ciphers>(&id)
        })
        .await
        .unwrap();
    bob.open("alice", &mine[0].envelope).await;
    let accepted = alice.open("bob", &bob.bare("alice", false).unwrap()).await;
    assert!(accepted.renew, "the contact took what was never sealed here");
    assert_eq!(alice.states("bob"), [OutState::Queued], "nothing is believed of that root");
    assert!(alice.seal("bob").await.is_empty(), "nothing is sealed under it");
}

#[tokio::test]
async fn somebody_who_is_removed_and_met_again_shows_nothing_twice() {
    let (alice, bob) = friends().await;
    alice.push("bob", "before").await;
    let out = alice.seal("bob").await;
    bob.open("alice", &out[0].envelope).await;
    // The receipt is lost; bob removes alice, and lets her in again when she renews.
    bob.store.write(|txn| contacts::edit::remove(txn, "alice", NOW)).await.unwrap();
    bob.chores().await;
    let (me, relay, id) = (alice.me.clone(), alice.relay(), alice.contact("bob").0);
    alice.store.write(move |txn| ask::renew(txn, &me, (RELAY, &relay), id, NOW)).await.unwrap();
    let [ToRelay::Ask(renewal)] = &alice.chores().await[..] else { panic!("a renewal") };
    bob.request(&alice, renewal).await;
    bob.accept("alice").await;
    let [ToRelay::Approve(approve)] = &bob.chores().await[..] else { panic!("one approval") };
    alice.approval(&bob, approve).await;
    greet(&alice, &bob).await;
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox(), ["before"]);
    assert_eq!(alice.states("bob"), [OutState::Delivered]);
}

#[tokio::test]
async fn another_key_under_a_known_address_stops_everything_until_it_is_verified() {
    let relay = Key(*DhSecret::generate().public().as_bytes());
    let (alice, bob) = (Person::new("alice", relay).await, Person::new("bob", relay).await);
    become_friends(&alice, &bob).await;
    // Somebody has the account bob now, with another identity.
    let other = Person::new("bob", relay).await;
    other.add("alice").await;
    let [ToRelay::Ask(asked)] = &other.chores().await[..] else { panic!("one request") };
    alice.request(&other, asked).await;
    let draft = Draft { to: "bob".to_owned(), id: None, text: text_row("for the old one") };
    let refused = alice.store.write(move |txn| outbox::push(txn, &draft, NOW)).await;
    assert!(matches!(refused, Err(outbox::PushError::KeyChanged(_))));
    // The number is that of the offered key, and confirming it accepts that key.
    let number = safety_number(alice.me.public(), other.me.public()).digits().to_owned();
    let me = alice.me.clone();
    alice
        .store
        .write(move |txn| contacts::edit::verify(txn, &me, "bob", Some(&number), NOW))
        .await
        .unwrap();
    let [ToRelay::Ask(anew)] = &alice.chores().await[..] else { panic!("asked anew") };
    other.request(&alice, anew).await;
    let [ToRelay::Approve(approve)] = &other.chores().await[..] else { panic!("by itself") };
    alice.approval(&other, approve).await;
    greet(&alice, &other).await;
    alice.push("bob", "for the new one").await;
    flow(&alice, &other).await;
    assert_eq!(other.inbox(), ["for the new one"]);
}

#[tokio::test]
async fn an_id_stays_taken_when_its_message_was_deleted() {
    let (alice, bob) = friends().await;
    let sent = alice.push("bob", "first").await;
    flow(&alice, &bob).await;
    alice.store.write(move |txn| history::clear(txn, sent.contact)).await.unwrap();
    let push = async |words: &str| {
        let draft = Draft { to: "bob".to_owned(), id: Some(sent.id), text: text_row(words) };
        alice.store.write(move |txn| outbox::push(txn, &draft, NOW)).await
    };
    assert!(matches!(push("second").await, Err(outbox::PushError::IdConflict(_))));
    assert_eq!(push("first").await.unwrap().id, sent.id);
    assert_eq!(bob.inbox(), ["first"]);
}
