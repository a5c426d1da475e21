//! A profile, and what comes to it and leaves it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ams_crypto::dh::DhSecret;
use ams_crypto::store::StoreKey;
use ams_wire::from_relay::{Request, Row, RowState};
use ams_wire::id::{Handle, Key, MessageId};
use ams_wire::to_relay::{Approve, Ask, ToRelay};
use ams_wire::username::Username;
use amsd::contacts::{self, ContactId, ask, request};
use amsd::fact::Fact;
use amsd::inbox::{self, Accepted, reader};
use amsd::outbox::row::{Out, OutState, Queued, TextRow, Waiting};
use amsd::outbox::seal::{self, Outgoing};
use amsd::outbox::wish::Wish;
use amsd::outbox::{self, Draft, state};
use amsd::profile::Me;
use amsd::relay::{RelayId, RelayRow, Relays, chores};
use amsd::router::RouterHandle;
use amsd::router::path::{Route, Routes};
use amsd::session;
use amsd::session::receipt::{self, Beside};
use amsd::session::seal::Desk;
use amsd::settings::{Requests, Undeliverable};
use amsd::store::{Read, Store, StoreError};
use amsd::tally::{self, Tally};

pub(crate) const RELAY: RelayId = RelayId(1);
pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    pub(crate) me: Me,
    pub(crate) told: Arc<Mutex<Vec<Fact>>>,
    /// Poked by every commit; it does nothing until it is started.
    pub(crate) router: RouterHandle,
    _folder: tempfile::TempDir,
}

