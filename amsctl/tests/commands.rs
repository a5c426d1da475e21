//! The other commands: what they call, what they print, how they exit.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod fake;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use fake::{Fake, Reply, amsctl, assert_exit, err, error, out};
use serde_json::{Value, json};

/// Answers everything with `{}`-like results that fit, and tells what was called.
fn called(args: &[&str], stdin: &str) -> (String, Value) {
    let amsd = Fake::start(|_, _| error("not_allowed", 6));
    let output = amsd.run_with(args, stdin.as_bytes());
    assert_exit(&output, 6);
    amsd.calls().remove(0)
}

#[test]
fn commands_call_their_method_with_what_was_typed() {
    const ID: &str = "000102030405060708090a0b0c0d0e0f";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p");
    std::fs::write(&file, "from a file\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, stdin, method, params) in [
        (&["presence", "invisible"][..], "", "presence.set", json!({"presence": "invisible"})),
        (&["reader", "remove", "log"], "", "inbox.forget", json!({"reader": "log"})),
        (
            &["history"],
            "",
            "history.list",
            json!({"contact": null, "search": null, "limit": null, "before": null}),
        ),
        (
            &["history", "alice", "--limit", "3", "--search", "x", "--before", ID],
            "",
            "history.list",
            json!({"contact": "alice", "search": "x", "limit": 3, "before": ID}),
        ),
        (&["history", "clear", "alice"], "", "history.clear", json!({"contact": "alice"})),
        (&["message", "show", ID], "", "message.show", json!({"id": ID, "contact": null})),
        (
            &["message", "delete", ID, "--contact", "a"],
            "",
            "message.delete",
            json!({"id": ID, "contact": "a"}),
        ),
        (
            &["queue", "list", "--to", "a", "--limit", "7"],
            "",
            "queue.list",
            json!({"to": "a", "after": null, "limit": 7}),
        ),
        (
            &["queue", "keep", "--all"],
            "",
            "queue.keep",
            json!({"ids": null, "all": true, "to": null, "after": null}),
        ),
        (
            &["queue", "discard", "--to", "a"],
            "",
            "queue.discard",
            json!({"ids": null, "all": null, "to": "a", "after": null}),
        ),
        (
            &["queue", "retry", ID, ID],
            "",
            "queue.retry",
            json!({"ids": [ID, ID], "all": null, "to": null, "after": null}),
        ),
        (
            &["relay", "join", "L", "--as", "home", "--password-file", "-"],
            "secret\n",
            "relay.join",
            json!({"link": "L", "nick": "home", "password": "secret"}),
        ),
        (
            &["relay", "join", "L", "--password-file", file],
            "",
            "relay.join",
            json!({"link": "L", "nick": null, "password": "from a file"}),
        ),
        (
            &["relay", "login", "L", "--user", "bob", "--replace", "--password-file", "-"],
            "s",
            "relay.login",
            json!({"link": "L", "user": "bob", "nick": null, "replace": true, "password": "s"}),
        ),
        (&["relay", "connect", "home"], "", "relay.connect", json!({"nick": "home"})),
        (&["relay", "disconnect", "home"], "", "relay.disconnect", json!({"nick": "home"})),
        (
            &["peer", "connect", "h:1", "--as", "bob", "--fingerprint", "F"],
            "",
            "peer.connect",
            json!({"address": "h:1", "as": "bob", "fingerprint": "F", "accept_new": null}),
        ),
        (
            &["peer", "connect", "h", "--accept-new"],
            "",
            "peer.connect",
            json!({"address": "h", "as": null, "fingerprint": null, "accept_new": true}),
        ),
        (&["peer", "list"], "", "peer.list", json!({})),
        (&["peer", "disconnect", "bob"], "", "peer.disconnect", json!({"name": "bob"})),
        (&["relay", "resume", "home"], "", "relay.resume", json!({"nick": "home"})),
        (
            &["relay", "leave", "home", "--delete-account"],
            "",
            "relay.leave",
            json!({"nick": "home", "delete_account": true}),
        ),
        (
            &["relay", "password", "home", "--old-password-file", "-", "--password-file", file],
            "old",
            "relay.password",
            json!({"nick": "home", "old_password": "old", "password": "from a file"}),
        ),
        (
            &["contact", "add", "bob@home", "--as", "rob"],
            "",
            "contact.add",
            json!({"address": "bob@home", "as": "rob"}),
        ),
        (&["contact", "accept", "bob"], "", "contact.accept", json!({"name": "bob", "as": null})),
        (&["contact", "reject", "bob"], "", "contact.reject", json!({"name": "bob"})),
        (&["contact", "block", "bob"], "", "contact.block", json!({"name": "bob"})),
        (&["contact", "unblock", "bob"], "", "contact.unblock", json!({"name": "bob"})),
        (&["contact", "remove", "bob"], "", "contact.remove", json!({"name": "bob"})),
        (
            &["contact", "rename", "bob", "rob"],
            "",
            "contact.rename",
            json!({"name": "bob", "new": "rob"}),
        ),
        (
            &["contact", "verify", "bob"],
            "",
            "contact.verify",
            json!({"name": "bob", "confirm": null}),
        ),
        (
            &["events", "--since", "9", "--type", "relay.up"],
            "",
            "events.subscribe",
            json!({"since": "9", "types": ["relay.up"]}),
        ),
        (&["call", "a.b", "{\"x\":\n1}"], "", "a.b", json!({"x": 1})),
        (&["call", "a.b", "-"], "{\"x\":2}", "a.b", json!({"x": 2})),
        (&["call", "a.b"], "", "a.b", json!({})),
    ] {
        assert_eq!(called(args, stdin), (method.to_owned(), params), "{args:?}");
    }
}

