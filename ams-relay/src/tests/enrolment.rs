//! Joining, logging in, devices, marks.

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::{ClientLogin, ClientRegistration, Password, RelayAccounts};
use ams_wire::from_relay::{Bye, FromRelay, Outcome};
use ams_wire::id::{InviteToken, WorkMark};
use ams_wire::to_relay::{PasswordFinish, PasswordStart, ToRelay};
use tokio::time::Instant;

use super::client::{Client, PASSWORD, alice_and_bob, config, handle};
use super::leaking::{Leak, Leaking};
use crate::accounts::store::Store;
use crate::data::Keys;
use crate::relay::start_on;

async fn guest(relay: &crate::Running, key: &DhSecret) -> Client {
    let mut client = Client::dial(relay, key).await;
    client.hello().await;
    client
}

#[tokio::test(start_paused = true)]
async fn an_invite_is_good_once_and_again_for_the_same_device() {
    let relay = crate::start(config()).await.unwrap();
    let invite = relay.invite("alice").await.unwrap();
    let (key, other) = (DhSecret::generate(), DhSecret::generate());
    let mut alice = guest(&relay, &key).await;
    assert_eq!(alice.join(&invite, PASSWORD).await, FromRelay::Enrolled);
    // A crash before the answer was written down: the same again, with another password.
    let mut alice = guest(&relay, &key).await;
    assert_eq!(alice.join(&invite, "another password").await, FromRelay::Enrolled);
    let mut eve = guest(&relay, &other).await;
    assert_eq!(eve.join(&invite, PASSWORD).await, FromRelay::Refused);
    assert_eq!(eve.heard().await, None);
    let mut eve = guest(&relay, &other).await;
    assert_eq!(eve.join_with(InviteToken([7; 16]), PASSWORD).await, FromRelay::Refused);
    let mut alice = guest(&relay, &other).await;
    assert_eq!(alice.login("alice", "another password").await, Some(FromRelay::Enrolled));
    // The first device was replaced: repeating its joining does not bring it back.
    let mut old = guest(&relay, &key).await;
    assert_eq!(old.join(&invite, PASSWORD).await, FromRelay::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_an_unknown_name_look_alike() {
    let relay = crate::start(config()).await.unwrap();
    let (_alice, _) = Client::person(&relay, "alice").await;
    for who in ["alice", "nobody"] {
        let mut eve = guest(&relay, &DhSecret::generate()).await;
        // The client finds out by itself.
        assert_eq!(eve.login(who, "wrong password").await, None);
        eve.say(&ToRelay::LoginFinish(ams_wire::to_relay::LoginFinish { ke3: [1; 64] })).await;
        assert_eq!(eve.answer().await, FromRelay::Refused);
        assert_eq!(eve.heard().await, None);
    }
}

/// Guessing at a name gets slower and is then refused, in the same way whether it exists or not. It
/// concerns enrolment alone: the device that is there comes and goes, and changes the password.
#[tokio::test(start_paused = true)]
async fn guessing_at_a_name_gets_slower_and_locks_no_device() {
    let relay = crate::start(config()).await.unwrap();
    let (alice, key) = Client::person(&relay, "alice").await;
    drop(alice);
    let mut seen = Vec::new();
    for who in ["alice", "nobody"] {
        let mut waits = Vec::new();
        for _ in 0..12 {
            let mut eve = guest(&relay, &DhSecret::generate()).await;
            let since = Instant::now();
            let refused = eve.login(who, "wrong password").await;
            waits.push((refused.is_some(), since.elapsed().as_millis().div_euclid(100)));
        }
        seen.push(waits);
    }
    assert_eq!(seen[0], seen[1]);
    let delays = [0, 0, 0, 5, 10, 20, 40, 50, 50, 50].map(|tenths| (false, tenths));
    assert_eq!(seen[0][..10], delays);
    assert_eq!(seen[0][10..], [(true, 0), (true, 0)]);

    let mut alice = Client::again(&relay, &key).await.0;
    let new = change_password(&mut alice, PASSWORD, "a new password").await;
    assert_eq!(new, FromRelay::Done(Outcome::Ok));
    // An hour later a new device may come.
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    let mut device = guest(&relay, &DhSecret::generate()).await;
    assert_eq!(device.login("alice", "a new password").await, Some(FromRelay::Enrolled));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_became_full_refuses_whoever_comes_last() {
    let mut config = config();
    config.limits.accounts = 1;
    let relay = crate::start(config).await.unwrap();
    let invites = [relay.invite("alice").await.unwrap(), relay.invite("bob").await.unwrap()];
    let mut alice = guest(&relay, &DhSecret::generate()).await;
    assert_eq!(alice.join(&invites[0], PASSWORD).await, FromRelay::Enrolled);
    let mut bob = guest(&relay, &DhSecret::generate()).await;
    assert_eq!(bob.join(&invites[1], PASSWORD).await, FromRelay::Refused);
}

async fn change_password(client: &mut Client, old: &str, new: &str) -> FromRelay<'static> {
    let password = |text: &str| Password::new(text.to_owned()).unwrap();
    let (login, ke1) = ClientLogin::start(password(old)).unwrap();
    let (registration, request) = ClientRegistration::start(password(new)).unwrap();
    client.say(&ToRelay::PasswordStart(PasswordStart { ke1, request })).await;
    let FromRelay::PasswordResponse(answer) = client.answer().await else { panic!("no response") };
    let ke3 = login.finish(&answer.ke2, client.handshake_hash()).unwrap_or([0; 64]);
    let upload = registration.finish(&answer.response).unwrap();
    client.say(&ToRelay::PasswordFinish(PasswordFinish { ke3, upload })).await;
    client.answer().await
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_enrolled_is_refused() {
    let relay = crate::start(config()).await.unwrap();
    let mut eve = guest(&relay, &DhSecret::generate()).await;
    eve.say_attach().await;
    assert_eq!(eve.heard().await, Some(FromRelay::Refused));
    assert_eq!(eve.heard().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_new_device_replaces_the_old_one_and_cancels_what_it_asked() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, alice_key), _bob) = alice_and_bob(&relay).await;
    assert_eq!(alice.ask(handle(5), "carol", "intro").await, FromRelay::Done(Outcome::Ok));
    let new_key = DhSecret::generate();
    let mut new = guest(&relay, &new_key).await;
    assert_eq!(new.login("alice", PASSWORD).await, Some(FromRelay::Enrolled));
    assert_eq!(alice.answer().await, FromRelay::Bye(Bye::Replaced));
    let shown = new.attach().await;
    assert_eq!(shown.rows.iter().map(|row| row.handle).collect::<Vec<_>>(), [handle(1)]);
    let mut old = guest(&relay, &alice_key).await;
    old.say_attach().await;
    assert_eq!(old.heard().await, Some(FromRelay::Refused));
}

#[tokio::test(start_paused = true)]
async fn an_old_copy_is_noticed() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, key), (mut bob, _)) = alice_and_bob(&relay).await;
    alice.mark = WorkMark { counter: 9, nonce: [1; 8] };
    alice.send(handle(1), 1).await;
    bob.delivered().await;
    // While the living link is up: the copy does not displace it.
    let mut copy = guest(&relay, &key).await;
    copy.mark = WorkMark { counter: 8, nonce: [2; 8] };
    copy.say_attach().await;
    assert_eq!(copy.heard().await, Some(FromRelay::Cloned(9)));
    alice.settled().await;
    drop(alice);
    // On disk too: equal is the same device, other bytes are not.
    bob.presence().await;
    let mut copy = guest(&relay, &key).await;
    copy.mark = WorkMark { counter: 9, nonce: [2; 8] };
    copy.say_attach().await;
    assert_eq!(copy.heard().await, Some(FromRelay::Cloned(9)));
    let mut alice = guest(&relay, &key).await;
    alice.mark = WorkMark { counter: 9, nonce: [1; 8] };
    alice.attach().await;
    drop(alice);
    // Enrolling anew begins anew.
    let mut alice = guest(&relay, &key).await;
    assert_eq!(alice.login("alice", PASSWORD).await, Some(FromRelay::Enrolled));
    alice.attach().await;
}