impl Person {
    pub(crate) async fn new(name: &'static str, relay: Key) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let router = RouterHandle::default();
        let poked = router.clone();
        let store = Store::create(
            &folder.path().join("ams.redb"),
            StoreKey::new(&[1; 32]),
            Arc::new(move |facts| {
                for fact in &facts {
                    match fact {
                        Fact::Due(contact) => poked.due(*contact),
                        Fact::Greet(contact) => poked.greet(*contact),
                        Fact::Read(contact) => poked.read(*contact),
                        _ => {}
                    }
                }
                heard.lock().unwrap().extend(facts);
            }),
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
        Self { name, store, me, told, router, _folder: folder }
    }

    pub(crate) fn relay(&self) -> RelayRow {
        self.store.read_now(|db| db.get::<Relays>(&RELAY)).unwrap().unwrap()
    }

    pub(crate) async fn add(&self, user: &str) {
        let (me, relay, user) = (self.me.clone(), self.relay(), Username::new(user).unwrap());
        self.store
            .write(move |txn| ask::add(txn, &me, (RELAY, &relay), &user, None, NOW))
            .await
            .unwrap();
    }

    /// Asks a contact for fresh keys; what is told to the relay for it.
    pub(crate) async fn renew(&self, name: &str) -> Ask {
        self.renew_at(name, NOW).await
    }

    pub(crate) async fn renew_at(&self, name: &str, now: i64) -> Ask {
        let (me, relay, id) = (self.me.clone(), self.relay(), self.contact(name).0);
        self.store.write(move |txn| ask::renew(txn, &me, (RELAY, &relay), id, now)).await.unwrap();
        let [ToRelay::Ask(renewal)] = &self.chores().await[..] else { panic!("a renewal") };
        renewal.clone()
    }

    /// What answers the introduction that `from` asks with, by itself.
    pub(crate) async fn answers(&self, from: &Self, asked: &Ask) -> Approve {
        self.request(from, asked).await;
        let [ToRelay::Approve(approve)] = &self.chores().await[..] else { panic!("by itself") };
        approve.clone()
    }

    pub(crate) async fn accept(&self, name: &'static str) {
        let me = self.me.clone();
        self.store.write(move |txn| request::accept(txn, &me, name, None, NOW)).await.unwrap();
    }

    /// What waits to be told to the relay; told now.
    pub(crate) async fn chores(&self) -> Vec<ToRelay<'static>> {
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

    pub(crate) async fn request(&self, from: &Person, ask: &Ask) {
        self.request_by(from, ask, Requests::Ask, NOW).await;
    }

    pub(crate) async fn request_by(&self, from: &Person, ask: &Ask, rule: Requests, now: i64) {
        let (me, relay) = (self.me.clone(), self.relay());
        let request =
            Request { from: from.relay().user, their_handle: ask.handle, intro: ask.intro.clone() };
        self.store
            .write(move |txn| request::receive(txn, &me, (RELAY, &relay), &request, rule, now))
            .await
            .unwrap();
    }

    pub(crate) async fn approval(&self, from: &Person, approve: &Approve) {
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

    pub(crate) fn contact(&self, name: &str) -> (ContactId, contacts::ContactRow) {
        self.store.read_now(|db| contacts::by_name(db, name)).unwrap().unwrap()
    }

    pub(crate) fn handle(&self, name: &str) -> Handle {
        self.contact(name).1.path(RELAY).unwrap().handle
    }

    pub(crate) async fn push(&self, to: &'static str, text: &str) -> outbox::Pushed {
        let draft = draft(to, None, text);
        self.store.write(move |txn| outbox::push(txn, &draft, NOW)).await.unwrap()
    }

    pub(crate) async fn seal(&self, to: &str) -> Vec<Outgoing> {
        let (me, (id, row)) = (self.me.clone(), self.contact(to));
        self.store
            .write(move |txn| {
                let mut desk = Desk::open(txn, id)?;
                seal::seal_due(txn, &me, &mut desk, &row, &routes(&row), true, NOW)
            })
            .await
            .unwrap()
    }

    /// What became of the message in a ciphertext that had left.
    pub(crate) async fn settle(
        &self,
        out: &Outgoing,
        outcome: state::Outcome,
        policy: Undeliverable,
    ) {
        let key = out.key;
        self.store
            .write(move |txn| state::settle(txn, key, outcome, "relay:home", policy, NOW))
            .await
            .unwrap();
    }

    pub(crate) async fn open(&self, from: &str, envelope: &[u8]) -> Accepted {
        self.open_at(from, envelope, NOW).await
    }

    pub(crate) async fn open_at(&self, from: &str, envelope: &[u8], now: i64) -> Accepted {
        let (me, handle, envelope) = (self.me.clone(), self.handle(from), envelope.to_vec());
        self.store
            .write(move |txn| {
                let came = inbox::Came { me: &me, relay: RELAY, nick: "home", now };
                inbox::accept(txn, came, [(handle, envelope.as_slice())].into_iter())
            })
            .await
            .unwrap()
            .remove(0)
    }

    pub(crate) fn bare(&self, to: &str, answer: bool) -> Option<Vec<u8>> {
        let (id, row) = self.contact(to);
        self.store
            .read_now(|db| {
                let roots = session::row::roots(db, id)?;
                let beside = if answer { Beside::Answer } else { Beside::Nothing };
                receipt::bare(db, &self.me, &roots, &row, id, true, beside)
            })
            .unwrap()
    }

    pub(crate) fn inbox(&self) -> Vec<String> {
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

    pub(crate) async fn read_all(&self) {
        self.store
            .write(|txn| {
                let reader = reader::open(txn, reader::DEFAULT, false, NOW)?;
                let batch = reader::take(txn, &reader, None, 1000)?;
                reader::acknowledge(txn, reader::DEFAULT, batch.cursor, NOW)
            })
            .await
            .unwrap();
    }

    /// What is counted, and filed under its state, is what is there.
    pub(crate) fn counts_are_right(&self) {
        let (mut counted, mut found) = ([0_u64; 5], [0_u64; 5]);
        let all = [Tally::Queued, Tally::Sent, Tally::Undelivered, Tally::Waiting, Tally::Kept];
        let looked = self.store.read_now(|db| {
            for (count, what) in counted.iter_mut().zip(all) {
                *count = tally::of(db, what)?;
            }
            let (mut queued, mut waiting) = (Vec::new(), Vec::new());
            for (at, row) in db.list::<Out>(&())? {
                if let Some(what) = Tally::of(row.state) {
                    found[all.iter().position(|other| *other == what).unwrap()] += 1;
                }
                match row.state {
                    OutState::Queued => queued.push((at, ())),
                    OutState::Waiting => waiting.push((at, ())),
                    _ => {}
                }
            }
            found[4] = u64::try_from(db.list::<inbox::row::Received>(&())?.len()).unwrap();
            assert_eq!(db.list::<Queued>(&())?, queued);
            assert_eq!(db.list::<Waiting>(&())?, waiting);
            Ok::<_, StoreError>(())
        });
        looked.unwrap();
        assert_eq!(counted, found, "{}", self.name);
    }

    pub(crate) fn states(&self, to: &str) -> Vec<OutState> {
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
pub(crate) fn unreceipted(db: &impl Read, contact: ContactId) -> Result<Vec<Outgoing>, StoreError> {
    let row = db.get::<contacts::Contacts>(&contact)?.unwrap();
    seal::unreceipted(db, &Desk::open(db, contact)?, &routes(&row), &BTreeMap::new(), NOW)
}

pub(crate) fn route(row: &contacts::ContactRow) -> Route {
    row.path(RELAY).unwrap().into()
}

pub(crate) fn routes(row: &contacts::ContactRow) -> Routes {
    Routes::all(route(row))
}

pub(crate) async fn strangers() -> (Person, Person) {
    let relay = Key(*DhSecret::generate().public().as_bytes());
    (Person::new("alice", relay).await, Person::new("bob", relay).await)
}

pub(crate) fn draft(to: &str, id: Option<MessageId>, text: &str) -> Draft {
    let text = TextRow { text: text.to_owned(), ..TextRow::default() };
    Draft { to: to.to_owned(), id, text, wish: Wish::default() }
}

/// Alice asks, bob accepts, and the first envelopes went both ways.
pub(crate) async fn friends() -> (Person, Person) {
    let (alice, bob) = strangers().await;
    become_friends(&alice, &bob).await;
    (alice, bob)
}

pub(crate) async fn become_friends(alice: &Person, bob: &Person) {
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
pub(crate) async fn greet(asked: &Person, approved: &Person) {
    let hello = asked.bare(approved.name, true).unwrap();
    assert!(approved.open(asked.name, &hello).await.answer);
    let answer = approved.bare(asked.name, false).unwrap();
    asked.open(approved.name, &answer).await;
}

/// Everything that `from` has to say is sealed and opened, and the receipt goes back.
pub(crate) async fn flow(from: &Person, to: &Person) {
    for out in from.seal(to.name).await {
        to.open(from.name, &out.envelope).await;
    }
    let receipt = to.bare(from.name, false).unwrap();
    from.open(to.name, &receipt).await;
    from.counts_are_right();
    to.counts_are_right();
}
