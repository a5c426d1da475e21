//! Questions and their answers, and what commands say on stderr beside what they did.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::path::Path;
use std::process::Stdio;

use ams_rpc::methods::{contact, history};
use ams_rpc::types::{ContactParams, HistoryParams, Presence};
use ams_tests::process::{Process, command};
use ams_tests::shell::{self, Operator, User};
use serde_json::Value;

/// Alice and bob, who know each other at a relay.
fn friends(folder: &Path) -> (Operator, (User, Process), (User, Process)) {
    let relay = Operator::start(folder, &[]);
    let [alice, bob] = shell::friends(&relay, folder);
    (relay, alice, bob)
}

/// The id of the question that came in.
fn question(of: &User) -> String {
    let question = of.until("the question", |client| {
        let said = client.call::<history::List>(&HistoryParams::default()).ok()?;
        said.messages.into_iter().find(|message| message.choices.is_some())
    });
    question.id.to_string()
}

#[test]
fn a_question_is_answered_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, _of_alice), (bob, _of_bob)) = friends(folder.path());
    let mut ask = command("amsctl");
    ask.arg("--home").arg(alice.home()).args(["ask", "bob", "Deploy?", "--choices", "yes,no"]);
    let asking = ask.stdout(Stdio::piped()).spawn().unwrap();
    let id = question(&bob);
    // What is no choice is no answer, and talk about it is none either.
    bob.amsctl(&["answer", &id, "perhaps"]).exits(2).says("yes, no");
    bob.amsctl(&["send", "alice", "--reply-to", &id, "a moment"]).exits(0);
    let answered = bob.amsctl(&["answer", &id, "yes"]).exits(0);
    assert_eq!(answered.err, "", "it is not late");
    let asked = asking.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(asked.stdout).unwrap(), "yes\n");
    for again in ["no", "yes"] {
        bob.amsctl(&["answer", &id, again]).exits(6).says("was answered before: yes");
    }
}

#[test]
fn an_answer_that_was_given_up_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut relay, (alice, _of_alice), (bob, _of_bob)) = friends(folder.path());
    alice.amsctl(&["ask", "bob", "Deploy?", "--timeout", "0s"]).exits(12);
    let id = question(&bob);
    relay.process.kill();
    bob.amsctl(&["answer", &id, "1.0"]).exits(0);
    bob.amsctl(&["answer", &id, "1.1"]).exits(6);
    bob.amsctl(&["queue", "discard", "--all"]).exits(0);
    bob.amsctl(&["answer", &id, "1.1"]).exits(0);
}

#[test]
fn choices_are_different() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, _of_alice), _bob) = friends(folder.path());
    let twice = ["ask", "bob", "Deploy?", "--choices", "a,b,a"];
    alice.amsctl(&twice).exits(2).says("the choice `a` is there twice");
    assert_eq!(alice.amsctl(&["history"]).ok(), "", "nothing was asked");
}

#[test]
fn what_can_not_be_known_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, _of_alice), _bob) = friends(folder.path());
    alice.amsctl(&["relay", "disconnect", "home"]).exits(0);
    alice.until("no word of bob", |client| {
        let shown = client.call::<contact::Show>(&ContactParams { name: "bob".to_owned() }).ok()?;
        (shown.presence == Presence::Unknown).then_some(())
    });
    let waited = alice.amsctl(&["wait", "bob", "--online", "--timeout", "0s"]).exits(12);
    waited.says("bob is unknown: the relay home is off: amsctl relay connect home");

    alice
        .amsctl(&["send", "bob", "--key", "", "x"])
        .exits(2)
        .says("name what the message tells of");

    // A script adds --dry-run, and changes nothing else.
    let line = ["send", "bob", "--wait", "read", "--timeout", "1h", "--print-id", "--dry-run", "x"];
    assert!(alice.amsctl(&line).ok().contains("bob"));
    let nobody = ["send", "erin", "--wait", "read", "--print-id", "--dry-run", "x"];
    alice.amsctl(&nobody).exits(7);
    assert_eq!(alice.amsctl(&["queue", "list"]).ok(), "");
}

#[test]
fn what_is_under_way_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, _of_alice), (_bob, of_bob)) = friends(folder.path());
    drop(of_bob);
    let sent = ["send", "bob", "--print-id", "--wait", "sent", "--timeout", "1m", "x"];
    let id = alice.amsctl(&sent).ok();
    let retried = alice.amsctl(&["queue", "retry", &id]).exits(0);
    assert!(retried.out.contains("sent"), "{}", retried.out);
    let said = format!("message {id} is sent and under way already");
    assert!(retried.err.contains(&said), "{}", retried.err);
}

#[test]
fn who_clears_what_nobody_had_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, (alice, _of_alice), (bob, _of_bob)) = friends(folder.path());
    bob.amsctl(&["recv", "--reader", "log"]).exits(0);
    let sends = |text| {
        alice.amsctl(&["send", "bob", "--wait", "delivered", "--timeout", "1m", text]).exits(0);
    };
    sends("one");
    bob.amsctl(&["recv"]).exits(0);
    sends("two");
    bob.amsctl(&["recv", "--reader", "log", "--max", "1"]).exits(0);
    // The first was had by both readers, the second by neither.
    let cleared = bob.amsctl(&["history", "clear", "alice"]).exits(0);
    assert_eq!(cleared.out, "2 removed here\n");
    assert!(cleared.err.contains("1 of them had not been had by a reader"), "{}", cleared.err);

    sends("three");
    for reader in ["default", "log"] {
        bob.amsctl(&["recv", "--reader", reader]).exits(0);
    }
    let cleared: Value =
        serde_json::from_str(&bob.amsctl(&["history", "clear", "alice", "--json"]).ok()).unwrap();
    assert_eq!((&cleared["removed"], &cleared["unread"]), (&1.into(), &0.into()));
}
