//! Requests, answers, presence.

use std::sync::Arc;

use ams_crypto::dh::DhSecret;
use ams_crypto::introduction;
use ams_crypto::opaque::RelayAccounts;
use ams_wire::from_relay::{FromRelay, Outcome, RowState};
use ams_wire::to_relay::{Approve, Ask, ToRelay};

use super::client::{Client, alice_and_bob, blob, config, handle, name, routing};
use super::leaking::{LOST, Leak, Leaking};
use crate::accounts::store::Store;
use crate::data::Keys;
use crate::relay::start_on;

const OK: FromRelay<'static> = FromRelay::Done(Outcome::Ok);
const TICK: std::time::Duration = std::time::Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_somebody_who_is_not_there_yet() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, alice_key) = Client::person(&relay, "alice").await;
    assert_eq!(alice.ask(handle(1), "bob", "intro").await, OK);
    // The same again changes nothing.
    assert_eq!(alice.ask(handle(1), "bob", "intro").await, OK);
    assert_eq!(alice.ask(handle(1), "carol", "intro").await, FromRelay::Done(Outcome::Refused));
    let invite = relay.invite("bob").await.unwrap();
    let key = ams_crypto::dh::DhSecret::generate();
    let mut bob = Client::dial(&relay, &key).await;
    bob.hello().await;
    assert_eq!(bob.join(&invite, super::client::PASSWORD).await, FromRelay::Enrolled);
    let shown = bob.attach().await;
    assert_eq!(shown.requests.len(), 1);
    assert_eq!(shown.requests[0].from, name("alice"));
    assert_eq!(shown.requests[0].their_handle, handle(1));
    drop(alice);
    assert_eq!(bob.approve("alice", handle(1), handle(2), "yes").await, OK);
    let (_alice, shown) = Client::again(&relay, &alice_key).await;
    assert_eq!(shown.rows.len(), 1);
    assert_eq!(shown.rows[0].state, RowState::Accepted);
    assert_eq!(shown.rows[0].approval, Some(blob("yes")));
    assert_eq!(shown.online, [handle(1)]);
}

#[tokio::test(start_paused = true)]
async fn crossing_requests_are_both_answered() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    let (mut bob, _) = Client::person(&relay, "bob").await;
    assert_eq!(alice.ask(handle(1), "bob", "from alice").await, OK);
    assert!(matches!(bob.answer().await, FromRelay::Request(_)));
    assert_eq!(bob.ask(handle(2), "alice", "from bob").await, OK);
    assert!(matches!(alice.answer().await, FromRelay::Request(_)));
    assert_eq!(bob.approve("alice", handle(1), handle(2), "bob says yes").await, OK);
    let FromRelay::Row(row) = alice.answer().await else { panic!("no row") };
    assert_eq!(row.approval, Some(blob("bob says yes")));
    // Bob's own question is still open, and answered now.
    assert_eq!(alice.approve("bob", handle(2), handle(1), "alice says yes").await, OK);
    let FromRelay::Row(row) = bob.answer().await else { panic!("no row") };
    assert_eq!(row.approval, Some(blob("alice says yes")));
    alice.send(handle(1), 1).await;
    assert_eq!(bob.delivered().await, (handle(2), 1));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_seen() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, alice_key) = Client::person(&relay, "alice").await;
    let (mut bob, bob_key) = Client::person(&relay, "bob").await;
    assert_eq!(alice.ask(handle(1), "bob", "intro").await, OK);
    assert!(matches!(bob.answer().await, FromRelay::Request(_)));
    assert_eq!(bob.refuse("alice", handle(1)).await, OK);
    let (_, shown) = Client::again(&relay, &alice_key).await;
    assert_eq!(shown.rows[0].state, RowState::Asked);
    let (mut bob, shown) = Client::again(&relay, &bob_key).await;
    assert!(shown.requests.is_empty());
    // Too late to accept.
    assert_eq!(bob.approve("alice", handle(1), handle(2), "yes").await, OK);
    let (_, shown) = Client::again(&relay, &alice_key).await;
    assert_eq!(shown.rows[0].state, RowState::Asked);
    assert!(shown.rows[0].approval.is_none());
}

#[tokio::test(start_paused = true)]
async fn blocking_and_removing_look_like_being_offline() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    bob.say(&ToRelay::Block(handle(2))).await;
    assert_eq!(bob.answer().await, OK);
    assert_eq!(alice.presence().await.offline, [handle(1)]);
    alice.send(handle(1), 1).await;
    alice.settled().await;
    bob.settled().await;
    // What was held for him comes when he lets it.
    bob.say(&ToRelay::Unblock(handle(2))).await;
    assert_eq!(bob.answer().await, OK);
    assert_eq!(bob.delivered().await, (handle(2), 1));
    assert_eq!(alice.presence().await.online, [handle(1)]);
    bob.say(&ToRelay::Remove(handle(2))).await;
    assert_eq!(bob.answer().await, OK);
    assert_eq!(alice.presence().await.offline, [handle(1)]);
    let (_, shown) = Client::again(&relay, &bob_key).await;
    assert!(shown.rows.is_empty() && shown.online.is_empty());
}

