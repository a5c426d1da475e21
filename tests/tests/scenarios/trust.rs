//! Which key is a contact's, and what stops when another one is shown.

use ams_rpc::methods::{contact, message, peer};
use ams_rpc::types::{
    ContactParams, ContactState, ContactTrustParams, ContactVerifyParams, LinkState, NoParams,
    PathState, PeerConnectParams, SendParams, Stage,
};
use ams_tests::Net;
use ams_tests::connection::failure;
use ams_tests::person::Person;
use amsd::settings::Requests;

use crate::direct::by_rule;
use crate::take_over;

fn trust(name: &str, fingerprint: &str) -> ContactTrustParams {
    ContactTrustParams { name: name.to_owned(), fingerprint: fingerprint.to_owned() }
}

/// What was waited for ended because the key changed, and what is to be sent is refused.
async fn is_refused_key(of: &Person, to: &str) {
    let refused = failure(of.try_send(SendParams::new(to, "no")).await);
    assert_eq!((refused.data.as_ref().unwrap().kind.as_str(), refused.exit()), ("key_changed", 4));
}

/// Bob begins anew on another machine, without a backup: the account is his, the key is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_key_stops_everything_until_exactly_it_is_trusted() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "to the old one").await;
    let old = alice.contact("bob").await.fingerprint.unwrap();
    bob.stop().await;
    let waits = SendParams { wait: Some(Stage::Delivered), ..SendParams::new("bob", "whose?") };
    let connection = alice.connection().await;
    let waiting =
        tokio::spawn(async move { connection.try_call::<message::Send>(waits).await.unwrap() });
    let anew = net.stranger("anew", |_| ()).await;
    take_over(&net, &anew, "bob").await;

    alice.contact_is("bob", ContactState::KeyChanged).await;
    let ended = waiting.await.unwrap();
    assert_eq!((ended.reached, ended.exit), (false, 4));
    is_refused_key(&alice, "bob").await;
    let shown = alice.contact("bob").await;
    let offered = anew.status().await.fingerprint;
    assert_eq!(shown.fingerprint.as_deref(), Some(old.as_str()));
    assert_eq!(shown.offered_fingerprint.as_deref(), Some(offered.as_str()));
    assert_eq!(shown.paths[0].state, PathState::KeyChanged);

    // Any other fingerprint, the old one too, is no answer.
    let own = alice.status().await.fingerprint;
    for wrong in [old.as_str(), own.as_str(), &offered[..offered.len() - 1], "", "yes"] {
        let refused = failure(alice.try_call::<contact::Trust>(trust("bob", wrong)).await);
        assert_eq!(refused.exit(), 4, "{wrong}");
    }
    assert_eq!(alice.contact("bob").await.state, ContactState::KeyChanged);

    let spaced = offered.replace('-', " ").to_uppercase();
    alice.call::<contact::Trust>(trust("bob", &spaced)).await;
    // What waited is sealed for the new key, and the same once more changes nothing.
    alice.reaches(ended.id, Stage::Delivered).await;
    alice.call::<contact::Trust>(trust("bob", &offered)).await;
    anew.reads(&["whose?"]).await;
    anew.delivers("alice", "mine").await;
    alice.reads(&["mine"]).await;
    let shown = alice.contact("bob").await;
    assert_eq!(shown.fingerprint.as_deref(), Some(offered.as_str()));
    assert_eq!((shown.offered_fingerprint, shown.verified), (None, false));
}

/// Alice had verified bob; then somebody else has his account, and then she verifies that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_verification_ends_it_too() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let verify = |name: &str, confirm: Option<String>| ContactVerifyParams {
        name: name.to_owned(),
        confirm,
    };
    let number = bob.call::<contact::Verify>(verify("alice", None)).await.safety_number;
    assert!(alice.call::<contact::Verify>(verify("bob", Some(number.clone()))).await.verified);
    let anew = net.stranger("anew", |_| ()).await;
    take_over(&net, &anew, "bob").await;
    alice.contact_is("bob", ContactState::KeyChanged).await;
    assert!(!alice.contact("bob").await.verified);
    // The old number is that of the old key.
    let refused = alice.try_call::<contact::Verify>(verify("bob", Some(number))).await;
    assert_eq!(failure(refused).exit(), 4);
    let number = alice.call::<contact::Verify>(verify("bob", None)).await.safety_number;
    assert!(alice.call::<contact::Verify>(verify("bob", Some(number.clone()))).await.verified);
    anew.contact_is("alice", ContactState::Active).await;
    let theirs = anew.call::<contact::Verify>(verify("alice", None)).await.safety_number;
    assert_eq!(theirs, number);
    alice.delivers("bob", "hello again").await;
    anew.reads(&["hello again"]).await;
}

