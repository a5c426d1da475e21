//! Who sees whom online.

use ams_rpc::methods::presence;
use ams_rpc::types::{ContactState, Presence, PresenceParams, Visibility};
use ams_tests::Net;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_see_each_other_come_and_go() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    bob.sees("alice", Presence::Online).await;
    bob.stop().await;
    alice.sees("bob", Presence::Offline).await;
    bob.start().await;
    alice.sees("bob", Presence::Online).await;
    bob.sees("alice", Presence::Online).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_not_approved_sees_nobody() {
    let net = Net::new().await;
    let (alice, bob) = (net.person("alice").await, net.person("bob").await);
    alice.add("bob").await;
    bob.is_asked_by("alice").await;
    // Online as far as the relay can say: it said so to carol.
    let carol = net.person("carol").await;
    carol.meet(&bob).await;
    carol.sees("bob", Presence::Online).await;
    carol.meet(&alice).await;
    carol.sees("alice", Presence::Online).await;
    let bob_shown = alice.contact("bob").await;
    assert_eq!(bob_shown.state, ContactState::Pending);
    assert_ne!(bob_shown.presence, Presence::Online);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_invisible_is_not_seen_and_still_reached() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    let hide = PresenceParams { presence: Visibility::Invisible };
    bob.call::<presence::Set>(hide).await;
    alice.sees("bob", Presence::Offline).await;
    alice.delivers("bob", "I know that you are there").await;
    bob.restart().await;
    alice.delivers("bob", "still").await;
    assert_eq!(alice.contact("bob").await.presence, Presence::Offline);
    bob.call::<presence::Set>(PresenceParams { presence: Visibility::Visible }).await;
    alice.sees("bob", Presence::Online).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_known_of_anybody_while_the_relay_is_away() {
    let net = Net::new().await;
    let (alice, _bob) = net.friends("alice", "bob").await;
    alice.sees("bob", Presence::Online).await;
    net.home().stop().await;
    alice.sees("bob", Presence::Unknown).await;
    net.home().start().await;
    alice.sees("bob", Presence::Online).await;
}
