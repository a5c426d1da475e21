//! Two people and no relay.

use std::time::{Duration, Instant};

use ams_crypto::device;
use ams_crypto::dh::DhSecret;
use ams_crypto::identity::IdentityKey;
use ams_link::handshake::HandshakeError;
use ams_link::peer::{Greeting, greet};
use ams_rpc::methods::{contact, peer, profile};
use ams_rpc::types::{
    ContactState, LinkState, NoParams, PathKind, PeerConnectParams, PeerParams, Presence,
    ProfileParams, Secret, SendParams, Stage, State, VerifiedBy, Via,
};
use ams_rpc::{ErrorKind, Exit};
use ams_tests::line::Line;
use ams_tests::person::Person;
use ams_tests::{Net, PATIENCE};
use ams_wire::address::{HostPort, Link, PeerLink};
use amsd::settings::Requests;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Two people who met directly; bob listens, and alice dialled.
async fn two(net: &Net) -> (Person, Person) {
    let alice = net.stranger("alice", |_| ()).await;
    let bob = net.listener("bob", |_| ()).await;
    alice.meet_directly(&bob).await;
    (alice, bob)
}

/// The same two, where bob lets everybody in.
pub(crate) async fn by_rule(net: &Net) -> (Person, Person) {
    let alice = net.stranger("alice", |_| ()).await;
    let bob = net.listener("bob", |settings| settings.requests = Requests::Accept).await;
    alice.connect(&bob.peer_link().await, "bob").await.unwrap();
    alice.contact_is("bob", ContactState::Active).await;
    (alice, bob)
}

