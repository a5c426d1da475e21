//! What is said of a way that is not up, or that nothing goes.

use ams_rpc::methods::peer;
use ams_rpc::types::{
    LinkState, NoParams, PathState, PeerConnectParams, PeerInfo, PeerParams, Presence,
};
use ams_tests::Net;
use ams_tests::connection::failure;
use ams_tests::person::Person;
use ams_wire::address::{HostPort, Link, PeerLink};

use crate::direct::by_rule;

const AWAY: &str = "the contact is not online there";

/// To connect a contact by its name alone.
fn again() -> PeerConnectParams {
    PeerConnectParams {
        address: "bob".to_owned(),
        local: None,
        fingerprint: None,
        accept_new: None,
    }
}

/// Why Bob cannot be connected.
async fn is_not_reached(alice: &Person) -> String {
    let failed = failure(alice.try_call::<peer::Connect>(again()).await);
    let data = failed.data.as_ref().unwrap();
    assert_eq!((data.kind.as_str(), data.exit), ("not_reachable", 3), "{}", failed.message);
    failed.message
}

async fn listed(alice: &Person) -> PeerInfo {
    alice.call::<peer::List>(NoParams {}).await.peers.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connecting_a_contact_by_name_says_how_the_try_ended() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    bob.stop().await;
    alice.peer_is("bob", LinkState::Down).await;
    let why = is_not_reached(&alice).await;
    assert!(why.contains("bob is not connected: connection refused"), "{why}");

    bob.start().await;
    let up = alice.call::<peer::Connect>(again()).await;
    assert_eq!((up.state, up.reason), (LinkState::Up, None));
    // Where it is up, and where only the other side can dial, there is nothing to wait for.
    assert_eq!(alice.call::<peer::Connect>(again()).await.state, LinkState::Up);
    let name = alice.stranger_name().await;
    alice.stop().await;
    bob.peer_is(&name, LinkState::Down).await;
    let waits = bob.call::<peer::Connect>(PeerConnectParams { address: name, ..again() }).await;
    assert_ne!(waits.state, LinkState::Up);
}

/// The last one that failed is not the one to look at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_addresses_the_one_that_answered_is_named() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    let door = net.door(&bob).await;
    let link = Link::parse_peer(&bob.peer_link().await).unwrap();
    let link = Link::Peer(PeerLink { at: HostPort::from_socket(door.at()), ..link });
    alice.connect(&link.to_string(), "bob").await.unwrap();
    assert_eq!(listed(&alice).await.address, door.at().to_string());
    door.cut();
    bob.stop().await;
    alice.peer_is("bob", LinkState::Down).await;
    let why = is_not_reached(&alice).await;
    assert!(why.contains(&format!("not connected: {}: ", door.at())), "{why}");
    assert!(!why.contains("refused"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_where_the_contact_is_not_online_says_so() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let path = async |presence| {
        alice.sees("bob", presence).await;
        let path = alice.contact("bob").await.paths.remove(0);
        assert_eq!(path.state, PathState::Up);
        path.reason
    };
    assert_eq!(path(Presence::Online).await, None);
    bob.stop().await;
    assert_eq!(path(Presence::Offline).await.as_deref(), Some(AWAY));
    bob.start().await;
    assert_eq!(path(Presence::Online).await, None);
}

/// Bob's new device answers nothing before its key is trusted, so no number can be compared first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_key_is_named_and_its_fingerprint_comes_first() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    let place = bob.listening().await;
    bob.stop().await;
    alice.peer_is("bob", LinkState::Down).await;
    let anew = net.listener_at("anew", place, |_| ()).await;
    let shown = anew.status().await.fingerprint;
    let mut hints = Vec::new();
    for address in [place.to_string(), "bob".to_owned()] {
        let params = PeerConnectParams { address, ..again() };
        let failed = failure(alice.try_call::<peer::Connect>(params).await);
        let data = failed.data.unwrap();
        assert_eq!((data.kind.as_str(), data.exit), ("key_changed", 4), "{}", failed.message);
        hints.push((data.hint, shown.as_str()));
    }
    hints.push((alice.status().await.warnings.join("\n"), "FINGERPRINT"));
    for (said, key) in &hints {
        let trust = said.find(&format!("amsctl contact trust bob {key}"));
        assert!(said.contains("ask for the fingerprint that amsctl id shows there"), "{said}");
        assert!(trust.is_some() && trust < said.find("amsctl contact verify bob"), "{said}");
    }
    anew.stop().await;
    let why = listed(&alice).await.reason.unwrap();
    assert!(why.contains("another key was shown"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_peer_is_so_since_a_time() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    alice.call::<peer::Disconnect>(PeerParams { name: "bob".to_owned() }).await;
    bob.peer_is(&alice.stranger_name().await, LinkState::Down).await;
    let listed = alice
        .until("it has ended here too", |amsd| {
            let listed = amsd.call::<peer::List>(&NoParams {}).unwrap().peers.remove(0);
            listed.since.is_some().then_some(listed)
        })
        .await;
    assert_eq!(listed.reason.as_deref(), Some("disconnected"));
    assert_eq!(alice.contact("bob").await.paths[0].since, listed.since);
}
