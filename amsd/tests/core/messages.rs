//! Messages: which arrive, in which order, how often, and what becomes of the others.

use std::collections::BTreeMap;

use amsd::inbox::{Accepted, history};
use amsd::outbox::row::OutState;
use amsd::outbox::seal::{self, Outgoing};
use amsd::outbox::{self, queue, state};
use amsd::session::seal::Desk;
use amsd::settings::Undeliverable;

use crate::person::{NOW, Person, RELAY, draft, flow, friends, route, routes, unreceipted};

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
    let keys: Vec<_> = first.iter().map(|out| out.key).collect();
    alice.store.write(move |txn| state::link_lost(txn, &keys, "lost", NOW)).await.unwrap();
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
async fn a_forged_envelope_changes_nothing() {
    let (alice, bob) = friends().await;
    alice.push("bob", "real").await;
    let out = alice.seal("bob").await;
    let unreadable = |person: &Person, from: &str| Accepted {
        unreadable: Some(person.contact(from).0),
        ..Accepted::default()
    };
    for at in [0, 23, 24, 100, out[0].envelope.len() - 1] {
        let mut forged = out[0].envelope.clone();
        forged[at] ^= 1;
        assert_eq!(bob.open("alice", &forged).await, unreadable(&bob, "alice"));
    }
    // Reflected to its own sender.
    let reflected = alice.open("bob", &out[0].envelope).await;
    assert_eq!(reflected, unreadable(&alice, "bob"));
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
    alice.store.write(move |txn| queue::contact_is_there(txn, id, RELAY, NOW)).await.unwrap();
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
        .write(move |txn| seal::probe(txn, &me, &mut Desk::open(txn, id)?, &row, route(&row), true))
        .await
        .unwrap();
    assert!(probe.is_some(), "one place is left to ask whether anybody is there");
}

#[tokio::test]
async fn an_id_stays_taken_when_its_message_was_deleted() {
    let (alice, bob) = friends().await;
    let sent = alice.push("bob", "first").await;
    flow(&alice, &bob).await;
    alice.store.write(move |txn| history::clear(txn, sent.contact)).await.unwrap();
    let push = async |words: &str| {
        let draft = draft("bob", Some(sent.id), words);
        alice.store.write(move |txn| outbox::push(txn, &draft, NOW)).await
    };
    assert!(matches!(push("second").await, Err(outbox::PushError::IdConflict(_))));
    assert_eq!(push("first").await.unwrap().id, sent.id);
    assert_eq!(bob.inbox(), ["first"]);
}

#[tokio::test]
async fn a_relay_is_told_how_long_a_message_is_worth_something() {
    let (alice, _bob) = friends().await;
    let id = alice.contact("bob").0;
    let mut wanted = draft("bob", None, "for a minute");
    wanted.wish.expires_at = Some(NOW + 60_000);
    alice.store.write(move |txn| outbox::push(txn, &wanted, NOW)).await.unwrap();
    alice.push("bob", "for ever").await;
    let first = alice.seal("bob").await;
    let ends = |out: &[Outgoing]| out.iter().map(|out| out.ttl).collect::<Vec<_>>();
    assert_eq!(ends(&first), [60, 0]);
    // The same bytes again, and what is left of the time.
    let row = alice.contact("bob").1;
    let again = alice
        .store
        .read_now(|db| {
            let desk = Desk::open(db, id)?;
            seal::unreceipted(db, &desk, &routes(&row), &BTreeMap::new(), NOW + 45_500)
        })
        .unwrap();
    assert_eq!(ends(&again), [15, 0]);
    assert_eq!(again[0].envelope, first[0].envelope);
}

#[tokio::test]
async fn an_id_says_how_its_message_ended_also_after_it_was_deleted() {
    let (alice, _bob) = friends().await;
    let sent = alice.push("bob", "never mind").await;
    alice
        .store
        .write(move |txn| {
            queue::decide(txn, sent.contact, 1, queue::Decision::Discard, NOW)?;
            history::clear(txn, sent.contact)
        })
        .await
        .unwrap();
    let again = draft("bob", Some(sent.id), "never mind");
    let again = alice.store.write(move |txn| outbox::push(txn, &again, NOW)).await.unwrap();
    assert_eq!(again.state, ams_rpc::types::State::Discarded);
}