#[tokio::test(start_paused = true)]
async fn a_password_is_changed_with_the_old_one() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, _) = Client::person(&relay, "alice").await;
    for (old, new, outcome) in [
        ("wrong password", "never taken", Outcome::Refused),
        (PASSWORD, "a new password", Outcome::Ok),
    ] {
        assert_eq!(change_password(&mut alice, old, new).await, FromRelay::Done(outcome));
    }
    let mut new = guest(&relay, &DhSecret::generate()).await;
    assert_eq!(new.login("alice", "a new password").await, Some(FromRelay::Enrolled));
    let mut old = guest(&relay, &DhSecret::generate()).await;
    assert_eq!(old.login("alice", PASSWORD).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_account_looks_offline_and_its_name_is_gone() {
    let relay = crate::start(config()).await.unwrap();
    let ((mut alice, _), (mut bob, bob_key)) = alice_and_bob(&relay).await;
    bob.say(&ToRelay::DeleteAccount).await;
    assert_eq!(bob.answer().await, FromRelay::Done(Outcome::Ok));
    assert_eq!(bob.answer().await, FromRelay::Bye(Bye::Replaced));
    assert_eq!(alice.presence().await.offline, [handle(1)]);
    assert_eq!(alice.ask(handle(3), "bob", "intro").await, FromRelay::Done(Outcome::Ok));
    let mut bob = guest(&relay, &bob_key).await;
    bob.say_attach().await;
    assert_eq!(bob.heard().await, Some(FromRelay::Refused));
    let error = relay.invite("bob").await.unwrap_err().to_string();
    assert!(error.contains("never given again"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_spoken_here_is_said() {
    let relay = crate::start(config()).await.unwrap();
    let mut client = Client::dial(&relay, &DhSecret::generate()).await;
    let hello = ams_wire::to_relay::ClientHello { versions: vec![999] };
    client.say(&ToRelay::Hello(hello)).await;
    assert_eq!(client.heard().await, Some(FromRelay::Bye(Bye::Version)));
    assert_eq!(client.heard().await, None);
}

/// Also when the guest runs out of time, or goes, before it is answered.
#[tokio::test(start_paused = true)]
async fn a_displaced_device_goes_whatever_becomes_of_the_new_one() {
    let accounts = Leaking { store: Store::in_memory().unwrap(), leak: Leak::SlowToEnrol };
    let opaque = RelayAccounts::generate().unwrap();
    let keys = Keys { link: DhSecret::generate(), opaque };
    let relay = start_on(config(), Arc::new(accounts), keys).await.unwrap();
    let (mut alice, key) = Client::person(&relay, "alice").await;
    let mut late = guest(&relay, &DhSecret::generate()).await;
    let login = tokio::spawn(async move { late.login("alice", PASSWORD).await });
    assert_eq!(bye(&mut alice).await, Bye::Replaced);
    assert_eq!(login.await.unwrap(), Some(FromRelay::Enrolled));

    // Somebody who does not wait for the answer.
    let invite = relay.invite("bob").await.unwrap();
    let mut bob = guest(&relay, &key).await;
    assert_eq!(bob.join(&invite, PASSWORD).await, FromRelay::Enrolled);
    bob.attach().await;
    let mut gone = guest(&relay, &DhSecret::generate()).await;
    let login = tokio::spawn(async move { gone.login("bob", PASSWORD).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    login.abort();
    assert_eq!(bye(&mut bob).await, Bye::Replaced);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_moves_to_another_account_leaves_the_old_one() {
    let relay = crate::start(config()).await.unwrap();
    let (mut alice, key) = Client::person(&relay, "alice").await;
    let invite = relay.invite("bob").await.unwrap();
    let mut same = guest(&relay, &key).await;
    assert_eq!(same.join(&invite, PASSWORD).await, FromRelay::Enrolled);
    assert_eq!(bye(&mut alice).await, Bye::Replaced);
}

/// What the relay says last.
async fn bye(client: &mut Client) -> Bye {
    loop {
        match client.heard().await.expect("the link ended without a word") {
            FromRelay::Ping => client.say(&ToRelay::Pong).await,
            FromRelay::Bye(reason) => return reason,
            other => panic!("{other:?} instead of a goodbye"),
        }
    }
}
