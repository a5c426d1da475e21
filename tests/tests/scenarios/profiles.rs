//! A profile that is copied, restored, or begun anew.

use std::fs;
use std::time::Duration;

use ams_rpc::methods::{contact, queue, relay};
use ams_rpc::types::{
    Contact, ContactParams, ContactState, LinkState, NoParams, QueueParams, RelayParams,
    SendParams, Stage,
};
use ams_tests::Net;
use ams_tests::connection::failure;

use crate::{copy, take_over};

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
    take_over(&net, &impostor, "alice").await;
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

/// Bob's account is taken by another device and taken back, while a relay limits renewals as it
/// does by default; and alice removes him and asks him anew. Nobody has to restart anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_was_taken_over_and_taken_back_goes_on() {
    let net = Net::with(|config| {
        config.limits.renewal_interval = Duration::from_secs(15 * 60);
        config.retry_window = Duration::from_secs(1);
    });
    let net = net.await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let work = net.relay("work").await;
    alice.join(&work).await;
    bob.join(&work).await;
    alice.add_address("bob@work", None).await.unwrap();
    bob.accept("alice").await;
    bob.delivers("alice", "1").await;
    let thief = net.stranger("thief", |_| ()).await;
    take_over(&net, &thief, "bob").await;
    bob.link_is(net.home(), LinkState::Refused).await;
    // Over the other relay he is who he was.
    let in_doubt = |contact: &Contact| contact.offered_fingerprint.is_some();
    alice.contact_shows("bob", "in doubt", in_doubt).await;
    let mut sent = vec![bob.send("alice", "2").await];
    let named = |name: &str| ContactParams { name: name.to_owned() };
    bob.call::<contact::Block>(named("alice")).await;
    take_over(&net, &bob, "bob").await;
    alice.call::<contact::Remove>(named("bob")).await;
    alice.add("bob").await;
    bob.call::<contact::Unblock>(named("alice")).await;
    alice.contact_is("bob", ContactState::Active).await;
    sent.push(bob.send("alice", "3").await);
    alice.delivers("bob", "hello").await;
    bob.reads(&["hello"]).await;
    bob.delivers("alice", "4").await;
    let all = QueueParams { all: Some(true), ..QueueParams::default() };
    bob.call::<queue::Retry>(all).await;
    for id in sent {
        bob.reaches(id, Stage::Delivered).await;
    }
    let mut texts: Vec<String> = alice.receives(4).await.into_iter().map(|m| m.body).collect();
    texts.sort();
    assert_eq!(texts, ["1", "2", "3", "4"]);
    assert_eq!(alice.unread().await, 0);
}
