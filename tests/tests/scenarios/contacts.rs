//! How people become contacts, and how they cease to be.

use std::time::Duration;

use ams_rpc::methods::contact;
use ams_rpc::types::{
    Contact, ContactAcceptParams, ContactParams, ContactRenameParams, ContactState,
    ContactVerifyParams, NoParams, Presence, SendParams, Stage, State, VerifiedBy,
};
use ams_tests::Net;
use ams_tests::connection::{failure, refusal};
use amsd::settings::Requests;

fn named(name: &str) -> ContactParams {
    ContactParams { name: name.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_written_to_before_they_accepted() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    assert_eq!(refusal(alice.try_send(SendParams::new("bob", "hi")).await), "no_such_contact");
    alice.add("bob").await;
    let refused = failure(alice.try_send(SendParams::new("bob", "hi")).await);
    assert_eq!(refused.data.as_ref().unwrap().kind, "not_approved");
    assert_eq!(refused.exit(), 6);
    assert!(alice.queue().await.is_empty());

    bob.is_asked_by("alice").await;
    let asked = bob.call::<contact::Requests>(NoParams {}).await.incoming;
    let fingerprint = alice.status().await.fingerprint;
    assert_eq!((asked[0].from.as_str(), asked[0].again), ("alice@home", false));
    assert_eq!(asked[0].fingerprint, fingerprint);
    let outgoing = alice.call::<contact::Requests>(NoParams {}).await.outgoing;
    assert_eq!((outgoing.len(), outgoing[0].to.as_str()), (1, "bob@home"));

    bob.accept("alice").await;
    alice.contact_is("bob", ContactState::Active).await;
    alice.delivers("bob", "hi").await;
    let alice_shown =
        bob.contact_shows("alice", "active", |c| c.state == ContactState::Active).await;
    assert_eq!(alice_shown.fingerprint.as_deref(), Some(fingerprint.as_str()));
    assert!(alice.call::<contact::Requests>(NoParams {}).await.outgoing.is_empty());
    assert!(bob.call::<contact::Requests>(NoParams {}).await.incoming.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_each_other_need_not_accept() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    tokio::join!(alice.add("bob"), bob.add("alice"));
    alice.contact_is("bob", ContactState::Active).await;
    bob.contact_is("alice", ContactState::Active).await;
    for (from, to) in [(&alice, &bob), (&bob, &alice), (&alice, &bob)] {
        from.delivers(to.name(), "hi").await;
        to.reads(&["hi"]).await;
    }
    assert_eq!(alice.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_again_and_restarting_changes_nothing() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    alice.add("bob").await;
    bob.is_asked_by("alice").await;
    alice.add("bob").await;
    alice.restart().await;
    bob.restart().await;
    assert_eq!(bob.call::<contact::Requests>(NoParams {}).await.incoming.len(), 1);
    bob.accept("alice").await;
    alice.contact_is("bob", ContactState::Active).await;
    alice.delivers("bob", "hi").await;
}

/// Asked while bob is away, accepted while alice is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_meet_who_are_never_there_together_before() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    bob.stop().await;
    alice.add("bob").await;
    // The relay has it when it answered something later.
    let carol = net.person("carol").await;
    alice.meet(&carol).await;
    alice.stop().await;
    bob.start().await;
    bob.accept("alice").await;
    bob.meet(&carol).await;
    bob.stop().await;
    alice.start().await;
    alice.contact_is("bob", ContactState::Active).await;
    let id = alice.send("bob", "hi").await;
    bob.start().await;
    alice.reaches(id, Stage::Delivered).await;
    bob.reads(&["hi"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_may_be_let_in_and_nobody() {
    let net = Net::new().await;
    let alice = net.person("alice").await;
    let open = net.person_with("open", |to| to.requests = Requests::Accept).await;
    let closed = net.person_with("closed", |to| to.requests = Requests::Deny).await;
    alice.add("closed").await;
    alice.add("open").await;
    alice.contact_is("open", ContactState::Active).await;
    alice.delivers("open", "hi").await;
    open.reads(&["hi"]).await;
    assert_eq!(alice.contact("closed").await.state, ContactState::Pending);
    assert!(closed.call::<contact::Requests>(NoParams {}).await.incoming.is_empty());
}

/// What is left of a contact when everything that tells two people apart is taken away.
fn featureless(mut contact: Contact) -> Contact {
    contact.id = String::new();
    contact.name = String::new();
    contact.address = None;
    contact
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_looks_like_somebody_who_does_not_exist() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    alice.add("bob").await;
    alice.add("nobody").await;
    bob.is_asked_by("alice").await;
    bob.call::<contact::Reject>(named("alice")).await;
    // Whatever would be told of it is told before what comes later.
    let carol = net.person("carol").await;
    bob.meet(&carol).await;
    alice.meet(&carol).await;
    alice.restart().await;
    alice.sees("carol", Presence::Online).await;
    let (bob_shown, nobody) = (alice.contact("bob").await, alice.contact("nobody").await);
    assert_eq!(bob_shown.state, ContactState::Pending);
    assert_eq!(featureless(bob_shown), featureless(nobody));
    assert!(bob.call::<contact::Requests>(NoParams {}).await.incoming.is_empty());
    assert_eq!(refusal(bob.try_call::<contact::Reject>(named("alice")).await), "no_such_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_blocked_sees_somebody_offline() {
    let net = Net::with(|config| config.retry_window = Duration::from_secs(1)).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    let blocked = bob.call::<contact::Block>(named("alice")).await;
    assert_eq!(blocked.state, ContactState::Blocked);
    alice.sees("bob", Presence::Offline).await;
    let id = alice.send("bob", "do you hear me").await;
    alice.message_is(id, State::Undelivered).await;
    assert_eq!(alice.contact("bob").await.state, ContactState::Active);
    assert_eq!(refusal(bob.try_send(SendParams::new("alice", "no")).await), "blocked");
    assert!(bob.reader("default").await.takes_all().await.is_empty());

    bob.call::<contact::Unblock>(named("alice")).await;
    alice.sees("bob", Presence::Online).await;
    alice.delivers("bob", "and now").await;
    bob.reads(&["and now"]).await;
    bob.delivers("alice", "yes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_removed_sees_somebody_offline_and_may_ask_again() {
    let net = Net::with(|config| config.retry_window = Duration::from_secs(1)).await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    bob.call::<contact::Remove>(named("alice")).await;
    alice.sees("bob", Presence::Offline).await;
    let id = alice.send("bob", "are you there").await;
    alice.message_is(id, State::Undelivered).await;
    assert!(bob.call::<contact::List>(NoParams {}).await.contacts.is_empty());
    assert_eq!(refusal(bob.try_send(SendParams::new("alice", "no")).await), "no_such_contact");

    alice.add("bob").await;
    bob.accept("alice").await;
    alice.sees("bob", Presence::Online).await;
    alice.delivers("bob", "again").await;
    bob.reads(&["again"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_only_for_whoever_gave_it() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let before = alice.contact("bob").await;
    let rename = |name: &str, new: &str| ContactRenameParams { name: name.into(), new: new.into() };
    alice.call::<contact::Rename>(rename("bob", "robert")).await;
    let after = alice.contact("robert").await;
    assert_eq!((&after.id, &after.address), (&before.id, &before.address));
    assert_eq!(refusal(alice.try_send(SendParams::new("bob", "hi")).await), "no_such_contact");
    alice.delivers("robert", "hi").await;
    bob.reads(&["hi"]).await;
    bob.delivers("alice", "hello").await;
    assert_eq!(alice.receives(1).await[0].from, "robert");

    let carol = net.person("carol").await;
    alice.meet(&carol).await;
    let taken = alice.try_call::<contact::Rename>(rename("carol", "robert")).await;
    assert_eq!(refusal(taken), "name_taken");
    let reserved = alice.try_call::<contact::Rename>(rename("carol", "me")).await;
    assert_eq!(failure(reserved).exit(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_chosen_when_asking_and_when_accepting() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    alice.add_address("bob@home", Some("robert")).await.unwrap();
    bob.is_asked_by("alice").await;
    let accept = ContactAcceptParams { name: "alice".into(), local: Some("alicia".into()) };
    bob.call::<contact::Accept>(accept).await;
    alice.contact_is("robert", ContactState::Active).await;
    alice.delivers("robert", "hi").await;
    assert_eq!(bob.receives(1).await[0].from, "alicia");
    bob.delivers("alicia", "hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_compare_their_safety_number() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let verify = |name: &str, confirm: Option<String>| ContactVerifyParams {
        name: name.to_owned(),
        confirm,
    };
    let at_alice = alice.call::<contact::Verify>(verify("bob", None)).await;
    let at_bob = bob.call::<contact::Verify>(verify("alice", None)).await;
    assert_eq!(at_alice.safety_number, at_bob.safety_number);
    assert!(!at_alice.verified && !at_bob.verified);

    let wrong = if at_bob.safety_number.starts_with('1') { "2" } else { "1" };
    let wrong = wrong.to_owned() + &at_bob.safety_number[1..];
    let refused = failure(alice.try_call::<contact::Verify>(verify("bob", Some(wrong))).await);
    assert_eq!(refused.data.as_ref().unwrap().kind, "number_mismatch");
    assert_eq!(refused.exit(), 4);
    assert!(!alice.contact("bob").await.verified);

    let right = Some(at_bob.safety_number);
    let verified = alice.call::<contact::Verify>(verify("bob", right)).await;
    assert_eq!((verified.verified, verified.verified_by), (true, Some(VerifiedBy::Number)));
    bob.delivers("alice", "it is me").await;
    assert!(alice.receives(1).await[0].verified);
    // Bob did not compare anything.
    alice.delivers("bob", "it is me, too").await;
    assert!(!bob.receives(1).await[0].verified);
    alice.restart().await;
    assert!(alice.contact("bob").await.verified);
}

/// The relay is told of it before anything goes there: otherwise it would hold what comes for nobody,
/// for as long as it tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_right_after_an_unblock_arrives_at_once() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    for _ in 0..10 {
        alice.call::<contact::Block>(named("bob")).await;
        alice.call::<contact::Unblock>(named("bob")).await;
        alice.delivers("bob", "here again").await;
        bob.reads(&["here again"]).await;
    }
}