/// The next messages of `person`, each with the way that it came.
async fn came(person: &Person, expected: &[(&str, &str)]) {
    let got = person.receives(expected.len()).await;
    let got: Vec<_> = got
        .iter()
        .map(|message| (message.body.as_str(), message.via.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(got, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_meet_without_a_relay_and_talk() {
    let net = Net::new().await;
    let (alice, bob) = two(&net).await;
    alice.delivers("bob", "hello").await;
    bob.reads(&["hello"]).await;
    bob.delivers("alice", "hello yourself").await;
    came(&alice, &[("hello yourself", "direct")]).await;
    alice.sees("bob", Presence::Online).await;
    bob.sees("alice", Presence::Online).await;

    let shown = alice.contact("bob").await;
    assert_eq!(shown.verified_by, Some(VerifiedBy::Fingerprint), "the link has it");
    assert_eq!(shown.address, None);
    assert_eq!(shown.paths.len(), 1);
    assert!(shown.paths[0].active && shown.paths[0].kind == PathKind::Direct);
    assert!(!bob.contact("alice").await.verified);
    let peers = alice.status().await.peers;
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].name.as_str(), peers[0].state), ("bob", LinkState::Up));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_met_unseen_unless_the_user_says_so() {
    let net = Net::new().await;
    let (alice, bob) = (net.stranger("alice", |_| ()).await, net.listener("bob", |_| ()).await);
    let at = bob.status().await.listen[0].clone();
    let shown = bob.status().await.fingerprint;
    let mut params = PeerConnectParams {
        address: at,
        local: Some("bob".to_owned()),
        fingerprint: None,
        accept_new: None,
    };
    let refused = alice.try_call::<peer::Connect>(params.clone()).await.unwrap_err();
    assert_eq!(refused.exit(), Exit::KeyNotTrusted.code());
    let ams_rpc::client::CallError::Failed(failure) = refused else { panic!("{refused}") };
    assert!(failure.is(ErrorKind::KeyUnknown));
    assert_eq!(failure.data.unwrap().offered_fingerprint, Some(shown.clone()));
    assert!(alice.call::<peer::List>(NoParams {}).await.peers.is_empty());

    params.fingerprint = Some(shown);
    params.accept_new = Some(true);
    alice.call::<peer::Connect>(params).await;
    bob.accept_stranger(&alice).await;
    alice.contact_is("bob", ContactState::Active).await;
    assert!(!alice.contact("bob").await.verified, "it was only seen there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_another_fingerprint_learns_nothing() {
    let net = Net::new().await;
    let alice = net.stranger("alice", |_| ()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let mallory = tokio::spawn(async move {
        let (identity, secret) = (IdentityKey::generate(), DhSecret::generate());
        let stream = ams_link::stream::BoxedStream::new(listener.accept().await.unwrap().0);
        let Greeting::First(first) = greet(stream, true, PATIENCE).await.unwrap() else {
            panic!("no first meeting")
        };
        let answer = first.answer(&secret, &device::record(&identity, &secret.public())).unwrap();
        answer.exchange(PATIENCE).await.map(|_| ())
    });
    let params = PeerConnectParams {
        address: at,
        local: None,
        fingerprint: Some(IdentityKey::generate().public().fingerprint()),
        accept_new: None,
    };
    let refused = alice.try_call::<peer::Connect>(params).await.unwrap_err();
    assert_eq!(refused.exit(), Exit::KeyNotTrusted.code());
    // The third message would say who alice is.
    assert!(matches!(mallory.await.unwrap(), Err(HandshakeError::Closed)));
    assert!(alice.call::<contact::List>(NoParams {}).await.contacts.is_empty());
}

/// What a daemon says to these first bytes.
async fn answer_to(at: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    // A reset says as little.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap();
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_is_silent_to_whom_it_does_not_know() {
    let net = Net::new().await;
    let bob = net.listener("bob", |_| ()).await;
    let carol = net.listener("carol", |settings| settings.requests = Requests::Deny).await;
    let (bobs, carols) = (bob.status().await.listen, carol.status().await.listen);
    let known = [&[2][..], &[9; 96]].concat();
    let first = [&[3][..], &[9; 32]].concat();
    assert!(answer_to(&bobs[0], &known).await.is_empty());
    assert!(answer_to(&carols[0], &first).await.is_empty());
    assert!(answer_to(&carols[0], &[1; 49]).await.is_empty());

    let alice = net.stranger("alice", |_| ()).await;
    let refused = alice.connect(&carol.peer_link().await, "carol").await.unwrap_err();
    assert_eq!(refused.exit(), Exit::NotReachable.code());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_somebody_away_waits_and_goes_whoever_dials() {
    let net = Net::new().await;
    let (alice, bob) = two(&net).await;
    alice.delivers("bob", "first").await;
    bob.stop().await;
    alice.peer_is("bob", LinkState::Down).await;
    let id = alice.send("bob", "while you were away").await;
    alice.message_is(id, State::Queued).await;
    bob.start().await;
    alice.reaches(id, Stage::Delivered).await;

    alice.stop().await;
    bob.peer_is("alice", LinkState::Down).await;
    let id = bob.send("alice", "and you").await;
    bob.message_is(id, State::Queued).await;
    alice.start().await;
    bob.reaches(id, Stage::Delivered).await;
    bob.reads(&["first", "while you were away"]).await;
    alice.reads(&["and you"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_its_answer_and_is_made_once() {
    let net = Net::new().await;
    let (alice, bob) = (net.stranger("alice", |_| ()).await, net.listener("bob", |_| ()).await);
    alice.connect(&bob.peer_link().await, "bob").await.unwrap();
    bob.is_asked_by(&alice.stranger_name().await).await;
    alice.restart().await;
    alice.connect(&bob.peer_link().await, "bob").await.unwrap();
    let requests = bob.call::<contact::Requests>(NoParams {}).await;
    assert_eq!(requests.incoming.len(), 1);
    assert_eq!(requests.incoming[0].from, "direct");
    assert_eq!(alice.contact("bob").await.state, ContactState::Pending);
    bob.restart().await;
    bob.accept_stranger(&alice).await;
    alice.contact_is("bob", ContactState::Active).await;
    alice.delivers("bob", "at last").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_answers_directly_too() {
    let net = Net::new().await;
    let (alice, _bob) = by_rule(&net).await;
    alice.delivers("bob", "hi").await;
}

/// Whom the user disconnected, a rule does not let in again: asking anew waits for the user's word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_takes_back_no_disconnection() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    let link = bob.peer_link().await;
    let name = alice.stranger_name().await;
    bob.call::<peer::Disconnect>(PeerParams { name: name.clone() }).await;
    alice.peer_is("bob", LinkState::Down).await;

    alice.connect(&link, "bob").await.unwrap();
    bob.is_asked_by(&name).await;
    let peers = bob.call::<peer::List>(NoParams {}).await.peers;
    assert!(peers.iter().all(|peer| peer.state != LinkState::Up), "{peers:?}");
    bob.accept_stranger(&alice).await;
    alice.peer_is("bob", LinkState::Up).await;
    alice.delivers("bob", "by his own word").await;
}

/// A disconnection that is taken back is the user's word, and what waited for it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_is_answered_once_the_disconnection_is_taken_back() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    let link = bob.peer_link().await;
    let name = alice.stranger_name().await;
    let bobs = || ams_rpc::types::ContactParams { name: "bob".to_owned() };
    for is_removed in [false, true] {
        bob.call::<peer::Disconnect>(PeerParams { name: name.clone() }).await;
        alice.peer_is("bob", LinkState::Down).await;
        // She has no keys any more, and asks from the beginning.
        alice.call::<contact::Remove>(bobs()).await;
        alice.connect(&link, "bob").await.unwrap();
        bob.is_asked_by(&name).await;
        assert_eq!(alice.contact("bob").await.state, ContactState::Pending);
        if is_removed {
            let params = ams_rpc::types::ContactParams { name: name.clone() };
            bob.call::<contact::Remove>(params).await;
            alice.connect(&link, "bob").await.unwrap();
        } else {
            let again = PeerConnectParams {
                address: name.clone(),
                local: None,
                fingerprint: None,
                accept_new: None,
            };
            bob.call::<peer::Connect>(again).await;
        }
        alice.contact_is("bob", ContactState::Active).await;
        alice.delivers("bob", "by his own word").await;
        assert!(bob.call::<contact::Requests>(NoParams {}).await.incoming.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_dial_each_other_at_once_have_one_link() {
    let net = Net::new().await;
    let (alice, bob) = (net.listener("alice", |_| ()).await, net.listener("bob", |_| ()).await);
    let (alices, bobs) = (alice.peer_link().await, bob.peer_link().await);
    let (one, other) = tokio::join!(alice.connect(&bobs, "bob"), bob.connect(&alices, "alice"));
    one.unwrap();
    other.unwrap();
    alice.contact_is("bob", ContactState::Active).await;
    bob.contact_is("alice", ContactState::Active).await;
    for round in 0..3 {
        alice.delivers("bob", format!("to bob {round}")).await;
        bob.delivers("alice", format!("to alice {round}")).await;
        tokio::join!(alice.restart(), bob.restart());
    }
    bob.reads(&["to bob 0", "to bob 1", "to bob 2"]).await;
    alice.reads(&["to alice 0", "to alice 1", "to alice 2"]).await;
    assert_eq!(alice.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
}

/// Two people who are contacts over the relay `home` and directly.
pub(crate) async fn both_ways(net: &Net) -> (Person, Person) {
    let alice = net.person("alice").await;
    let bob = net.listener("bob", |_| ()).await;
    bob.join(net.home()).await;
    alice.meet(&bob).await;
    connect(&alice, &bob, &bob.peer_link().await).await;
    (alice, bob)
}

/// As [`both_ways`], where Alice dials Bob by this line.
pub(crate) async fn both_ways_by_a_line(net: &Net) -> (Person, Person, Line) {
    let alice = net.person("alice").await;
    let bob = net.listener("bob", |_| ()).await;
    bob.join(net.home()).await;
    alice.meet(&bob).await;
    let door = net.door(&bob).await;
    let link = Link::parse_peer(&bob.peer_link().await).unwrap();
    let link = Link::Peer(PeerLink { at: HostPort::from_socket(door.at()), ..link });
    connect(&alice, &bob, &link.to_string()).await;
    (alice, bob, door)
}

/// Alice, who is a contact of Bob's, connects to him directly by `link`, too.
async fn connect(alice: &Person, bob: &Person, link: &str) {
    alice.connect(link, "bob").await.unwrap();
    let name = alice.stranger_name().await;
    bob.is_asked_by(&name).await;
    let requests = bob.call::<contact::Requests>(NoParams {}).await;
    assert!(requests.incoming[0].again, "alice is a contact already");
    let params = ams_rpc::types::ContactAcceptParams { name, local: None };
    bob.call::<contact::Accept>(params).await;
    alice.peer_is("bob", LinkState::Up).await;
    bob.peer_is("alice", LinkState::Up).await;
}

/// Nothing is closed and nothing passes: what was on its way goes by the relay, and fails nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_link_that_falls_silent_ends_soon_and_fails_nothing() {
    let net = Net::new().await;
    let (alice, bob, door) = both_ways_by_a_line(&net).await;
    alice.delivers("bob", "directly").await;

    door.stall();
    let began = Instant::now();
    let id = alice.delivers("bob", "whichever way is left").await;
    // Three silences of less than five seconds, and what a loaded machine adds.
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    let steps: Vec<_> = alice.message(id).await.steps.into_iter().map(|step| step.what).collect();
    assert!(!steps.iter().any(|step| step == State::Undelivered.as_str()), "{steps:?}");
    came(&bob, &[("directly", "direct"), ("whichever way is left", "relay:home")]).await;

    door.mend();
    alice.peer_is("bob", LinkState::Up).await;
    alice.delivers("bob", "directly again").await;
    came(&bob, &[("directly again", "direct")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_met_twice_is_one_contact_with_two_ways() {
    let net = Net::new().await;
    let (alice, bob) = both_ways(&net).await;
    for (person, other) in [(&alice, "bob"), (&bob, "alice")] {
        let contacts = person.call::<contact::List>(NoParams {}).await.contacts;
        assert_eq!(contacts.len(), 1);
        assert_eq!(contacts[0].name, other);
        let ways: Vec<_> = contacts[0].paths.iter().map(|path| (path.kind, path.active)).collect();
        assert_eq!(ways, [(PathKind::Relay, false), (PathKind::Direct, true)]);
    }
    alice.delivers("bob", "directly").await;

    let via = |via, body: &str| SendParams { via: Some(via), ..SendParams::new("bob", body) };
    let id = alice.try_send(via(Via::Relay, "by relay")).await.unwrap().id;
    alice.reaches(id, Stage::Delivered).await;

    alice.call::<peer::Disconnect>(PeerParams { name: "bob".to_owned() }).await;
    bob.peer_is("alice", LinkState::Down).await;
    let waits = alice.try_send(via(Via::Direct, "only directly")).await.unwrap().id;
    alice.delivers("bob", "by what is left").await;
    alice.message_is(waits, State::Queued).await;
    alice.connect(&bob.peer_link().await, "bob").await.unwrap();
    alice.reaches(waits, Stage::Delivered).await;
    let expected = [
        ("directly", "direct"),
        ("by relay", "relay:home"),
        ("by what is left", "relay:home"),
        ("only directly", "direct"),
    ];
    came(&bob, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_blocked_or_removed_is_dialled_no_more() {
    let net = Net::new().await;
    let (alice, bob) = two(&net).await;
    let name = |name: &str| ams_rpc::types::ContactParams { name: name.to_owned() };
    bob.call::<contact::Block>(name("alice")).await;
    alice.peer_is("bob", LinkState::Down).await;
    bob.call::<contact::Unblock>(name("alice")).await;
    alice.peer_is("bob", LinkState::Up).await;
    alice.delivers("bob", "again").await;
    alice.call::<contact::Remove>(name("bob")).await;
    bob.peer_is("alice", LinkState::Down).await;
    assert!(alice.call::<peer::List>(NoParams {}).await.peers.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_wait_hold_up_nobody_who_is_known() {
    let net = Net::new().await;
    let (alice, bob) = two(&net).await;
    let at = bob.status().await.listen[0].clone();
    // As many as come in from one address, and none says more than its first byte.
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(&at).await.unwrap();
        stream.write_all(&[3]).await.unwrap();
        idle.push(stream);
    }
    alice.delivers("bob", "the link that is up goes on").await;
    alice.restart().await;
    alice.delivers("bob", "and a new one is made").await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_removed_can_ask_anew() {
    let net = Net::new().await;
    let (alice, bob) = two(&net).await;
    let alices = bob.contact("alice").await;
    bob.call::<contact::Remove>(ams_rpc::types::ContactParams { name: alices.name }).await;
    alice.peer_is("bob", LinkState::Down).await;
    alice.connect(&bob.peer_link().await, "bob").await.unwrap();
    bob.accept_stranger(&alice).await;
    alice.peer_is("bob", LinkState::Up).await;
    alice.delivers("bob", "friends again").await;
}

/// Restored elsewhere, she is met again, and nobody else has the way that was his.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_profile_finds_its_direct_peers() {
    let net = Net::new().await;
    let (alice, bob) = two(&net).await;
    alice.delivers("bob", "before").await;
    let file = net.folder().join("profile.backup").to_str().unwrap().to_owned();
    let passphrase = || Secret::new("a passphrase of hers".to_owned());
    let params = || ProfileParams { file: file.clone(), passphrase: passphrase() };
    alice.call::<profile::Backup>(params()).await;
    alice.stop().await;
    let anew = net.stranger("anew", |_| ()).await;
    anew.call::<profile::Restore>(params()).await;
    // The device is another one: the same person, who is asked about once more.
    bob.accept_stranger(&anew).await;
    let carol = net.listener("carol", |settings| settings.requests = Requests::Accept).await;
    anew.connect(&carol.peer_link().await, "carol").await.unwrap();
    anew.contact_is("carol", ContactState::Active).await;
    anew.delivers("carol", "hello").await;
    carol.reads(&["hello"]).await;
    anew.peer_is("bob", LinkState::Up).await;
    anew.delivers("bob", "after").await;
    bob.reads(&["before", "after"]).await;
    assert_eq!(bob.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
}

/// A rule lets in whoever asks, but not without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_beyond_a_number_wait_whatever_the_rule() {
    let net = Net::new().await;
    let bob = net.listener("bob", |settings| settings.requests = Requests::Accept).await;
    let link = bob.peer_link().await;
    for number in 0..51 {
        let stranger = net.stranger(&format!("stranger{number}"), |_| ()).await;
        stranger.connect(&link, "bob").await.unwrap();
        if number < 50 {
            stranger.contact_is("bob", ContactState::Active).await;
            stranger.stop().await;
        } else {
            bob.is_asked_by(&stranger.stranger_name().await).await;
        }
    }
    assert_eq!(bob.call::<contact::List>(NoParams {}).await.contacts.len(), 50);
}
