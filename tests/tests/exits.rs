//! How `send --wait` and `message wait` of the real programs end: every exit code of the table, and
//! a daemon that goes away in the middle of the wait.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::path::Path;
use std::process::{Child, Stdio};

use ams_rpc::methods::{contact, queue};
use ams_rpc::types::{ContactParams, ContactState, QueueListParams, State};
use ams_tests::process::{Process, command};
use ams_tests::shell::{self, Operator, PASSWORD, User};
use serde_json::Value;

/// Alice and bob, who know each other at a relay that tries for so long.
fn friends(folder: &Path, window: &str) -> (Operator, (User, Process), (User, Process)) {
    let relay = Operator::start_trying(folder, window);
    let [alice, bob] = shell::friends(&relay, folder);
    (relay, alice, bob)
}

/// Types `amsctl …` and lets it run.
fn begins(user: &User, arguments: &[&str]) -> Child {
    let mut amsctl = command("amsctl");
    amsctl.arg("--home").arg(user.home()).args(arguments);
    amsctl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How it ended: its exit code and what it wrote.
fn ends(child: Child) -> (Option<i32>, String, String) {
    let ended = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

/// Until so many messages of this user's are with the relay.
fn until_sent(user: &User, count: usize) {
    user.until("sent messages", |client| {
        let page = client.call::<queue::List>(&QueueListParams::default()).ok()?;
        let sent = page.messages.iter().filter(|queued| queued.message.state == State::Sent);
        (sent.count() == count).then_some(())
    });
}

#[test]
fn every_code_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let (mut relay, (alice, mut of_alice), (bob, of_bob)) = friends(folder.path(), "1s");

    // 0: the stage was reached. 10: delivered, and not read in time.
    alice.amsctl(&["send", "bob", "--wait", "sent", "hi"]).exits(0);
    alice.amsctl(&["send", "bob", "--wait", "delivered", "hi"]).exits(0);
    let unread = ["send", "bob", "--wait", "read", "--timeout", "100ms", "hi"];
    alice.amsctl(&unread).exits(10).says("is delivered");
    bob.amsctl(&["recv"]).exits(0);
    alice.amsctl(&["send", "bob", "--wait", "delivered", "--timeout", "60s", "hi"]).exits(0);

    // 6: not approved. 7: nobody.
    alice.amsctl(&["contact", "add", "carol@home"]).exits(0);
    alice.amsctl(&["send", "carol", "--wait", "delivered", "hi"]).exits(6).says("not approved");
    alice.amsctl(&["send", "nobody", "--wait", "delivered", "hi"]).exits(7).says("nobody");

    // 9: nobody took it in time. The line says what can be done, with the id.
    drop(of_bob);
    let undelivered = alice.amsctl(&["send", "bob", "--wait", "delivered", "hi"]).exits(9);
    assert!(undelivered.err.contains("amsctl queue retry "), "{}", undelivered.err);
    let id = undelivered.err.split_whitespace().find(|word| word.len() == 32).unwrap();
    let wait = ["message", "wait", id, "--for", "delivered"];
    alice.amsctl(&wait).exits(9);

    // 8: kept, which ends a wait without an end of its own.
    alice.amsctl(&["queue", "keep", id]).exits(0);
    alice.amsctl(&wait).exits(8).says("comes online");
    // 9: discarded; and nothing is to be decided about it then.
    alice.amsctl(&["queue", "discard", id]).exits(0);
    alice.amsctl(&wait).exits(9);
    alice.amsctl(&["queue", "retry", id]).exits(6).says("is discarded");

    // 8: queued, because the relay is away.
    relay.process.kill();
    let queued = ["send", "bob", "--wait", "sent", "--timeout", "100ms", "hi"];
    alice.amsctl(&queued).exits(8).says("is queued");
    relay.process.start();

    // 4: somebody shows another key in bob's place.
    alice.amsctl(&["relay", "connect", "home"]).exits(0);
    let mallory = User::new(&folder.path().join("mallory"));
    let _of_mallory = mallory.starts_daemon();
    let address = relay.types(&["address"]).ok();
    let login = ["relay", "login", &address, "--user", "bob", "--replace", "--password-file", "-"];
    mallory.amsctl_with(&login, PASSWORD).exits(0);
    alice.until("a changed key", |client| {
        let shown = client.call::<contact::Show>(&ContactParams { name: "bob".into() }).ok()?;
        (shown.state == ContactState::KeyChanged).then_some(())
    });
    alice.amsctl(&["send", "bob", "--wait", "delivered", "hi"]).exits(4).says("changed");
    alice.amsctl(&["contact", "trust", "bob", "another"]).exits(4).says("not the fingerprint");
    let shown = alice.amsctl(&["contact", "show", "bob", "--json"]).ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let offered = shown["offered_fingerprint"].as_str().unwrap();
    alice.amsctl(&["contact", "trust", "bob", offered]).exits(0);
    alice.amsctl(&["send", "bob", "--wait", "delivered", "--timeout", "60s", "hi"]).exits(0);

    // 11: no daemon.
    of_alice.kill();
    alice.amsctl(&["send", "bob", "--wait", "delivered", "hi"]).exits(11).says("--daemon");
}

/// It goes on waiting for the same message, however the daemon went.
#[test]
fn a_wait_goes_on_across_restarts_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, mut of_alice), (bob, mut of_bob)) = friends(folder.path(), "60s");
    of_bob.kill();
    let wait = ["--wait", "delivered", "--timeout", "120s"];
    let send = |more: &[&str]| begins(&alice, &[&["send", "bob"], &wait[..], more].concat());
    // One waits in its own call, the other in a second one.
    let waiting = [send(&["--json", "one"]), send(&["--print-id", "two"])];
    until_sent(&alice, 2);
    of_alice.kill();
    of_alice.start();
    until_sent(&alice, 2);
    // And in order.
    alice.amsctl(&["stop"]).exits(0);
    of_alice.wait();
    of_alice.start();
    of_bob.start();
    let [one, two] = waiting.map(ends);
    assert_eq!((one.0, one.2.as_str()), (Some(0), ""));
    let result: Value = serde_json::from_str(&one.1).unwrap();
    assert_eq!((&result["state"], &result["reached"]), (&"delivered".into(), &true.into()));
    assert_eq!((two.0, two.1.trim_end().len(), two.2.as_str()), (Some(0), 32, ""));
    let got = bob.amsctl(&["recv", "--json"]).ok();
    let mut bodies: Vec<Value> = got
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["body"].clone())
        .collect();
    bodies.sort_by_key(Value::to_string);
    assert_eq!(bodies, ["one", "two"], "each once");
}