#[test]
fn wrong_usage_is_exit_2_and_calls_nobody() {
    let amsd = Fake::start(|_, _| error("not_allowed", 6));
    for args in [
        &["frobnicate"][..],
        &["presence", "maybe"],
        &["queue", "retry"],
        &["queue", "retry", "--all", "--to", "a"],
        &["queue", "retry", "xyz"],
        &["message", "wait", "000102030405060708090a0b0c0d0e0f"],
        &["relay", "join", "L"],
        &["relay", "login", "L", "--user", "bob"],
        &["relay", "join", "L", "--password-file", "/nowhere/p"],
        &["relay", "join", "L", "--password-file", "-"],
        &["relay", "password", "home", "--old-password-file", "-", "--password-file", "-"],
        &["relay", "join", "L", "--password", "secret"],
        &["contact", "verify", "bob", "--confirm", "1234"],
        &["events", "--type", "nothing"],
        &["call", "a.b", "{"],
        &["ask", "bob", "well?", "--choices", ","],
    ] {
        let refused = amsd.run(args);
        assert_exit(&refused, 2);
        assert!(!err(&refused).is_empty(), "{args:?}");
    }
    assert!(amsd.calls().is_empty());
}

#[test]
fn results_come_as_they_are_with_json_and_harmless_without() {
    let contact = json!({
        "id": "c", "name": "bob\u{202e}", "address": "bob@home", "state": "active",
        "presence": "online", "verified": false, "verified_by": null, "fingerprint": "f",
        "offered_fingerprint": null, "new_field": 1,
        "paths": [{"kind": "relay", "name": "home", "active": true, "state": "up", "since": null, "reason": null}]
    });
    let answer = json!({"contacts": [contact]});
    let amsd = Fake::start(move |_, _| Reply::Result(answer.clone()));
    let shown = amsd.run(&["contact", "list"]);
    assert_exit(&shown, 0);
    assert_eq!(out(&shown), "bob\\u{202e}  active  online  unverified  bob@home\n");
    let shown = amsd.run(&["--json", "contact", "list"]);
    let whole: Value = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!(whole["contacts"][0]["new_field"], 1);
}

fn status(listen: &Value) -> Value {
    json!({
        "version": "0.1.0", "pid": 7, "started": "2026-11-24T10:45:00.000Z", "home": "/h",
        "fingerprint": "abcd", "presence": "visible", "listen": listen, "peers": [], "hooks": [],
        "relays": [{"name": "home", "address": "ams://x", "user": "bob", "state": "down",
            "since": "2026-11-24T10:46:00.000Z", "reason": "no route"}],
        "queue": {"queued": 1, "sent": 0, "undelivered": 2, "waiting": 0},
        "inbox": {"kept": 5}, "warnings": ["the disk is nearly full"]
    })
}

