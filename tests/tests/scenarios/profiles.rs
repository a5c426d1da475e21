//! A profile that is copied, restored, or begun anew.

use std::fs;
use std::path::Path;

use ams_rpc::methods::{contact, relay};
use ams_rpc::types::{
    ContactParams, ContactState, LinkState, NoParams, RelayLoginParams, RelayParams, Secret,
    SendParams,
};
use ams_tests::Net;
use ams_tests::connection::failure;
use ams_tests::person::PASSWORD;

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Her backup of yesterday: it would use keys again that were used already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_is_noticed_and_goes_on_when_the_user_says_so() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "1").await;
    bob.delivers("alice", "2").await;
    alice.stop().await;
    let old = net.folder().join("old-copy");
    copy(alice.home(), &old);
    alice.start().await;
    alice.delivers("bob", "3").await;
    bob.delivers("alice", "4").await;
    alice.reads(&["2", "4"]).await;
    alice.stop().await;
    fs::remove_dir_all(alice.home()).unwrap();
    copy(&old, alice.home());

    alice.start().await;
    alice.link_is(net.home(), LinkState::Refused).await;
    let relays = alice.call::<relay::List>(NoParams {}).await.relays;
    assert!(relays[0].reason.is_some());
    // It stays so until the user says that this is the only copy.
    let queued = alice.send("bob", "5").await;
    alice.restart().await;
    let relays = alice.call::<relay::List>(NoParams {}).await.relays;
    assert_eq!(relays[0].state, LinkState::Refused);
    alice.call::<relay::Resume>(RelayParams { nick: "home".to_owned() }).await;
    alice.link_is(net.home(), LinkState::Up).await;
    alice.reaches(queued, ams_rpc::types::Stage::Delivered).await;
    bob.reads(&["1", "3", "5"]).await;
    bob.delivers("alice", "6").await;
    // What the old copy had not read yet; 4 was delivered to the one that is gone.
    alice.reads(&["2", "6"]).await;
    assert_eq!(bob.unread().await, 0);
}

/// The same account with a new identity: whoever knew the old one is asked before they go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_under_a_known_name_is_not_trusted() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "it is me").await;
    let impostor = net.stranger("impostor", |_| ()).await;
    let address = net.home().address(&*impostor.line(net.home()).await).await;
    let login = RelayLoginParams {
        link: address,
        user: "alice".to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        nick: Some("home".to_owned()),
        replace: Some(true),
    };
    impostor.call::<relay::Login>(login).await;
    impostor.link_is(net.home(), LinkState::Up).await;
    impostor.add("bob").await;
    let changed = bob
        .contact_shows("alice", "another key", |contact| contact.state == ContactState::KeyChanged);
    let changed = changed.await;
    let offered = impostor.status().await.fingerprint;
    assert_eq!(changed.offered_fingerprint.as_deref(), Some(offered.as_str()));
    assert_eq!(changed.fingerprint, Some(alice.status().await.fingerprint));
    let refused = failure(bob.try_send(SendParams::new("alice", "who are you?")).await);
    assert_eq!((refused.data.as_ref().unwrap().kind.as_str(), refused.exit()), ("key_changed", 4));
    assert_eq!(bob.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
    let shown = impostor.call::<contact::Show>(ContactParams { name: "bob".to_owned() }).await;
    assert_eq!(shown.state, ContactState::Pending);
}
