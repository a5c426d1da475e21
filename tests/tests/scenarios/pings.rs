//! Somebody looks whether another daemon is there, and which way leads to it.

use std::sync::Arc;

use ams_rpc::Exit;
use ams_rpc::client::CallError;
use ams_rpc::methods::{contact, peer};
use ams_rpc::types::{
    ContactParams, ContactPingParams, ContactPinged, LinkState, PeerParams, Period, Presence,
};
use ams_tests::person::Person;
use ams_tests::{Net, PATIENCE};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::direct::{both_ways, both_ways_by_a_line};

/// `amsctl ping NAME`, by somebody who has time.
async fn ping(person: &Person, name: &str) -> Result<ContactPinged, CallError> {
    let timeout = Some(Period(PATIENCE));
    let params = ContactPingParams { name: name.to_owned(), timeout, hurry_direct: None };
    person.try_call::<contact::Ping>(params).await
}

async fn ping_for(person: &Person, name: &str, timeout: &str) -> ContactPinged {
    let timeout = Some(timeout.parse().unwrap());
    let params = ContactPingParams { name: name.to_owned(), timeout, hurry_direct: None };
    person.call::<contact::Ping>(params).await
}

fn pinging(person: &Arc<Person>, name: &'static str) -> JoinHandle<ContactPinged> {
    let person = Arc::clone(person);
    tokio::spawn(async move { ping(&person, name).await.unwrap() })
}

async fn refused(person: &Person, name: &str) -> u8 {
    ping(person, name).await.unwrap_err().exit()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_answers_through_the_relay_and_its_user_sees_nothing() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    let answered = ping(&alice, "bob").await.unwrap();
    assert_eq!(answered.via.as_deref(), Some("relay:home"));
    assert_eq!((answered.name.as_str(), answered.exit), ("bob", Exit::Done.code()));
    assert!(answered.microseconds.is_some_and(|took| took > 0));
    alice.delivers("bob", "the only message").await;
    bob.reads(&["the only message"]).await;
    assert_eq!(bob.unread().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ping_takes_the_way_that_messages_take() {
    let net = Net::new().await;
    let (alice, bob) = both_ways(&net).await;
    let via = |answered: ContactPinged| answered.via.unwrap();
    assert_eq!(via(ping(&alice, "bob").await.unwrap()), "direct");
    assert_eq!(via(ping(&bob, "alice").await.unwrap()), "direct");
    alice.call::<peer::Disconnect>(PeerParams { name: "bob".to_owned() }).await;
    bob.peer_is("alice", LinkState::Down).await;
    alice.sees("bob", Presence::Online).await;
    assert_eq!(via(ping(&alice, "bob").await.unwrap()), "relay:home");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_pinged_is_told_by_the_exit_code() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    net.person("carol").await;
    alice.add("carol").await;
    assert_eq!(refused(&alice, "nobody").await, Exit::NotFound.code());
    assert_eq!(refused(&alice, "carol").await, Exit::Refused.code());

    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    assert_eq!(refused(&alice, "bob").await, Exit::NotReachable.code());
    alice.line(net.home()).await.cut();
    alice.link_is(net.home(), LinkState::Down).await;
    assert_eq!(refused(&alice, "bob").await, Exit::NotReachable.code());

    alice.call::<contact::Block>(ContactParams { name: "bob".to_owned() }).await;
    assert_eq!(refused(&alice, "bob").await, Exit::Refused.code());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_in_time_is_a_result() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    bob.line(net.home()).await.stall();
    let waited = ping_for(&alice, "bob", "50ms").await;
    assert_eq!((waited.via, waited.microseconds), (None, None));
    assert_eq!(waited.exit, Exit::NothingCame.code());
}

/// Two rounds: what a ping's answer was written before has come by then.
async fn what_came_before_is_through(alice: &Person) {
    alice.delivers("bob", "one").await;
    alice.delivers("bob", "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_visible_is_not_found_out_by_a_ping() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let alice = Arc::new(alice);
    let carol = net.person("carol").await;
    carol.meet(&bob).await;
    carol.sees("bob", Presence::Online).await;
    alice.sees("bob", Presence::Online).await;
    assert_eq!(pinging(&alice, "bob").await.unwrap().exit, 0, "while he is visible");

    // Alice does not hear yet that he is gone, and asks all the same.
    let line = alice.line(net.home()).await;
    line.stall();
    bob.reconfigure(|settings| settings.visible = false).await;
    carol.sees("bob", Presence::Offline).await;
    let asks = Arc::clone(&alice);
    let asked = tokio::spawn(async move { ping(&asks, "bob").await });
    // So long that the first one is on its way, too.
    assert_eq!(ping_for(&alice, "bob", "50ms").await.exit, Exit::NothingCame.code());
    line.mend();
    what_came_before_is_through(&alice).await;
    if asked.is_finished() {
        // It was late, and alice had heard.
        assert_eq!(asked.await.unwrap().unwrap_err().exit(), Exit::NotReachable.code());
    } else {
        asked.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_answered_in_bounds() {
    let net = Net::new().await;
    let (alice, _bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    let alice = Arc::new(alice);
    let mut asked = JoinSet::new();
    for _ in 0..50 {
        let asking = pinging(&alice, "bob");
        asked.spawn(async move { asking.await.unwrap() });
    }
    assert_eq!(asked.join_next().await.unwrap().unwrap().exit, 0);
    what_came_before_is_through(&alice).await;
    let mut answered = 1;
    while let Some(one) = asked.try_join_next() {
        assert_eq!(one.unwrap().exit, 0);
        answered += 1;
    }
    assert!((1..50).contains(&answered), "{answered}");
    asked.abort_all();
}

/// The pause before the next dialling doubles with each failure; who asks for a direct answer does
/// not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_a_direct_answer_has_the_contact_dialled_at_once() {
    let net = Net::new().await;
    let (alice, bob, door) = both_ways_by_a_line(&net).await;
    let hurried = async || {
        let timeout = Some("1s".parse().unwrap());
        let params =
            ContactPingParams { name: "bob".to_owned(), timeout, hurry_direct: Some(true) };
        alice.call::<contact::Ping>(params).await.via
    };
    door.cut();
    alice.peer_is("bob", LinkState::Down).await;
    bob.peer_is("alice", LinkState::Down).await;
    // By the pauses alone so many would take longer than a test waits for anything.
    let often = door.visitors().len() + 10;
    let dialled = async {
        while door.visitors().len() < often {
            assert_ne!(hurried().await.as_deref(), Some("direct"));
        }
    };
    timeout(PATIENCE, dialled).await.expect("he is dialled after the pauses only");

    door.mend();
    let answered = async { while hurried().await.as_deref() != Some("direct") {} };
    timeout(PATIENCE, answered).await.expect("he is dialled after the pause only");
}