/// Over another relay the key is the one that she knows: that path goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_stops_the_path_that_it_was_shown_on() {
    let net = Net::new().await;
    let work = net.relay("work").await;
    let (alice, bob) = net.friends_over_both(&work, "alice", "bob").await;
    let thief = net.stranger("thief", |_| ()).await;
    take_over(&net, &thief, "bob").await;
    let shown = alice
        .contact_shows("bob", "in doubt", |contact| contact.offered_fingerprint.is_some())
        .await;
    assert_eq!(shown.state, ContactState::Active);
    let states: Vec<_> = shown.paths.iter().map(|path| (path.name.as_str(), path.state)).collect();
    assert_eq!(states, [("home", PathState::KeyChanged), ("work", PathState::Up)]);
    for number in 0..3 {
        alice.delivers("bob", format!("{number}")).await;
        bob.delivers("alice", format!("{number}")).await;
    }
    bob.reads(&["0", "1", "2"]).await;
    let got = alice.receives(3).await;
    assert!(got.iter().all(|message| message.via.as_deref() == Some("relay:work")), "{got:?}");
    assert!(thief.reader("default").await.takes_all().await.is_empty());
    // She takes bob to be who she knew: the thief's key goes with the contact's path.
    bob.stop().await;
    let named = ContactParams { name: "bob".to_owned() };
    assert_eq!(alice.call::<contact::Show>(named).await.state, ContactState::Active);
}

/// Where to connect, with which name and fingerprint, and whether whoever is there is taken.
fn at(
    address: &impl ToString,
    name: Option<&str>,
    fingerprint: Option<&str>,
    accept_new: bool,
) -> PeerConnectParams {
    PeerConnectParams {
        address: address.to_string(),
        local: name.map(str::to_owned),
        fingerprint: fingerprint.map(str::to_owned),
        accept_new: accept_new.then_some(true),
    }
}

/// That it is another key than that of bob, which is offered and can be trusted or not.
async fn is_not_bob(alice: &Person, params: PeerConnectParams, shown: &str) -> String {
    let refused = failure(alice.try_call::<peer::Connect>(params.clone()).await);
    let data = refused.data.as_ref().unwrap();
    assert_eq!((data.kind.as_str(), data.exit), ("key_changed", 4), "{params:?}");
    assert_eq!(data.offered_fingerprint.as_deref(), Some(shown), "{params:?}");
    assert!(refused.message.contains("bob"), "{}", refused.message);
    assert_eq!(alice.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
    format!("{}\n{}", refused.message, data.hint)
}

/// Bob's machine is set up anew, or somebody sits in his place: what waits for him waits until she
/// says which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_at_a_contacts_address_is_nobody_new() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    let place = bob.listening().await;
    bob.stop().await;
    alice.peer_is("bob", LinkState::Down).await;
    let id = alice.send("bob", "whose?").await;
    let anew = net.listener_at("anew", place, |_| ()).await;
    let shown = anew.status().await.fingerprint;
    for params in [
        at(&place, None, None, false),
        at(&place, None, None, true),
        // As after a yes on a terminal, which had only what is shown there.
        at(&place, None, Some(&shown), true),
        at(&place, Some("robert"), None, true),
    ] {
        let said = is_not_bob(&alice, params, &shown).await;
        assert!(said.contains("bob was at this address with another key"), "{said}");
        assert!(said.contains(&format!("amsctl contact trust bob {shown}")), "{said}");
    }
    for params in
        [at(&place, Some("bob"), None, true), at(&place, Some("bob"), Some(&shown), false)]
    {
        is_not_bob(&alice, params, &shown).await;
    }
    is_not_bob(&alice, at(&"bob", None, None, false), &shown).await;
    is_refused_key(&alice, "bob").await;
    assert!(anew.call::<contact::Requests>(NoParams {}).await.incoming.is_empty());

    alice.call::<contact::Trust>(trust("bob", &shown)).await;
    anew.accept_stranger(&alice).await;
    alice.reaches(id, Stage::Delivered).await;
    anew.reads(&["whose?"]).await;
}