/// A daemon that does not come back ends the wait, with the id for whoever asks later.
#[test]
fn a_daemon_that_stays_away_is_told_with_the_id() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, mut of_alice), (bob, mut of_bob)) = friends(folder.path(), "60s");
    of_bob.kill();
    let waiting = begins(&alice, &["send", "bob", "--wait", "delivered", "--timeout", "3s", "hi"]);
    until_sent(&alice, 1);
    of_alice.kill();
    let (exit, out, err) = ends(waiting);
    assert_eq!((exit, out.as_str()), (Some(11), ""), "{err}");
    assert!(err.contains("did not come back"), "{err}");
    let id = err.split_whitespace().find(|word| word.len() == 32).unwrap();
    of_alice.start();
    of_bob.start();
    let wait = ["message", "wait", id, "--for", "delivered", "--timeout", "60s"];
    alice.amsctl(&wait).exits(0);
    assert_eq!(bob.amsctl(&["recv"]).ok().lines().count(), 1);
}

/// A daemon that is there and says nothing holds no command up for good, and a message that may have been
/// accepted is named.
#[test]
fn a_daemon_that_does_not_answer_is_told_with_the_id() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, of_alice), (bob, _of_bob)) = friends(folder.path(), "60s");
    of_alice.pauses();
    let send = |more: &[&str]| begins(&alice, &[&["send", "bob"], more].concat());
    let sending = [
        send(&["one"]),
        send(&["--print-id", "--wait", "delivered", "--timeout", "1s", "two"]),
        send(&["--wait", "delivered", "--timeout", "1s", "three"]),
        send(&["--wait", "delivered", "four"]),
    ];
    let (looking, checking) = (begins(&alice, &["status"]), begins(&alice, &["doctor"]));
    let (exit, out, err) = ends(looking);
    assert_eq!((exit, out.as_str()), (Some(11), ""), "{err}");
    assert!(err.contains("is there and does not answer"), "{err}");
    // It has the profile, so nobody else looks at that.
    let (exit, out, _) = ends(checking);
    assert!(exit != Some(0) && out.contains("does not answer"), "{out}");
    assert!(!out.contains("amsd --check"), "{out}");
    let ids = sending.map(|sending| {
        let (exit, out, err) = ends(sending);
        assert_eq!((exit, out.as_str()), (Some(11), ""), "{err}");
        assert!(err.contains("is there and does not answer"), "{err}");
        err.split_whitespace().find(|word| word.len() == 32).unwrap().to_owned()
    });
    of_alice.goes_on();
    // Whether it was accepted or not, the same id again sends nothing twice.
    for (id, text) in ids.iter().zip(["one", "two", "three", "four"]) {
        let again = ["send", "bob", "--id", id, "--wait", "delivered", "--timeout", "60s", text];
        alice.amsctl(&again).exits(0);
    }
    assert_eq!(bob.amsctl(&["recv"]).ok().lines().count(), 4);
}

/// Each of several has its id, also those that were not waited for yet: all were accepted.
#[test]
fn a_daemon_that_stays_away_is_told_with_the_id_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start_trying(folder.path(), "60s");
    let [(alice, mut of_alice), (_bob, mut of_bob)] = shell::friends(&relay, folder.path());
    let carol = User::new(&folder.path().join("carol"));
    let mut of_carol = carol.starts_daemon();
    carol.joins(&relay.invites("carol")).exits(0);
    alice.meets("alice", &carol, "carol");
    of_bob.kill();
    of_carol.kill();
    let to = ["send", "--to", "bob", "--to", "carol"];
    let waiting = begins(&alice, &[&to[..], &["--wait", "delivered", "hi"]].concat());
    until_sent(&alice, 2);
    of_alice.kill();
    let (exit, out, err) = ends(waiting);
    assert_eq!((exit, out.as_str()), (Some(11), ""), "{err}");
    let ids: Vec<_> = err.split_whitespace().filter(|word| word.len() == 32).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{err}");
    of_alice.start();
    for id in ids {
        alice.amsctl(&["message", "show", id]).exits(0);
    }
}
