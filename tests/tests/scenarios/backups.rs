//! A profile in one file, and the same person on another device.

use std::fs;

use ams_rpc::methods::{contact, history, profile};
use ams_rpc::types::{
    ContactParams, ContactState, ContactVerifyParams, HistoryParams, LinkState, NoParams,
    ProfileParams, ProfileSummary, Secret, Stage,
};
use ams_tests::connection::{failure, refusal};
use ams_tests::{Net, Person};

use crate::take_over;

const PASSPHRASE: &str = "a passphrase of hers";

fn file(net: &Net, passphrase: &str) -> ProfileParams {
    let file = net.folder().join("profile.backup").to_str().unwrap().to_owned();
    ProfileParams { file, passphrase: Secret::new(passphrase.to_owned()) }
}

async fn restores(net: &Net, person: &Person) -> ProfileSummary {
    person.call::<profile::Restore>(file(net, PASSPHRASE)).await
}

async fn contacts(of: &Person) -> usize {
    of.call::<contact::List>(NoParams {}).await.contacts.len()
}

async fn said(person: &Person, with: &str) -> Vec<String> {
    let params = HistoryParams { contact: Some(with.to_owned()), ..HistoryParams::default() };
    let messages = person.call::<history::List>(params).await.messages;
    messages.into_iter().map(|message| message.body).collect()
}

/// Her machine is gone; a new one has her backup, and nobody notices but the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_profile_is_the_same_person_on_another_device() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let verify = |name: &str, confirm: Option<String>| ContactVerifyParams {
        name: name.to_owned(),
        confirm,
    };
    let number = alice.call::<contact::Verify>(verify("bob", None)).await.safety_number;
    alice.call::<contact::Verify>(verify("bob", Some(number.clone()))).await;
    bob.call::<contact::Verify>(verify("alice", Some(number.clone()))).await;
    alice.delivers("bob", "1").await;
    bob.delivers("alice", "2").await;
    alice.reads(&["2"]).await;
    bob.delivers("alice", "3").await;
    bob.stop().await;
    let queued = alice.send("bob", "4").await;
    let identity = alice.status().await.fingerprint;
    let made = alice.call::<profile::Backup>(file(&net, PASSPHRASE)).await;
    assert_eq!((made.contacts, made.messages, &made.fingerprint), (1, 4, &identity));
    let bytes = fs::read(net.folder().join("profile.backup")).unwrap();
    for part in [&b"alice"[..], b"bob", b"127.0.0.1"] {
        assert!(!bytes.windows(part.len()).any(|seen| seen == part), "it is not sealed");
    }

    let anew = net.stranger("anew", |_| ()).await;
    assert_eq!(restores(&net, &anew).await, made);
    assert_eq!(anew.status().await.fingerprint, identity);
    assert_eq!(said(&anew, "bob").await, ["1", "2", "3", "4"]);
    anew.restart().await;
    take_over(&net, &anew, "alice").await;
    alice.link_is(net.home(), LinkState::Refused).await;
    bob.start().await;
    anew.contact_is("bob", ContactState::Active).await;
    let shown = anew.contact("bob").await;
    assert_eq!((shown.verified, shown.address.as_deref()), (true, Some("bob@home")));
    // What was queued goes out, and the old device's copy of it does not come as well.
    anew.reaches(queued, Stage::Delivered).await;
    bob.reads(&["1", "4"]).await;
    let shown = bob.contact("alice").await;
    assert_eq!((shown.state, shown.verified), (ContactState::Active, true));
    assert_eq!(shown.offered_fingerprint, None);
    bob.delivers("alice", "5").await;
    anew.delivers("bob", "6").await;
    // 2 was read before; 3 was not.
    anew.reads(&["3", "5"]).await;
    bob.reads(&["6"]).await;
    assert_eq!(bob.unread().await, 0);
    let after = anew.call::<contact::Verify>(verify("bob", None)).await;
    assert_eq!((after.safety_number, after.verified), (number, true));
}

/// A new profile without a backup: the rows are handed over, the key is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_without_a_backup_gets_the_rows_and_has_to_be_trusted() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.add("nobody").await;
    let anew = net.stranger("anew", |_| ()).await;
    take_over(&net, &anew, "alice").await;
    alice.link_is(net.home(), LinkState::Refused).await;
    bob.contact_is("alice", ContactState::KeyChanged).await;
    // Her contact is there; what the old one asked is not.
    let shown = anew.contact("bob").await;
    assert_eq!((shown.state, shown.verified), (ContactState::Pending, false));
    assert_eq!(contacts(&anew).await, 1);
    let offered = bob.contact("alice").await.offered_fingerprint.unwrap();
    let trusted = ams_rpc::types::ContactTrustParams { name: "alice".into(), fingerprint: offered };
    bob.call::<contact::Trust>(trusted).await;
    anew.contact_is("bob", ContactState::Active).await;
    anew.delivers("bob", "me again").await;
    bob.reads(&["me again"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_backup_is_not_restored_and_says_why() {
    let net = Net::new().await;
    let (alice, _bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "1").await;
    alice.call::<profile::Backup>(file(&net, PASSPHRASE)).await;
    let again = alice.try_call::<profile::Backup>(file(&net, PASSPHRASE)).await;
    assert_eq!(failure(again).exit(), 1);
    let short = alice.try_call::<profile::Backup>(file(&net, "short")).await;
    assert_eq!(refusal(short), "bad_password");
    let used = alice.try_call::<profile::Restore>(file(&net, PASSPHRASE)).await;
    assert_eq!(refusal(used), "not_allowed");

    let anew = net.stranger("anew", |_| ()).await;
    let before = anew.status().await.fingerprint;
    let refused = |passphrase: &str| {
        let params = file(&net, passphrase);
        async { refusal(anew.try_call::<profile::Restore>(params).await) }
    };
    assert_eq!(refused("another passphrase").await, "wrong_password");
    let path = net.folder().join("profile.backup");
    let whole = fs::read(&path).unwrap();
    let bent = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [&whole[..], b"x"].concat();
    let cuts = [0, 5, 65, 66, 70, whole.len() - 1].map(|length| whole[..length].to_vec());
    let bends = [0, 6, 30, 60, 66, 70, whole.len() - 1].map(bent);
    for bytes in cuts.into_iter().chain(bends).chain([longer]) {
        fs::write(&path, bytes).unwrap();
        assert_eq!(refused(PASSPHRASE).await, "bad_file");
    }
    assert_eq!(anew.status().await.fingerprint, before);
    assert_eq!(contacts(&anew).await, 0);
    fs::write(&path, whole).unwrap();
    restores(&net, &anew).await;
    let named = ContactParams { name: "bob".to_owned() };
    assert_eq!(anew.call::<contact::Show>(named).await.name, "bob");
}