/// Bob hands out the link of his new machine too: who is met by it is bob, once she says so, and there
/// is one way to him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_met_anew_before_he_is_trusted_is_one_contact_on_one_way() {
    for is_active_first in [false, true] {
        let net = Net::new().await;
        let (alice, bob) = by_rule(&net).await;
        let place = bob.listening().await;
        bob.stop().await;
        alice.peer_is("bob", LinkState::Down).await;
        let anew = net.listener_at("anew", place, |own| own.requests = Requests::Accept).await;
        let shown = anew.status().await.fingerprint;
        is_not_bob(&alice, at(&place, None, None, true), &shown).await;
        let link = anew.peer_link().await;
        let other = alice.call::<peer::Connect>(at(&link, None, None, false)).await.name;
        if is_active_first {
            alice.contact_is(&other, ContactState::Active).await;
            alice.delivers(&other, "who are you?").await;
            anew.reads(&["who are you?"]).await;
            // There may be more of that one than a way: she says which of them stays.
            let refused = failure(alice.try_call::<contact::Trust>(trust("bob", &shown)).await);
            assert_eq!(refused.message, format!("this key is that of {other} already"));
            let named = ContactParams { name: other.clone() };
            alice.call::<contact::Remove>(named).await;
        }
        alice.call::<contact::Trust>(trust("bob", &shown)).await;
        alice.contact_is("bob", ContactState::Active).await;
        alice.delivers("bob", "it is you").await;
        anew.delivers(&alice.stranger_name().await, "it is me").await;
        alice.reads(&["it is me"]).await;
        let contacts = alice.call::<contact::List>(NoParams {}).await.contacts;
        assert_eq!(contacts.len(), 1, "{other}: {contacts:?}");
        let shown = alice.contact("bob").await;
        let verified = !is_active_first;
        assert_eq!((shown.paths.len(), shown.verified), (1, verified), "{shown:?}");
        alice.restart().await;
        alice.delivers("bob", "still you").await;
    }
}

/// Somebody was in bob's place for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_known_key_is_there_again_nothing_has_to_be_decided() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    let place = bob.listening().await;
    bob.stop().await;
    alice.peer_is("bob", LinkState::Down).await;
    let other = net.listener_at("other", place, |_| ()).await;
    let shown = other.status().await.fingerprint;
    is_not_bob(&alice, at(&place, None, None, true), &shown).await;
    is_refused_key(&alice, "bob").await;
    other.stop().await;
    bob.start().await;
    alice.contact_is("bob", ContactState::Active).await;
    assert_eq!(alice.contact("bob").await.offered_fingerprint, None);
    alice.delivers("bob", "it is you").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_contacts_address_now_can_be_a_contact_of_another_name() {
    let net = Net::new().await;
    let (alice, bob) = by_rule(&net).await;
    let place = bob.listening().await;
    bob.stop().await;
    alice.peer_is("bob", LinkState::Down).await;
    let carol = net.listener_at("carol", place, |_| ()).await;
    let shown = carol.status().await.fingerprint;
    alice.call::<peer::Connect>(at(&place, Some("carol"), Some(&shown), false)).await;
    carol.accept_stranger(&alice).await;
    alice.contact_is("carol", ContactState::Active).await;
    alice.delivers("carol", "hello").await;
    assert!(alice.contact("carol").await.verified);
    assert_eq!(alice.contact("bob").await.offered_fingerprint, None);
}

/// She says that somebody is bob, whom she knows over the relay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contacts_name_is_given_to_no_other_key() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let other = net.listener("other", |_| ()).await;
    let (place, shown) = (other.listening().await, other.status().await.fingerprint);
    for params in
        [at(&place, Some("bob"), None, true), at(&place, Some("bob"), Some(&shown), false)]
    {
        let said = is_not_bob(&alice, params, &shown).await;
        assert!(said.contains("amsctl contact show bob") && said.contains("--as NAME"), "{said}");
    }
    assert_eq!(alice.contact("bob").await.state, ContactState::Active);
    alice.delivers("bob", "you").await;
    bob.reads(&["you"]).await;
}