#[test]
fn status_for_people() {
    let amsd = Fake::start(|_, _| Reply::Result(status(&json!([]))));
    let shown = out(&amsd.run(&["status"]));
    for part in [
        "amsd 0.1.0, running since 2026-11-24T10:45:00Z (pid 7), visible",
        "  home  down  bob  since 2026-11-24T10:46:00Z  no route",
        "1 queued, 0 sent, 2 undelivered, 0 waiting",
        "warning: the disk is nearly full",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    // Notes are for terminals alone.
    let shown = amsd.run(&["contact", "list"]);
    assert!(!err(&shown).contains("undelivered:"));
}

#[test]
fn an_account_with_another_device_needs_a_word() {
    let amsd = Fake::start(|_, _| error("needs_replace", 6));
    let refused =
        amsd.run_with(&["relay", "login", "L", "--user", "bob", "--password-file", "-"], b"secret");
    assert_exit(&refused, 6);
    assert_eq!(amsd.calls().len(), 1, "nobody is asked without a terminal");
}

#[test]
fn help_goes_by_example_and_needs_no_daemon() {
    for args in [&["--help"][..], &["send", "--help"], &["relay", "join", "--help"]] {
        let shown = amsctl().args(args).output().unwrap();
        assert_exit(&shown, 0);
        assert!(out(&shown).contains("Example"), "{args:?}");
    }
    assert_exit(&amsctl().arg("--version").output().unwrap(), 0);
}

#[test]
fn a_wait_for_a_contact_exits_as_the_daemon_says() {
    for (presence, reached, exit) in [("online", true, 0), ("offline", false, 12)] {
        let result = json!({"name": "bob", "presence": presence, "reached": reached, "exit": exit});
        let amsd = Fake::start(move |_, _| Reply::Result(result.clone()));
        let waited = amsd.run(&["wait", "bob", "--online", "--timeout", "20s"]);
        assert_exit(&waited, exit);
        assert_eq!(err(&waited).contains("bob is offline"), exit == 12, "{}", err(&waited));
        let (method, params) = amsd.calls().remove(0);
        assert_eq!((method.as_str(), &params["for"]), ("contact.wait", &json!("online")));
    }
    assert_exit(&amsctl().args(["wait", "bob"]).output().unwrap(), 2);
}

fn pinged(via: &Value) -> Reply {
    let (took, exit) = if via.is_null() { (json!(null), 12) } else { (json!(1205), 0) };
    Reply::Result(json!({"name": "bob", "via": via, "microseconds": took, "exit": exit}))
}

/// The name that was asked for is not the contact's; that is said, and what gives it one.
#[test]
fn somebody_who_is_added_again_keeps_the_name() {
    let added = json!({"id": "c1", "name": "bob", "state": "active"});
    let amsd = Fake::start(move |_, _| Reply::Result(added.clone()));
    let shown = amsd.run(&["contact", "add", "ams://x", "--as", "robert"]);
    assert_exit(&shown, 0);
    assert!(out(&shown).contains("bob"), "{}", out(&shown));
    assert!(err(&shown).contains("bob is a contact already"), "{}", err(&shown));
    assert!(err(&shown).contains("amsctl contact rename bob robert"), "{}", err(&shown));
    assert_eq!(err(&amsd.run(&["contact", "add", "ams://x", "--as", "bob"])), "");
}

#[test]
fn a_ping_exits_as_the_daemon_says() {
    for (via, exit) in [(json!("relay:home"), 0), (json!(null), 12)] {
        let answer = via.clone();
        let amsd = Fake::start(move |_, _| pinged(&answer));
        let shown = amsd.run(&["ping", "bob", "--timeout", "20s"]);
        assert_exit(&shown, exit);
        assert_eq!(out(&shown) == "bob: 1.205 ms, relay:home\n", exit == 0, "{}", out(&shown));
        assert_eq!(err(&shown).contains("did not answer within 20s"), exit == 12);
        assert_eq!(amsd.calls().len(), 1);
    }
    let amsd = Fake::start(|_, _| error("not_reachable", 3));
    assert_exit(&amsd.run(&["ping", "bob"]), 3);
}

#[test]
fn one_answer_of_several_pings_is_enough() {
    let answers = || [pinged(&json!("direct")), error("not_reachable", 3), pinged(&json!(null))];
    let mut told = answers().into_iter();
    let amsd = Fake::start(move |_, _| told.next().unwrap());
    let shown = amsd.run(&["ping", "bob", "--count", "3"]);
    assert_exit(&shown, 0);
    assert_eq!(
        out(&shown),
        "bob: 1.205 ms, direct\nbob: 3 sent, 1 answered, min/avg/max 1.205/1.205/1.205 ms\n"
    );
    assert_eq!(err(&shown).matches("message of not_reachable").count(), 1, "{}", err(&shown));
    assert!(err(&shown).contains("bob did not answer within 5s"), "{}", err(&shown));
    let mut told = answers().into_iter();
    let amsd = Fake::start(move |_, _| told.next().unwrap());
    let shown = amsd.run(&["ping", "bob", "--count", "3", "--json"]);
    assert_exit(&shown, 0);
    assert_eq!(out(&shown).lines().count(), 2, "{}", out(&shown));
}

#[test]
fn pings_without_an_answer_exit_as_the_last_one() {
    let silent = || pinged(&json!(null));
    for (answers, exit) in
        [([silent(), error("not_reachable", 3)], 3), ([error("not_reachable", 3), silent()], 12)]
    {
        let mut answers = answers.into_iter();
        let amsd = Fake::start(move |_, _| answers.next().unwrap());
        let shown = amsd.run(&["ping", "bob", "--count", "2"]);
        assert_exit(&shown, exit);
        assert_eq!(out(&shown), "bob: 2 sent, 0 answered\n");
    }
    // What does not change within seconds is said once.
    let amsd = Fake::start(|_, _| error("no_such_contact", 7));
    assert_exit(&amsd.run(&["ping", "bob", "--count", "2"]), 7);
    assert_eq!(amsd.calls().len(), 1);
}

#[test]
fn an_id_without_a_peer_link_says_why_there_is_none() {
    let shown = |listen: Value, links: Value| {
        let amsd = Fake::start(move |method, _| match method {
            "identity.show" => Reply::Result(
                json!({"fingerprint": "abcd", "accounts": [], "peer_links": links.clone()}),
            ),
            "daemon.status" => Reply::Result(status(&listen)),
            _ => panic!("{method} was called"),
        });
        let shown = amsd.run(&["id"]);
        assert_exit(&shown, 0);
        assert!(!out(&shown).contains("listen"), "{}", out(&shown));
        err(&shown)
    };
    let said = shown(json!([]), json!([]));
    assert!(said.contains("does not listen") && said.contains("listen = ["), "{said}");
    let said = shown(json!(["0.0.0.0:7310"]), json!([]));
    assert!(said.contains("0.0.0.0:7310") && said.contains("public_address = ["), "{said}");
    assert_eq!(shown(json!(["192.0.2.7:7310"]), json!(["ams://192.0.2.7:7310/peer#x"])), "");
}

#[test]
fn until_direct_goes_on_until_an_answer_came_directly() {
    let answers =
        [error("not_reachable", 3), pinged(&json!("relay:home")), pinged(&json!("direct"))];
    let mut answers = answers.into_iter();
    let amsd = Fake::start(move |_, _| answers.next().unwrap());
    let shown = amsd.run(&["ping", "bob", "--until-direct"]);
    assert_exit(&shown, 0);
    assert_eq!(out(&shown), "bob: 1.205 ms, relay:home\nbob: 1.205 ms, direct\n");
    for (_, params) in amsd.calls() {
        assert_eq!(params["hurry_direct"], json!(true));
    }
    let amsd = Fake::start(|_, _| pinged(&json!("relay:home")));
    let shown = amsd.run(&["ping", "bob", "--until-direct", "--count", "1"]);
    assert_exit(&shown, 12);
    assert!(err(&shown).contains("did not answer directly"), "{}", err(&shown));
}

#[test]
fn a_dry_run_sends_nothing() {
    let would = json!({
        "to": "bob", "verified": false, "presence": "offline", "via": null, "waits": true,
        "known": false, "size": 2, "max_size": 47104, "exit": 0
    });
    let amsd = Fake::start(move |method, params| match method {
        "message.check" if params["to"] == "bob" => {
            let mut would = would.clone();
            would["reason"] = params["via"].as_str().map(|_| "goes directly only").into();
            if params["title"].is_string() {
                would["waits"] = json!(false);
            }
            Reply::Result(would)
        }
        "message.check" => error("not_approved", 6),
        _ => panic!("{method} was called"),
    });
    let shown = amsd.run(&["send", "bob", "--dry-run", "--key", "k", "hi"]);
    assert_exit(&shown, 0);
    assert!(out(&shown).contains("would wait here: no path is up"), "{}", out(&shown));
    let (_, params) = amsd.calls().remove(0);
    assert_eq!((&params["body"], &params["key"]), (&json!("hi"), &json!("k")));
    let shown = amsd.run(&["send", "bob", "--dry-run", "--via", "direct", "hi"]);
    assert_exit(&shown, 0);
    assert!(out(&shown).contains("would wait here: it goes directly only"), "{}", out(&shown));
    // A socket that may only send does not tell of ways.
    let shown = amsd.run(&["send", "bob", "--dry-run", "--title", "of a script", "hi"]);
    assert_exit(&shown, 0);
    assert!(out(&shown).contains("this socket does not tell"), "{}", out(&shown));
    // The highest exit code, as of sending.
    let both = ["send", "--to", "bob", "--to", "carol", "--dry-run", "--json", "hi"];
    let both = amsd.run(&both);
    assert_exit(&both, 6);
    assert_eq!(out(&both).lines().count(), 2);
    // A script adds the option to the line that it has.
    let line =
        ["send", "bob", "--dry-run", "--wait", "sent", "--timeout", "1m", "--print-id", "hi"];
    let tried = amsd.run(&line);
    assert_exit(&tried, 0);
    assert!(out(&tried).starts_with("to "), "{}", out(&tried));
    assert!(amsd.calls().iter().all(|(method, _)| method == "message.check"));
}

/// Whoever waits is told what for. (The daemon of this test waits until it was said.)
#[test]
fn what_takes_long_is_told_on_stderr() {
    let (say, said) = std::sync::mpsc::channel::<()>();
    let amsd = Fake::start(move |_, _| {
        said.recv().unwrap();
        Reply::Result(json!({
            "name": "home", "address": "ams://x", "user": "bob", "state": "up", "since": null,
            "reason": null
        }))
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p");
    std::fs::write(&file, "long enough").unwrap();
    let mut joining = amsctl();
    joining.arg("--home").arg(amsd.home()).args(["relay", "join", "L", "--password-file"]);
    joining.arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = joining.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "amsctl: making keys from the password and asking the relay …\n");
    say.send(()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_exit(&done, 0);
    assert_eq!(out(&done), "home  up  bob\n");
}

/// How long somebody waits for an answer, no message says; that nobody may, is said.
#[test]
fn an_answer_to_an_old_question_is_sent_and_said_to_be_late() {
    const ID: &str = "000102030405060708090a0b0c0d0e0f";
    let amsd = Fake::start(|method, _| match method {
        "message.answer" => Reply::Result(json!({
            "id": ID, "state": "queued", "reached": true, "exit": 0
        })),
        "message.show" => Reply::Result(json!({"messages": [{
            "id": ID, "contact": "bob", "contact_id": "1", "direction": "in", "from": "bob",
            "to": "me", "body": "Deploy?", "state": "read", "verified": true, "via": null,
            "time_sent": "2026-11-24T10:45:00.000Z", "time_received": "2026-11-24T10:45:00.000Z",
            "reply_to": null, "title": null, "priority": null, "tags": [], "choices": ["yes"],
            "steps": [], "if_undelivered": null, "expires": null, "key": null, "only_via": null
        }]})),
        _ => error("not_allowed", 6),
    });
    let answered = amsd.run(&["answer", ID, "yes"]);
    assert_exit(&answered, 0);
    let said = "bob asked at 2026-11-24T10:45:00.000Z and may not wait any more";
    assert!(err(&answered).contains(said), "{}", err(&answered));
}

/// Without a cursor nobody can say what was lost meanwhile, so it is said that something may be.
#[test]
fn events_that_may_be_missing_are_mentioned() {
    for (arguments, missing) in [(&["events"][..], true), (&["events", "--since", "9"], false)] {
        let mut times = 2;
        let amsd = Fake::start(move |_, _| {
            times -= 1;
            if times >= 0 { Reply::Last(json!("s")) } else { error("bad_value", 2) }
        });
        let followed = amsd.run(arguments);
        assert_eq!(err(&followed).contains("may be missing"), missing, "{}", err(&followed));
    }
}
