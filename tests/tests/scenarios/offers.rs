//! Friends of a relay who go on without it.

use std::net::SocketAddr;

use ams_rpc::methods::{contact, identity, peer};
use ams_rpc::types::{
    ContactState, ContactTrustParams, LinkState, NoParams, PathKind, PathState, PeerConnectParams,
    PeerParams, SendParams, Stage, State, Via,
};
use ams_tests::Net;
use ams_tests::person::Person;
use ams_wire::address::{DIRECT_PORT, HostPort};
use amsd::settings::{Direct, Settings};

use crate::take_over;

fn open(settings: &mut Settings) {
    settings.direct = Direct::Contacts;
}

/// Two people who listen, are on the relay `home`, and know each other from there.
async fn friends(
    net: &Net,
    alices: impl FnOnce(&mut Settings),
    bobs: impl FnOnce(&mut Settings),
) -> (Person, Person) {
    let (alice, bob) = (net.listener("alice", alices).await, net.listener("bob", bobs).await);
    alice.join(net.home()).await;
    bob.join(net.home()).await;
    alice.meet(&bob).await;
    (alice, bob)
}

async fn are_direct(alice: &Person, bob: &Person) {
    alice.peer_is("bob", LinkState::Up).await;
    bob.peer_is("alice", LinkState::Up).await;
}

fn by_name(name: &str) -> PeerConnectParams {
    PeerConnectParams { address: name.to_owned(), local: None, fingerprint: None, accept_new: None }
}

/// An offer is told to nobody but who it is for, so there is no event to wait for. It goes out behind
/// what is said, and is there when something said after that is.
async fn while_they_talk<T>(
    (person, other): (&Person, &str),
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    for _ in 0..50 {
        if let Some(found) = look().await {
            return found;
        }
        person.delivers(other, "and what else is new?").await;
    }
    panic!("{} waited in vain for {what}", person.name());
}

