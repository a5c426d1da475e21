//! Fresh keys: asked for, crossing, lost, and used twice.

use ams_wire::to_relay::ToRelay;
use amsd::contacts::{ask, edit};
use amsd::outbox::row::OutState;
use amsd::outbox::{self, queue, state};
use amsd::relay::Relays;
use amsd::session::row::{Ciphers, Roots};
use amsd::settings::Undeliverable;
use amsd::store::Read;

use crate::person::{NOW, Person, RELAY, draft, flow, friends, greet, routes, strangers};

#[tokio::test]
async fn a_renewal_loses_nothing_and_doubles_nothing() {
    let (alice, bob) = friends().await;
    alice.push("bob", "under the old root").await;
    let old = alice.seal("bob").await;
    let renewal = alice.renew("bob").await;
    let approve = bob.answers(&alice, &renewal).await;
    alice.approval(&bob, &approve).await;
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

/// Alice asks for fresh keys and goes on under them; bob does not listen, removes her, and meets her
/// again. What she had sealed under the keys that he never had is sealed anew.
#[tokio::test]
async fn what_was_sealed_under_keys_that_the_contact_dropped_is_sealed_anew() {
    let (alice, bob) = friends().await;
    let renewal = alice.renew("bob").await;
    let approval = bob.answers(&alice, &renewal).await;
    alice.approval(&bob, &approval).await;
    alice.chores().await;
    for text in ["one", "two"] {
        alice.push("bob", text).await;
    }
    let lost = alice.seal("bob").await;
    alice.settle(&lost[0], state::Outcome::Failed, Undeliverable::Ask).await;
    alice.settle(&lost[1], state::Outcome::Sent, Undeliverable::Ask).await;
    // Bob lets all of it pass by, and begins anew.
    bob.store.write(|txn| edit::remove(txn, "alice", NOW)).await.unwrap();
    bob.chores().await;
    bob.add("alice").await;
    let [ToRelay::Ask(asked)] = &bob.chores().await[..] else { panic!("one request") };
    let approval = alice.answers(&bob, asked).await;
    bob.approval(&alice, &approval).await;
    greet(&bob, &alice).await;
    assert_eq!(alice.states("bob"), [OutState::Undelivered, OutState::Queued]);
    flow(&alice, &bob).await;
    let id = alice.contact("bob").0;
    alice
        .store
        .write(move |txn| queue::decide(txn, id, 1, queue::Decision::Retry, NOW))
        .await
        .unwrap();
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox(), ["two", "one"]);
    assert_eq!(alice.states("bob"), [OutState::Delivered, OutState::Delivered]);
}