/// Whoever blocked did not listen, and is shown again what was asked meanwhile.
#[tokio::test(start_paused = true)]
async fn what_was_asked_of_somebody_who_blocked_is_shown_again() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, _)) = alice_and_bob(&relay).await;
    bob.say(&ToRelay::Block(handle(2))).await;
    assert_eq!(bob.answer().await, OK);
    bob.settled().await;
    assert_eq!(alice.ask(handle(1), "bob", "renewed").await, OK);
    let first = bob.answer().await;
    assert!(matches!(first, FromRelay::Request(_)), "{first:?}");
    bob.say(&ToRelay::Unblock(handle(2))).await;
    assert_eq!(bob.answer().await, OK);
    assert_eq!(bob.answer().await, first);
}

#[tokio::test(start_paused = true)]
async fn presence_is_shown_to_contacts_who_may_see_it() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    bob.say(&ToRelay::SetPresence(false)).await;
    assert_eq!(bob.answer().await, OK);
    assert_eq!(alice.presence().await.offline, [handle(1)]);
    // He still sees her, and gets what she sends.
    alice.send(handle(1), 5).await;
    assert_eq!(bob.delivered().await, (handle(2), 5));
    bob.say(&ToRelay::SetPresence(true)).await;
    assert_eq!(bob.answer().await, OK);
    assert_eq!(alice.presence().await.online, [handle(1)]);
    drop(bob);
    assert_eq!(alice.presence().await.offline, [handle(1)]);
    let (_bob, shown) = Client::again(&relay, &bob_key).await;
    assert_eq!(shown.online, [handle(2)]);
    assert_eq!(alice.presence().await.online, [handle(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_shown_and_answered_on_the_row() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, alice_key), (mut bob, _)) = alice_and_bob(&relay).await;
    assert_eq!(alice.ask(handle(1), "bob", "again").await, OK);
    let FromRelay::Request(request) = bob.answer().await else { panic!("no request") };
    assert_eq!(request.intro, blob("again"));
    // Traffic goes on meanwhile.
    alice.send(handle(1), 1).await;
    assert_eq!(bob.delivered().await, (handle(2), 1));
    assert_eq!(bob.approve("alice", handle(1), handle(2), "again yes").await, OK);
    let FromRelay::Row(row) = alice.answer().await else { panic!("no row") };
    assert_eq!(row.approval, Some(blob("again yes")));
    // A few in a row, as after a login.
    for number in 2..5 {
        assert_eq!(alice.ask(handle(1), "bob", &format!("again {number}")).await, OK);
    }
    assert_eq!(alice.ask(handle(1), "bob", "too soon").await, FromRelay::Done(Outcome::Limited));
    // Also on a new link.
    let (mut alice, _) = Client::again(&relay, &alice_key).await;
    assert_eq!(alice.ask(handle(1), "bob", "too soon").await, FromRelay::Done(Outcome::Limited));
    drop(alice);
    tokio::time::sleep(std::time::Duration::from_secs(15 * 60)).await;
    let (mut alice, _) = Client::again(&relay, &alice_key).await;
    assert_eq!(alice.ask(handle(1), "bob", "now").await, OK);
}

/// What the disk did not take ends the link, is said again on the next one, and was not counted: a
/// renewal that failed must not wait for a quarter of an hour.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_does_not_count() {
    let accounts = Leaking { store: Store::in_memory().unwrap(), leak: Leak::Disk };
    let opaque = RelayAccounts::generate().unwrap();
    let keys = Keys { link: DhSecret::generate(), opaque };
    let relay = start_on(config(), Arc::new(accounts), keys).await.unwrap();
    let ((mut alice, alice_key), (mut bob, bob_key)) = alice_and_bob(&relay).await;

    let intro = blob(LOST);
    alice.say(&ToRelay::Ask(Ask { handle: handle(1), to: name("bob"), intro })).await;
    alice.until_over().await;
    let (mut alice, _) = Client::again(&relay, &alice_key).await;
    for number in 0..4 {
        assert_eq!(alice.ask(handle(1), "bob", &format!("renewed {number}")).await, OK);
    }
    assert_eq!(alice.ask(handle(1), "bob", "more").await, FromRelay::Done(Outcome::Limited));

    // More answers than there may be in a row.
    for _ in 0..8 {
        let (to, approval) = (name("alice"), blob(LOST));
        let (their_handle, handle) = (handle(1), handle(2));
        let intro = introduction::id(b"intro");
        let approve = Approve { to, their_handle, handle, approval, by: None, intro };
        bob.say(&ToRelay::Approve(approve)).await;
        bob.until_over().await;
        bob = Client::again(&relay, &bob_key).await.0;
    }
    assert_eq!(bob.approve("alice", handle(1), handle(2), "yes").await, OK);
}