/// Until `contact show` shows the direct path as wanted.
async fn direct_path(person: &Person, name: &str, state: PathState, reason: &str) {
    let what = format!("{name} to be {state} directly: {reason}");
    let look = async || {
        let shown = person.contact(name).await;
        shown.paths.into_iter().find(|path| {
            let why = path.reason.as_deref().unwrap_or_default();
            path.kind == PathKind::Direct && path.state == state && why.contains(reason)
        })
    };
    while_they_talk((person, name), &what, look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn friends_who_both_allow_it_go_direct_by_themselves() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    for (person, other) in [(&alice, "bob"), (&bob, "alice")] {
        let shown = person.contact(other).await;
        assert_eq!(shown.state, ContactState::Active);
        let ways: Vec<_> = shown.paths.iter().map(|path| (path.kind, path.active)).collect();
        assert_eq!(ways, [(PathKind::Relay, false), (PathKind::Direct, true)]);
        assert!(person.call::<contact::Requests>(NoParams {}).await.incoming.is_empty());
    }
    net.home().stop().await;
    alice.delivers("bob", "without anybody between us").await;
    let got = bob.receives(1).await;
    assert_eq!(got[0].via.as_deref(), Some("direct"));
    assert!(alice.queue().await.is_empty(), "an offer is no message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_does_not_allow_it_nobody_is_dialled_and_it_is_said_why() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, |_| ()).await;
    alice.delivers("bob", "by relay").await;
    direct_path(&alice, "bob", PathState::Off, "has not offered").await;
    assert_eq!(bob.contact("alice").await.paths.len(), 1);
    assert!(alice.call::<peer::List>(NoParams {}).await.peers.is_empty());
    assert!(bob.call::<peer::List>(NoParams {}).await.peers.is_empty());
    // Alice's offer is with him already.
    bob.reconfigure(open).await;
    are_direct(&alice, &bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_ends_the_link_and_the_relay_goes_on() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    bob.reconfigure(|settings| settings.direct = Direct::Off).await;
    direct_path(&bob, "alice", PathState::Off, "direct = \"off\"").await;
    direct_path(&alice, "bob", PathState::Off, "no longer allows").await;
    alice.delivers("bob", "by relay again").await;
    let got = bob.reader("default").await.takes_all().await;
    assert_eq!(got.last().unwrap().body, "by relay again");
    assert_eq!(got.last().unwrap().via.as_deref(), Some("relay:home"));
    let peers = alice.call::<peer::List>(NoParams {}).await.peers;
    assert_eq!(peers[0].state, LinkState::Down);

    bob.reconfigure(open).await;
    are_direct(&alice, &bob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_moved_is_found_by_what_the_relay_brings() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    let before = bob.status().await.listen;
    bob.stop().await;
    bob.move_away().await;
    bob.start().await;
    let after = bob.status().await.listen;
    assert_ne!(before, after);
    are_direct(&alice, &bob).await;
    // Bob knew where she is, and may have dialled her before she heard where he is.
    let look = async || {
        let peers = alice.call::<peer::List>(NoParams {}).await.peers;
        peers.into_iter().find(|peer| peer.address == after[0])
    };
    while_they_talk((&alice, "bob"), "bob's new address", look).await;
}

/// There is nobody left to say where she is now; but she knows where he is, and he knows her key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_moved_without_a_relay_dials_the_one_that_stayed() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    // Whichever of the two dialled, both have what the other offered once this is read.
    alice.delivers("bob", "I am about to move").await;
    bob.delivers("alice", "so long").await;
    net.home().stop().await;
    alice.stop().await;
    alice.move_away().await;
    alice.start().await;
    are_direct(&alice, &bob).await;
    alice.delivers("bob", "I have moved").await;
    bob.reads(&["I am about to move", "I have moved"]).await;
}

/// Whoever ended it can take that back, whether it dials or is dialled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnection_is_taken_back_by_name() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    for (one, other, name) in [(&alice, &bob, "bob"), (&bob, &alice, "alice")] {
        one.call::<peer::Disconnect>(PeerParams { name: name.to_owned() }).await;
        other.peer_is(one.name(), LinkState::Down).await;
        // Offered anew it stays as the user left it.
        one.reconfigure(|settings| settings.direct = Direct::Off).await;
        direct_path(other, one.name(), PathState::Off, "no longer allows").await;
        one.reconfigure(open).await;
        let look = async || {
            let shown = other.contact(one.name()).await;
            let mut paths = shown.paths.into_iter();
            paths.find(|path| path.kind == PathKind::Direct && path.state != PathState::Off)
        };
        while_they_talk((other, one.name()), "another offer", look).await;
        let shown = one.call::<peer::List>(NoParams {}).await.peers;
        assert_eq!(shown[0].reason.as_deref(), Some("disconnected"));
        one.delivers(name, "by relay").await;
        one.call::<peer::Connect>(by_name(name)).await;
        are_direct(&alice, &bob).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_can_be_asked_for() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    let via = |via, body: &str| SendParams { via: Some(via), ..SendParams::new("bob", body) };
    let ways = [
        (Via::Direct, "direct"),
        (Via::Relay, "relay:home"),
        (Via::Through("home".to_owned()), "relay:home"),
    ];
    for (wanted, expected) in &ways {
        let id = alice.try_send(via(wanted.clone(), expected)).await.unwrap().id;
        alice.reaches(id, Stage::Delivered).await;
        let got = bob.receives(1).await;
        assert_eq!(got[0].via.as_deref(), Some(*expected));
    }
    // What may only go one way waits for that one, while the other is open.
    net.home().stop().await;
    let waits = alice.try_send(via(Via::Relay, "not directly")).await.unwrap().id;
    alice.delivers("bob", "directly").await;
    alice.message_is(waits, State::Queued).await;
    alice.call::<peer::Disconnect>(PeerParams { name: "bob".to_owned() }).await;
    net.home().start().await;
    alice.reaches(waits, Stage::Delivered).await;
    let waits = alice.try_send(via(Via::Direct, "not by relay")).await.unwrap().id;
    alice.delivers("bob", "by relay").await;
    alice.message_is(waits, State::Queued).await;
    direct_path(&alice, "bob", PathState::Off, "disconnected").await;
    alice.call::<peer::Connect>(by_name("bob")).await;
    alice.reaches(waits, Stage::Delivered).await;
    bob.reads(&["directly", "not directly", "by relay", "not by relay"]).await;
}

/// Removed, and met again over the relay: nothing of the way that was is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_removed_and_is_met_again_goes_direct_again() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    let name = |name: &str| ams_rpc::types::ContactParams { name: name.to_owned() };
    alice.call::<contact::Remove>(name("bob")).await;
    bob.call::<contact::Remove>(name("alice")).await;
    assert!(alice.call::<peer::List>(NoParams {}).await.peers.is_empty());
    alice.meet(&bob).await;
    are_direct(&alice, &bob).await;
    alice.delivers("bob", "again").await;
}

/// His account is another one's now, who shows another key there: the direct way, on which his own was
/// proven, goes on; and once the other key is trusted it is that one who is met, by its own offer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_key_leaves_the_direct_way_until_it_is_trusted() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    let anew = net.listener("anew", open).await;
    take_over(&net, &anew, "bob").await;
    let shown = alice
        .contact_shows("bob", "in doubt", |contact| contact.offered_fingerprint.is_some())
        .await;
    assert_eq!(shown.state, ContactState::Active);
    let states: Vec<_> = shown.paths.iter().map(|path| path.state).collect();
    assert_eq!(states, [PathState::KeyChanged, PathState::Up]);
    alice.delivers("bob", "to the one that she knows").await;
    bob.reads(&["to the one that she knows"]).await;

    let (name, fingerprint) = ("bob".to_owned(), anew.status().await.fingerprint);
    alice.call::<contact::Trust>(ContactTrustParams { name, fingerprint }).await;
    bob.peer_is("alice", LinkState::Down).await;
    anew.contact_is("alice", ContactState::Active).await;
    are_direct(&alice, &anew).await;
    alice.delivers("bob", "to the new one").await;
    let got = anew.receives(1).await;
    assert_eq!(got[0].body, "to the new one");
    assert_eq!(got[0].via.as_deref(), Some("direct"));
    assert!(bob.reader("default").await.takes_all().await.is_empty());
}