/// Whatever the order in which the four frames of two renewals that cross arrive, and whatever was
/// sealed between them, both end under the same keys and nothing is lost.
#[tokio::test]
async fn renewals_that_cross_in_any_order_end_under_the_same_keys() {
    for order in permutations(&[Step::AliceAsks, Step::BobAsks, Step::ToAlice, Step::ToBob]) {
        let (alice, bob) = friends().await;
        let (from_alice, from_bob) = (alice.renew("bob").await, bob.renew("alice").await);
        let (mut to_alice, mut to_bob) = (Vec::new(), Vec::new());
        for step in &order {
            match step {
                Step::AliceAsks => to_alice.push(bob.answers(&alice, &from_alice).await),
                Step::BobAsks => to_bob.push(alice.answers(&bob, &from_bob).await),
                Step::ToAlice => take(&alice, &bob, &mut to_alice).await,
                Step::ToBob => take(&bob, &alice, &mut to_bob).await,
            }
            // Each goes on meanwhile, with what it has.
            alice.push("bob", "a").await;
            bob.push("alice", "b").await;
            send(&alice, &bob).await;
            send(&bob, &alice).await;
        }
        // What came before its question was asked again by the relay.
        take(&alice, &bob, &mut to_alice).await;
        take(&bob, &alice, &mut to_bob).await;
        for _ in 0..4 {
            send(&alice, &bob).await;
            send(&bob, &alice).await;
        }
        let all = |person: &Person, of: &str| {
            person.states(of).iter().all(|state| *state == OutState::Delivered)
        };
        assert!(all(&alice, "bob") && all(&bob, "alice"), "{order:?}");
        assert_eq!((bob.inbox().len(), alice.inbox().len()), (4, 4), "{order:?}");
        let sealing = |person: &Person, of: &str| {
            let id = person.contact(of).0;
            let roots = person.store.read_now(|db| amsd::session::row::roots(db, id)).unwrap();
            amsd::session::row::sealing_root(&roots).map(|(tag, _)| *tag)
        };
        assert_eq!(sealing(&alice, "bob"), sealing(&bob, "alice"), "{order:?}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Alice's introduction comes to bob, who answers.
    AliceAsks,
    /// Bob's to alice.
    BobAsks,
    /// The answer comes to alice.
    ToAlice,
    /// And to bob.
    ToBob,
}

fn permutations(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..steps.len() {
        let mut rest = steps.to_vec();
        let first = rest.remove(at);
        for mut behind in permutations(&rest) {
            behind.insert(0, first);
            all.push(behind);
        }
    }
    all
}

async fn take(person: &Person, from: &Person, approvals: &mut Vec<ams_wire::to_relay::Approve>) {
    for approval in approvals.drain(..) {
        person.approval(from, &approval).await;
        person.chores().await;
    }
}

/// All that has no receipt, then what is new, then the receipt state, as on a new link.
async fn send(from: &Person, to: &Person) {
    let id = from.contact(to.name).0;
    let again = from.store.read_now(|db| crate::person::unreceipted(db, id)).unwrap();
    for out in again.into_iter().chain(from.seal(to.name).await) {
        to.open(from.name, &out.envelope).await;
    }
    if let Some(bare) = from.bare(to.name, false) {
        to.open(from.name, &bare).await;
    }
}

/// What bob asked for while he was blocked, he gets when he is heard again: the relay shows it again.
#[tokio::test]
async fn whoever_asked_for_fresh_keys_while_blocked_gets_them() {
    let (alice, bob) = friends().await;
    block(&alice, true).await;
    let renewal = bob.renew("alice").await;
    alice.request(&bob, &renewal).await;
    let told = alice.chores().await;
    assert!(matches!(told[..], [ToRelay::Block(_)]), "{told:?}");
    block(&alice, false).await;
    let told = alice.chores().await;
    assert!(matches!(told[..], [ToRelay::Unblock(_)]), "{told:?}");
    let approval = alice.answers(&bob, &renewal).await;
    bob.approval(&alice, &approval).await;
    greet(&bob, &alice).await;
    bob.push("alice", "at last").await;
    flow(&bob, &alice).await;
    assert_eq!(alice.inbox(), ["at last"]);
}

/// A request of ours that the relay refused, since the row was blocked, is made again.
#[tokio::test]
async fn what_we_asked_while_we_blocked_is_asked_again() {
    let (alice, bob) = friends().await;
    block(&alice, true).await;
    alice.chores().await;
    let refused = alice.renew("bob").await;
    block(&alice, false).await;
    let told = alice.chores().await;
    let [ToRelay::Unblock(_), ToRelay::Ask(again)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(again.intro, refused.intro);
    let approval = bob.answers(&alice, again).await;
    alice.approval(&bob, &approval).await;
    greet(&alice, &bob).await;
}

async fn block(person: &Person, blocked: bool) {
    let me = person.me.clone();
    let done =
        person.store.write(move |txn| edit::set_blocked(txn, &me, "bob", blocked, NOW)).await;
    done.unwrap();
}

/// An envelope that none of the two's keys opens is the contact's all the same: it says so.
#[tokio::test]
async fn what_no_key_opens_is_known_to_be_the_contacts() {
    let (alice, bob) = friends().await;
    let (id, of_bob) = (bob.contact("alice").0, alice.contact("bob").0);
    // Bob lost his keys for alice.
    bob.store.write(move |txn| txn.delete_all::<Roots>(&id)).await.unwrap();
    alice.push("bob", "can you read this").await;
    for out in alice.seal("bob").await {
        let accepted = bob.open("alice", &out.envelope).await;
        assert_eq!((accepted.from, accepted.unreadable), (None, Some(id)));
    }
    // He asks for fresh ones, and has the message then.
    let renewal = bob.renew("alice").await;
    let approval = alice.answers(&bob, &renewal).await;
    bob.approval(&alice, &approval).await;
    greet(&bob, &alice).await;
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox(), ["can you read this"]);
    let old = alice.store.read_now(|db| db.list::<Ciphers>(&of_bob)).unwrap();
    assert!(old.is_empty());
}

#[tokio::test]
async fn why_nothing_could_be_sealed_is_said_as_it_is() {
    let (alice, bob) = strangers().await;
    crate::person::become_friends(&alice, &bob).await;
    let id = alice.contact("bob").0;
    alice.store.write(move |txn| amsd::session::row::retire(txn, id, NOW)).await.unwrap();
    alice.push("bob", "under which keys").await;
    let (ask, routes) = (Undeliverable::Ask, routes(&alice.contact("bob").1));
    alice
        .store
        .write(move |txn| amsd::outbox::seal::give_up(txn, id, &routes, ask, NOW))
        .await
        .unwrap();
    let shown = alice.store.read_now(|db| amsd::outbox::show::with_steps(db, id, 1)).unwrap();
    let shown = shown.unwrap();
    assert_eq!(shown.message.state, ams_rpc::types::State::Undelivered);
    let reason = shown.steps.last().unwrap().reason.clone().unwrap();
    assert!(reason.contains("fresh keys"), "{reason}");
    assert!(alice.store.read_now(|db| db.get::<Relays>(&RELAY)).unwrap().is_some());
}

const MINUTE: i64 = 60 * 1000;
const YEAR: i64 = 365 * 24 * 60 * MINUTE;

async fn asks_at(person: &Person, name: &str, now: i64) -> usize {
    let (me, relay, id) = (person.me.clone(), person.relay(), person.contact(name).0);
    let asked = person.store.write(move |txn| ask::renew(txn, &me, (RELAY, &relay), id, now)).await;
    asked.unwrap();
    person.chores().await.len()
}

/// Once in a quarter of an hour, also by a clock that is set back by a year in between.
#[tokio::test]
async fn fresh_keys_are_asked_for_once_in_a_quarter_of_an_hour() {
    let (alice, _bob) = friends().await;
    assert_eq!(asks_at(&alice, "bob", NOW).await, 1);
    assert_eq!(asks_at(&alice, "bob", NOW + 14 * MINUTE).await, 0);
    assert_eq!(asks_at(&alice, "bob", NOW + 15 * MINUTE).await, 1);
    assert_eq!(asks_at(&alice, "bob", NOW - YEAR).await, 1);
    assert_eq!(asks_at(&alice, "bob", NOW - YEAR + MINUTE).await, 0);
    assert_eq!(asks_at(&alice, "bob", NOW + YEAR).await, 1);
}

/// A contact that was away for longer than a request stands never saw it.
#[tokio::test]
async fn fresh_keys_that_were_asked_for_in_vain_are_asked_for_anew() {
    let (alice, _bob) = friends().await;
    let first = alice.renew("bob").await;
    let asked_again = async |at| {
        let (me, id) = (alice.me.clone(), alice.contact("bob").0);
        let key = (RELAY, alice.handle("bob"));
        let asked = alice.store.write(move |txn| ask::renew_expired(txn, &me, key, id, at));
        asked.await.unwrap();
        alice.chores().await
    };
    assert!(asked_again(NOW + ask::LIFE - 1).await.is_empty());
    let again = asked_again(NOW + ask::LIFE).await;
    let [ToRelay::Ask(anew)] = &again[..] else { panic!("{again:?}") };
    assert!(anew.intro != first.intro, "the old one has expired");
}

/// The relay may show everything again, at each attach.
#[tokio::test]
async fn what_the_relay_shows_twice_is_answered_alike_and_taken_once() {
    let (alice, bob) = friends().await;
    let renewal = alice.renew("bob").await;
    let first = bob.answers(&alice, &renewal).await;
    let second = bob.answers(&alice, &renewal).await;
    assert_eq!(first.approval, second.approval, "an introduction has one answer");
    alice.approval(&bob, &first).await;
    let roots = |person: &Person, of: &str| {
        let id = person.contact(of).0;
        person.store.read_now(|db| amsd::session::row::roots(db, id)).unwrap().len()
    };
    assert!(matches!(alice.chores().await[..], [ToRelay::Fetched(_)]));
    let before = roots(&alice, "bob");
    alice.approval(&bob, &second).await;
    assert!(matches!(alice.chores().await[..], [ToRelay::Fetched(_)]), "and is confirmed again");
    assert_eq!((roots(&alice, "bob"), roots(&bob, "alice")), (before, 2));
    greet(&alice, &bob).await;
    alice.push("bob", "hi").await;
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox(), ["hi"]);
    // It was used: also the introduction, shown once more, changes nothing.
    bob.request(&alice, &renewal).await;
    flow(&alice, &bob).await;
    assert_eq!((roots(&alice, "bob"), roots(&bob, "alice")), (1, 1));
}

/// Alice's clock goes forward by a year and back again: what she writes arrives, once and in order.
#[tokio::test]
async fn a_clock_that_jumps_by_a_year_changes_nothing_for_messages() {
    let (alice, bob) = friends().await;
    for (text, at) in [("now", NOW), ("in a year", NOW + YEAR), ("a year ago", NOW - YEAR)] {
        let draft = draft("bob", None, text);
        alice.store.write(move |txn| outbox::push(txn, &draft, at)).await.unwrap();
        let out = alice.seal("bob").await;
        // And bob's own clock is wrong the other way round.
        bob.open_at("alice", &out[0].envelope, 2 * NOW - at).await;
        bob.open_at("alice", &out[0].envelope, at).await;
        alice.open_at("bob", &bob.bare("alice", false).unwrap(), at).await;
    }
    assert_eq!(bob.inbox(), ["now", "in a year", "a year ago"]);
    assert!(alice.states("bob").iter().all(|state| *state == OutState::Delivered));
    // An introduction that was made by the wrong clock is made anew by the right one.
    assert_eq!(asks_at(&alice, "bob", NOW + YEAR).await, 1);
    let again = alice.renew_at("bob", NOW).await;
    let approval = bob.answers(&alice, &again).await;
    alice.approval(&bob, &approval).await;
    greet(&alice, &bob).await;
}