#[tokio::test(start_paused = true)]
async fn who_changes_their_mind_is_shown_once_a_tick() {
    let mut config = config();
    config.limits.presence_tick = TICK;
    let relay = crate::start(config).await.unwrap();
    let ((mut alice, _), (mut bob, _)) = alice_and_bob(&relay).await;
    let since = tokio::time::Instant::now();
    for number in 0..101 {
        bob.say(&ToRelay::SetPresence(number % 2 > 0)).await;
        assert_eq!(bob.answer().await, OK);
    }
    assert_eq!(alice.presence().await.offline, [handle(1)]);
    assert!(since.elapsed() <= 2 * TICK, "{:?}", since.elapsed());
    // What counts is what he said last, and nothing in between is told.
    bob.say(&ToRelay::SetPresence(true)).await;
    assert_eq!(bob.answer().await, OK);
    assert_eq!(alice.presence().await.online, [handle(1)]);
    let quiet = tokio::time::timeout(4 * TICK, alice.presence()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn asking_has_its_limits() {
    let mut config = config();
    config.limits.asks_pending = 3;
    config.limits.asks_per_day = 4;
    let relay = crate::start(config).await.unwrap();
    let (mut alice, key) = Client::person(&relay, "alice").await;
    for number in 1..=3 {
        assert_eq!(alice.ask(handle(number), &format!("user{number}"), "intro").await, OK);
    }
    let limited = FromRelay::Done(Outcome::Limited);
    // The same again is no other question.
    assert_eq!(alice.ask(handle(1), "user1", "intro").await, OK);
    assert_eq!(alice.ask(handle(4), "user4", "intro").await, limited);
    alice.say(&ToRelay::Remove(handle(1))).await;
    assert_eq!(alice.answer().await, OK);
    assert_eq!(alice.ask(handle(4), "user4", "intro").await, OK);
    // Four a day.
    alice.say(&ToRelay::Remove(handle(2))).await;
    assert_eq!(alice.answer().await, OK);
    assert_eq!(alice.ask(handle(5), "user5", "intro").await, limited);
    drop(alice);
    tokio::time::sleep(std::time::Duration::from_secs(6 * 3600)).await;
    let (mut alice, _) = Client::again(&relay, &key).await;
    assert_eq!(alice.ask(handle(5), "user5", "intro").await, OK);
    assert_eq!(alice.ask(handle(6), "user6", "intro").await, limited);
}

#[tokio::test(start_paused = true)]
async fn approvals_of_one_contact_have_a_limit() {
    let relay = crate::start(config()).await.unwrap();
    let ((alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    let mut answers = Vec::new();
    // Whichever row of his he says it on.
    for number in 2..12 {
        answers.push(bob.approve("alice", handle(1), handle(number), "again").await);
    }
    let limited = FromRelay::Done(Outcome::Limited);
    assert_eq!(answers.iter().filter(|answer| **answer == OK).count(), 5);
    assert!(answers.ends_with(&[limited.clone(), limited]));
    drop((alice, bob));
    tokio::time::sleep(std::time::Duration::from_secs(15 * 60)).await;
    let (mut bob, _) = Client::again(&relay, &bob_key).await;
    assert_eq!(bob.approve("alice", handle(1), handle(2), "again").await, OK);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_on_a_link_is_shown_who_redeems_it() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, alice_key) = Client::person(&relay, "alice").await;
    let (mut bob, bob_key) = Client::person(&relay, "bob").await;
    // While he is away, and while he is there.
    drop(bob);
    assert_eq!(alice.redeem(handle(1), routing(1), "sealed").await, OK);
    assert_eq!(
        alice.redeem(handle(1), routing(2), "sealed").await,
        FromRelay::Done(Outcome::Refused)
    );
    let (again, shown) = Client::again(&relay, &bob_key).await;
    bob = again;
    assert!(shown.requests.is_empty());
    bob.waits_on(&[routing(1), routing(2)]).await;
    let FromRelay::Redeemed(first) = bob.answer().await else { panic!("nothing is shown") };
    assert_eq!((first.from, first.by, first.intro), (name("alice"), routing(1), blob("sealed")));
    assert_eq!(alice.redeem(handle(3), routing(2), "sealed 2").await, OK);
    let FromRelay::Redeemed(second) = bob.answer().await else { panic!("nothing is shown") };
    assert_eq!((second.their_handle, second.by), (handle(3), routing(2)));
    let approve = Approve {
        to: name("alice"),
        their_handle: handle(1),
        handle: handle(2),
        approval: blob("yes"),
        by: Some(routing(1)),
        intro: introduction::id(b"sealed"),
    };
    bob.say(&ToRelay::Approve(approve)).await;
    assert_eq!(bob.answer().await, OK);
    let FromRelay::Row(row) = alice.answer().await else { panic!("no row") };
    assert_eq!(
        (row.peer, row.state, row.approval),
        (name("bob"), RowState::Accepted, Some(blob("yes")))
    );
    alice.send(handle(1), 1).await;
    assert_eq!(bob.delivered().await, (handle(2), 1));
    // On none any more: nobody is told of it.
    bob.waits_on(&[]).await;
    drop(alice);
    let (_alice, shown) = Client::again(&relay, &alice_key).await;
    assert_eq!(shown.rows.len(), 2);
}
