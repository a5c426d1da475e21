//! How two profiles become contacts, and how they meet again.

use ams_crypto::dh::DhSecret;
use ams_crypto::safety::safety_number;
use ams_wire::id::Key;
use ams_wire::to_relay::ToRelay;
use amsd::contacts;
use amsd::fact::Fact;
use amsd::outbox;
use amsd::outbox::row::OutState;

use crate::person::{NOW, Person, become_friends, draft, flow, friends, greet, strangers};

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
async fn somebody_who_is_removed_and_met_again_shows_nothing_twice() {
    let (alice, bob) = friends().await;
    alice.push("bob", "before").await;
    let out = alice.seal("bob").await;
    bob.open("alice", &out[0].envelope).await;
    // The receipt is lost; bob removes alice, and lets her in again when she renews.
    bob.store.write(|txn| contacts::edit::remove(txn, "alice", NOW)).await.unwrap();
    bob.chores().await;
    let renewal = alice.renew("bob").await;
    bob.request(&alice, &renewal).await;
    bob.accept("alice").await;
    let [ToRelay::Approve(approve)] = &bob.chores().await[..] else { panic!("one approval") };
    alice.approval(&bob, approve).await;
    greet(&alice, &bob).await;
    flow(&alice, &bob).await;
    assert_eq!(bob.inbox(), ["before"]);
    assert_eq!(alice.states("bob"), [OutState::Delivered]);
}

/// Shown again and again, it is told once; the key that is known, shown again, ends it.
#[tokio::test]
async fn a_changed_key_is_told_once_and_ends_with_a_proof_of_the_known_one() {
    let (alice, bob) = friends().await;
    let relay = alice.relay().key;
    let other = Person::new("bob", relay).await;
    other.add("alice").await;
    let [ToRelay::Ask(asked)] = &other.chores().await[..] else { panic!("one request") };
    alice.request(&other, asked).await;
    alice.request(&other, asked).await;
    let told = |person: &Person| {
        let is_changed = |fact: &&Fact| {
            matches!(fact, Fact::Event(event)
                if matches!(**event, ams_rpc::types::Fact::ContactKeyChanged(_)))
        };
        person.told.lock().unwrap().iter().filter(is_changed).count()
    };
    assert_eq!(told(&alice), 1);
    assert!(alice.contact("bob").1.is_key_changed());
    // What the old one still sends is not taken.
    bob.push("alice", "from the old one").await;
    for out in bob.seal("alice").await {
        alice.open("bob", &out.envelope).await;
    }
    assert!(alice.inbox().is_empty());
    let renewal = bob.renew("alice").await;
    alice.answers(&bob, &renewal).await;
    assert!(!alice.contact("bob").1.is_key_changed());
    assert_eq!(told(&alice), 1);
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
    let draft = draft("bob", None, "for the old one");
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
