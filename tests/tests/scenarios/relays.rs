//! Accounts, and several relays at once.

use ams_rpc::admin;
use ams_rpc::methods::{contact, relay};
use ams_rpc::types::{
    Contact, ContactState, LinkState, NoParams, PathState, RelayLeaveParams, RelayLoginParams,
    RelayParams, RelayPasswordParams, Secret, SendParams, Stage, State, Via,
};
use ams_tests::Net;
use ams_tests::connection::{failure, refusal};
use ams_tests::person::{PASSWORD, Person};

use crate::copy;

fn nick(nick: &str) -> RelayParams {
    RelayParams { nick: nick.to_owned() }
}

fn login(link: &str, user: &str, password: &str, replace: bool) -> RelayLoginParams {
    RelayLoginParams {
        link: link.to_owned(),
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
        nick: Some("home".to_owned()),
        replace: Some(replace),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_daemon_is_on_several_relays() {
    let net = Net::new().await;
    let work = net.relay("work").await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let carol = net.stranger("carol", |_| ()).await;
    alice.join(&work).await;
    carol.join(&work).await;
    alice.add_address("carol@work", None).await.unwrap();
    carol.accept("alice").await;
    alice.contact_is("carol", ContactState::Active).await;
    alice.delivers("bob", "at home").await;
    alice.delivers("carol", "at work").await;
    assert_eq!(bob.receives(1).await[0].via.as_deref(), Some("relay:home"));
    assert_eq!(carol.receives(1).await[0].via.as_deref(), Some("relay:work"));

    // One of them away is not the other's concern.
    net.home().stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    let queued = alice.send("bob", "later").await;
    alice.delivers("carol", "now").await;
    assert_eq!(alice.message(queued).await.message.state, State::Queued);
    net.home().start().await;
    alice.reaches(queued, ams_rpc::types::Stage::Delivered).await;

    alice.restart().await;
    alice.link_is(&work, LinkState::Up).await;
    alice.link_is(net.home(), LinkState::Up).await;
    alice.delivers("carol", "still").await;
    alice.delivers("bob", "still").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_disconnects_stays_away_until_connect() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.call::<relay::Disconnect>(nick("home")).await;
    alice.link_is(net.home(), LinkState::Off).await;
    let id = alice.send("bob", "later").await;
    alice.restart().await;
    let relays = alice.call::<relay::List>(NoParams {}).await.relays;
    assert_eq!(relays[0].state, LinkState::Off);
    assert_eq!(alice.message(id).await.message.state, State::Queued);
    alice.call::<relay::Connect>(nick("home")).await;
    alice.link_is(net.home(), LinkState::Up).await;
    bob.reads(&["later"]).await;
    assert_eq!(refusal(alice.try_call::<relay::Connect>(nick("work")).await), "no_such_relay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_connects_hears_how_it_went() {
    let net = Net::new().await;
    let alice = net.person("alice").await;
    net.home().stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    let began = std::time::Instant::now();
    let refused = failure(alice.try_call::<relay::Connect>(nick("home")).await);
    assert_eq!(
        (refused.data.as_ref().unwrap().kind.as_str(), refused.exit()),
        ("not_reachable", 3)
    );
    let change = RelayPasswordParams {
        nick: "home".to_owned(),
        old_password: Secret::new(PASSWORD.to_owned()),
        password: Secret::new("another one".to_owned()),
    };
    assert_eq!(refusal(alice.try_call::<relay::Password>(change).await), "not_reachable");
    // Neither waits longer than it takes to be turned away.
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());

    net.home().start().await;
    let up = alice.call::<relay::Connect>(nick("home")).await;
    assert_eq!(up.state, LinkState::Up);
    let disabled = || admin::NameParams { name: "alice".to_owned() };
    net.home().admin::<admin::user::Disable>(disabled()).await;
    alice
        .until("the link to end", |client| {
            let relays = client.call::<relay::List>(&NoParams {}).ok()?.relays;
            (relays[0].state != LinkState::Up).then_some(())
        })
        .await;
    let refused = failure(alice.try_call::<relay::Connect>(nick("home")).await);
    assert_eq!(
        (refused.data.as_ref().unwrap().kind.as_str(), refused.exit()),
        ("device_refused", 6)
    );
    net.home().admin::<admin::user::Enable>(disabled()).await;
    assert_eq!(alice.call::<relay::Connect>(nick("home")).await.state, LinkState::Up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_is_for_one_daemon() {
    let net = Net::new().await;
    let alice = net.stranger("alice", |_| ()).await;
    let mallory = net.stranger("mallory", |_| ()).await;
    let line = alice.line(net.home()).await;
    let invite = net.home().invite("alice", &line).await;
    alice.try_join(&invite, Some("home")).await.unwrap();
    alice.link_is(net.home(), LinkState::Up).await;
    // Spent: for others it is as if it had never been, for her it is a repetition.
    let refused = failure(mallory.try_join(&invite, Some("home")).await);
    assert_eq!(refused.data.as_ref().unwrap().kind, "invite_refused");
    assert_eq!(refused.exit(), 6);
    assert!(mallory.status().await.relays.is_empty());
    alice.try_join(&invite, Some("home")).await.unwrap();
    alice.link_is(net.home(), LinkState::Up).await;
    assert_eq!(alice.status().await.relays.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_that_was_taken_back_is_refused() {
    let net = Net::new().await;
    let alice = net.stranger("alice", |_| ()).await;
    let line = alice.line(net.home()).await;
    let invite = net.home().invite("alice", &line).await;
    let params = admin::NameParams { name: "alice".to_owned() };
    net.home().admin::<admin::invite::Revoke>(params).await;
    assert_eq!(refusal(alice.try_join(&invite, None).await), "invite_refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_device_takes_the_account_over() {
    let net = Net::new().await;
    let alice = net.person("alice").await;
    let laptop = net.stranger("laptop", |_| ()).await;
    let address = net.home().address(&*laptop.line(net.home()).await).await;

    let asked =
        failure(laptop.try_call::<relay::Login>(login(&address, "alice", PASSWORD, false)).await);
    assert_eq!(asked.data.as_ref().unwrap().kind, "needs_replace");
    let wrong = login(&address, "alice", "not her password", true);
    let wrong = failure(laptop.try_call::<relay::Login>(wrong).await);
    assert_eq!(wrong.data.as_ref().unwrap().kind, "wrong_password");
    assert_eq!(wrong.exit(), 6);
    // Nobody learns whether there is such a user.
    let unknown = login(&address, "nobody", PASSWORD, true);
    let unknown = failure(laptop.try_call::<relay::Login>(unknown).await);
    assert_eq!((unknown.code, unknown.message), (wrong.code, wrong.message.clone()));
    alice.link_is(net.home(), LinkState::Up).await;

    laptop.call::<relay::Login>(login(&address, "alice", PASSWORD, true)).await;
    laptop.link_is(net.home(), LinkState::Up).await;
    alice.link_is(net.home(), LinkState::Refused).await;
    alice.restart().await;
    let relays = alice.call::<relay::List>(NoParams {}).await.relays;
    assert_eq!(relays[0].state, LinkState::Refused);
    laptop.restart().await;
    laptop.link_is(net.home(), LinkState::Up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_by_whoever_knows_it() {
    let net = Net::new().await;
    let alice = net.person("alice").await;
    let laptop = net.stranger("laptop", |_| ()).await;
    let address = net.home().address(&*laptop.line(net.home()).await).await;
    let change = |old: &str, new: &str| RelayPasswordParams {
        nick: "home".to_owned(),
        old_password: Secret::new(old.to_owned()),
        password: Secret::new(new.to_owned()),
    };
    let wrong = alice.try_call::<relay::Password>(change("not her password", "another one")).await;
    assert_eq!(refusal(wrong), "wrong_password");
    let short = alice.try_call::<relay::Password>(change(PASSWORD, "short")).await;
    assert_eq!(refusal(short), "bad_password");
    alice.call::<relay::Password>(change(PASSWORD, "another one")).await;
    alice.link_is(net.home(), LinkState::Up).await;

    let old = login(&address, "alice", PASSWORD, true);
    assert_eq!(refusal(laptop.try_call::<relay::Login>(old).await), "wrong_password");
    laptop.call::<relay::Login>(login(&address, "alice", "another one", true)).await;
}

async fn leave(person: &Person, delete: bool) {
    let params = RelayLeaveParams { nick: "home".to_owned(), delete_account: Some(delete) };
    person.call::<relay::Leave>(params).await;
    assert!(person.status().await.relays.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_can_come_back_unless_the_account_is_deleted() {
    let net = Net::new().await;
    let alice = net.person("alice").await;
    leave(&alice, false).await;
    let users = net.home().admin::<admin::user::List>(NoParams {}).await.users;
    assert_eq!(users.len(), 1);
    let address = net.home().address(&*alice.line(net.home()).await).await;
    alice.call::<relay::Login>(login(&address, "alice", PASSWORD, true)).await;
    alice.link_is(net.home(), LinkState::Up).await;

    leave(&alice, true).await;
    let users = net.home().admin::<admin::user::List>(NoParams {}).await.users;
    assert!(users.is_empty(), "{users:?}");
    let again = login(&address, "alice", PASSWORD, true);
    assert_eq!(refusal(alice.try_call::<relay::Login>(again).await), "wrong_password");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_disabled_is_away_until_enabled() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let params = || admin::NameParams { name: "bob".to_owned() };
    net.home().admin::<admin::user::Disable>(params()).await;
    alice.sees("bob", ams_rpc::types::Presence::Offline).await;
    net.home().admin::<admin::user::Enable>(params()).await;
    bob.call::<relay::Connect>(nick("home")).await;
    bob.link_is(net.home(), LinkState::Up).await;
    alice.delivers("bob", "welcome back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_under_another_address_is_the_same_relay() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let elsewhere = bob.line(net.home()).await;
    let address = net.home().address(&elsewhere).await;
    // Over another line, to the same key.
    alice.call::<relay::Login>(login(&address, "alice", PASSWORD, true)).await;
    alice.link_is(net.home(), LinkState::Up).await;
    let relays = alice.call::<relay::List>(NoParams {}).await.relays;
    assert_eq!(relays.len(), 1);
    assert!(relays[0].address.contains(&elsewhere.at().to_string()), "{}", relays[0].address);
    alice.delivers("bob", "hi").await;
}

/// Joined or logged in to again, a relay stays the one that it is; only a name that is given is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_there_is_renamed_if_a_name_is_given() {
    let net = Net::new().await;
    let (_alice, bob) = net.friends("alice", "bob").await;
    bob.call::<relay::Disconnect>(nick("home")).await;
    let via = Some(Via::Through("home".to_owned()));
    let params = SendParams { via, ..SendParams::new("alice", "this way alone") };
    let bound = bob.try_send(params).await.unwrap().id;
    let address = net.home().address(&*bob.line(net.home()).await).await;
    for given in [Some("work"), None] {
        let given = given.map(str::to_owned);
        let params = RelayLoginParams { nick: given, ..login(&address, "bob", PASSWORD, true) };
        assert_eq!(bob.call::<relay::Login>(params).await.name, "work");
        let relays = bob.call::<relay::List>(NoParams {}).await.relays;
        assert_eq!(relays.iter().map(|relay| relay.name.as_str()).collect::<Vec<_>>(), ["work"]);
    }
    // What was to go through it alone still does.
    bob.reaches(bound, Stage::Delivered).await;
    assert_eq!(bob.message(bound).await.only_via, Some(Via::Through("work".to_owned())));
}

/// Alice and Bob know each other over two relays: one contact, two ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_over_two_relays_is_reached_over_either() {
    let net = Net::new().await;
    let work = net.relay("work").await;
    let (alice, bob) = net.friends_over_both(&work, "alice", "bob").await;
    assert_eq!(alice.call::<contact::List>(NoParams {}).await.contacts.len(), 1);
    net.home().stop().await;
    alice.delivers("bob", "over work").await;
    assert_eq!(bob.receives(1).await[0].via.as_deref(), Some("relay:work"));
    net.home().start().await;
    alice.link_is(net.home(), LinkState::Up).await;
    bob.link_is(net.home(), LinkState::Up).await;
    work.stop().await;
    alice.delivers("bob", "over home").await;
    bob.delivers("alice", "and back").await;
    bob.reads(&["over home"]).await;
}

/// Bob is called the same on both, and has another handle on each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_on_two_relays_is_asked_anew_over_either() {
    let net = Net::new().await;
    let work = net.relay("work").await;
    let (alice, bob) = net.friends_over_both(&work, "alice", "bob").await;
    bob.call::<relay::Disconnect>(nick("home")).await;
    alice.add_address("bob@work", None).await.unwrap();
    // The answer is on its way before the first receipt is, so that what follows comes after it.
    for body in ["before or after it", "after it", "and after that"] {
        alice.delivers("bob", body).await;
        bob.delivers("alice", body).await;
    }
    let got = bob.receives(3).await;
    assert!(got.iter().all(|message| message.via.as_deref() == Some("relay:work")), "{got:?}");
}

/// The relay goes back to a backup from before Alice and Carol met. What is older goes on by itself;
/// the two see what is missing, and ask each other again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_restored_from_an_older_backup_goes_on() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let carol = net.person("carol").await;
    alice.delivers("bob", "1").await;
    net.home().stop().await;
    let backup = net.folder().join("backup");
    copy(net.home().data(), &backup);
    net.home().start().await;
    alice.link_is(net.home(), LinkState::Up).await;
    alice.meet(&carol).await;
    alice.delivers("bob", "2").await;
    alice.delivers("carol", "3").await;
    net.home().stop().await;
    std::fs::remove_dir_all(net.home().data()).unwrap();
    copy(&backup, net.home().data());
    net.home().start().await;

    alice.delivers("bob", "4").await;
    bob.delivers("alice", "5").await;
    bob.reads(&["1", "2", "4"]).await;
    let missing = |contact: &Contact| contact.paths[0].state == PathState::Missing;
    alice.contact_shows("carol", "missing", missing).await;
    carol.contact_shows("alice", "missing", missing).await;
    let queued = alice.send("carol", "6").await;
    assert_eq!(alice.message(queued).await.message.state, State::Queued);
    alice.add("carol").await;
    carol.add("alice").await;
    alice.reaches(queued, ams_rpc::types::Stage::Delivered).await;
    carol.delivers("alice", "7").await;
    carol.reads(&["3", "6"]).await;
    assert_eq!(alice.call::<contact::List>(NoParams {}).await.contacts.len(), 2);
}