/// What can be taken from a changed config is; what cannot is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_place_is_offered_at_once_and_another_port_after_a_restart() {
    let net = Net::new().await;
    let (alice, bob) = friends(&net, open, open).await;
    are_direct(&alice, &bob).await;
    let as_started = [SocketAddr::from(([127, 0, 0, 1], 0))];
    let public = HostPort::parse("bob.example.org:7310", DIRECT_PORT).unwrap();
    bob.is_at(&as_started, vec![public]).await;
    assert!(bob.peer_link().await.starts_with("ams://bob.example.org:7310/peer#"));
    let look = async || {
        let peers = alice.call::<peer::List>(NoParams {}).await.peers;
        peers.into_iter().find(|peer| peer.address == "bob.example.org:7310")
    };
    while_they_talk((&alice, "bob"), "bob's new address", look).await;
    assert!(bob.status().await.warnings.is_empty());
    let elsewhere = [SocketAddr::from(([127, 0, 0, 1], 7310))];
    bob.is_at(&elsewhere, Vec::new()).await;
    let warnings = bob.status().await.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("restart")), "{warnings:?}");
    bob.is_at(&as_started, Vec::new()).await;
    assert!(bob.status().await.warnings.is_empty());
}

/// At every address of the machine, which is none that could be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_everywhere_is_told_to_say_where_that_is() {
    let net = Net::new().await;
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let alice = net.listener_at("alice", everywhere, open).await;
    assert!(alice.call::<identity::Show>(NoParams {}).await.peer_links.is_empty());
    let warnings = alice.status().await.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("public_address")), "{warnings:?}");

    let public = HostPort::parse("alice.example.org", DIRECT_PORT).unwrap();
    alice.is_at(&[everywhere], vec![public]).await;
    assert_eq!(alice.call::<identity::Show>(NoParams {}).await.peer_links.len(), 1);
    assert!(alice.status().await.warnings.is_empty());
}
