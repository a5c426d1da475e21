//! `amsctl send` and its exit codes, the real program against a daemon that says what it is told.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod fake;

use fake::{Fake, Reply, amsctl, assert_exit, err, error, out};
use serde_json::{Value, json};

const ID: &str = "000102030405060708090a0b0c0d0e0f";

fn result(params: &Value, state: &str, reached: bool, exit: u8) -> Reply {
    Reply::Result(json!({"id": params["id"], "state": state, "reached": reached, "exit": exit}))
}

fn accepting() -> Fake {
    Fake::start(|_, params| result(params, "queued", true, 0))
}

#[test]
fn a_message_is_sent_silently_with_an_id_of_its_own() {
    let amsd = accepting();
    let sent = amsd.run(&["send", "alice", "backup", "finished"]);
    assert_exit(&sent, 0);
    assert_eq!(out(&sent) + &err(&sent), "");
    let calls = amsd.calls();
    let (method, params) = calls.first().unwrap();
    assert_eq!(calls.len(), 1, "one round trip");
    assert_eq!(method, "message.send");
    assert_eq!(params["to"], "alice");
    assert_eq!(params["body"], "backup finished");
    assert_eq!(params["id"].as_str().unwrap().len(), 32);
}

#[test]
fn where_the_text_comes_from() {
    let amsd = accepting();
    for (args, stdin, body) in [
        (&["send", "alice"][..], "df\n-h\n\n", "df\n-h\n"),
        (&["send", "alice", "-"], "piped", "piped"),
        (&["send", "alice", "--", "-5", "degrees"], "", "-5 degrees"),
        (&["send", "alice", "--title", "t", "one", "two"], "", "one two"),
        (&["send", "--to", "alice", "all", "of", "it"], "", "all of it"),
    ] {
        assert_exit(&amsd.run_with(args, stdin.as_bytes()), 0);
        assert_eq!(amsd.calls().first().unwrap().1["body"], body);
    }
}

#[test]
fn what_cannot_be_sent_is_usage_and_calls_nobody() {
    let amsd = accepting();
    let long = "x".repeat(46 * 1024 + 1);
    for (args, stdin) in [
        (&["send"][..], &b""[..]),
        (&["send", "alice"], b""),
        (&["send", "alice"], b"\n"),
        (&["send", "alice"], b"\xff\xfe"),
        (&["send", "alice"], long.as_bytes()),
        (&["send", "alice", ""], b""),
        (&["send", "alice", "hi", "--wait", "soon"], b""),
        (&["send", "alice", "hi", "--timeout", "1s"], b""),
        (&["send", "alice", "hi", "--wait", "sent", "--timeout", "soon"], b""),
        (&["send", "alice", "hi", "--id", "0102"], b""),
        (&["send", "alice", "hi", "--priority", "6"], b""),
        (&["send", "--to", "alice", "--to", "bob", "--id", ID, "hi"], b""),
    ] {
        let refused = amsd.run_with(args, stdin);
        assert_exit(&refused, 2);
        assert!(!err(&refused).is_empty());
        assert_eq!(out(&refused), "");
    }
    assert!(amsd.calls().is_empty());
}

#[test]
fn results_and_ids_are_printed_when_asked_for() {
    let amsd = accepting();
    let sent = amsd.run(&["send", "alice", "hi", "--id", ID, "--json"]);
    let result: Value = serde_json::from_str(&out(&sent)).unwrap();
    assert_eq!(result, json!({"id": ID, "state": "queued", "reached": true, "exit": 0}));
    let sent = amsd.run(&["send", "alice", "hi", "--id", ID, "--print-id"]);
    assert_eq!(out(&sent), format!("{ID}\n"));
}

#[test]
fn what_is_wanted_of_a_message_is_said_to_the_daemon() {
    let amsd = accepting();
    let wanted =
        ["--if-undelivered", "keep", "--ttl", "2h", "--key", "load", "--via", "relay:home"];
    let sent = amsd.run(&[&["send", "alice", "hi"][..], &wanted].concat());
    assert_exit(&sent, 0);
    let (_, params) = amsd.calls().remove(0);
    assert_eq!(params["if_undelivered"], "keep");
    assert_eq!(params["ttl"], "2h");
    assert_eq!(params["key"], "load");
    assert_eq!(params["via"], "relay:home");
    for wrong in
        [["--if-undelivered", "maybe"], ["--ttl", "soon"], ["--via", "pigeon"], ["--via", "relay:"]]
    {
        assert_exit(&amsd.run(&[&["send", "alice", "hi"][..], &wrong].concat()), 2);
    }
    assert!(amsd.calls().is_empty());
}

#[test]
fn a_wait_exits_as_the_daemon_says() {
    for (state, reached, exit) in [
        ("delivered", true, 0),
        ("undelivered", false, 9),
        ("queued", false, 8),
        ("sent", false, 10),
    ] {
        let amsd = Fake::start(move |_, params| result(params, state, reached, exit));
        let waited = amsd.run(&["send", "alice", "hi", "--wait", "delivered", "--timeout", "30s"]);
        assert_exit(&waited, exit.into());
        assert_eq!(err(&waited).contains(state), !reached, "{}", err(&waited));
        let calls = amsd.calls();
        let (_, params) = calls.first().unwrap();
        assert_eq!(params["wait"], "delivered");
        assert!(params["timeout"].as_str().unwrap().starts_with("2") || params["timeout"] == "30s");
    }
}

/// Whoever waits hears that the message does not go on by itself, and what to do.
#[test]
fn a_wait_that_a_changed_key_ended_names_the_key() {
    let amsd = Fake::start(|_, params| result(params, "sent", false, 4));
    let sent = amsd.run(&["send", "alice", "hi", "--wait", "delivered"]);
    assert_exit(&sent, 4);
    assert!(err(&sent).contains("key changed"), "{}", err(&sent));
    let (trust, verify) = ("amsctl contact trust alice FINGERPRINT", "amsctl contact verify alice");
    assert!(err(&sent).find(trust) < err(&sent).find(verify), "{}", err(&sent));
    assert!(err(&sent).contains(trust), "{}", err(&sent));
    assert!(!err(&sent).contains("by itself"), "{}", err(&sent));
}

/// Nothing goes by itself to whom the relay knows no longer.
#[test]
fn a_wait_for_a_contact_that_the_relay_forgot_says_what_mends_it() {
    for (other, mends) in [("missing", true), ("down", false)] {
        let path = |name, state| {
            json!({
                "kind": "relay", "name": name, "active": false, "state": state, "since": null,
                "reason": null
            })
        };
        let paths = [path("home", "missing"), path("office", other)];
        let amsd = Fake::start(move |method, params| match method {
            "contact.show" => Reply::Result(json!({
                "id": "1", "name": "bob", "address": "bob@home", "state": "active",
                "presence": "unknown", "verified": false, "verified_by": null, "fingerprint": null,
                "offered_fingerprint": null, "paths": paths
            })),
            _ => result(params, "queued", false, 8),
        });
        let sent = amsd.run(&["send", "bob", "hi", "--wait", "sent", "--timeout", "1s"]);
        assert_exit(&sent, 8);
        assert_eq!(err(&sent).contains("amsctl contact add bob@home"), mends, "{}", err(&sent));
        assert_eq!(err(&sent).contains("by itself"), !mends, "{}", err(&sent));
    }
}

#[test]
fn an_id_is_printed_before_the_wait() {
    let amsd = Fake::start(|method, params| match method {
        "message.send" => {
            assert_eq!(params["wait"], Value::Null);
            result(params, "queued", true, 0)
        }
        _ => {
            assert_eq!((method, &params["for"]), ("message.wait", &json!("read")));
            result(params, "expired", false, 9)
        }
    });
    let waited = amsd.run(&["send", "alice", "hi", "--wait", "read", "--print-id", "--id", ID]);
    assert_exit(&waited, 9);
    assert_eq!(out(&waited), format!("{ID}\n"));
}

#[test]
fn errors_keep_their_code_sentence_and_hint() {
    for (kind, exit) in [("not_approved", 6), ("no_such_contact", 7), ("key_changed", 4)] {
        let amsd = Fake::start(move |_, _| error(kind, exit));
        let refused = amsd.run(&["send", "alice", "hi"]);
        assert_exit(&refused, exit.into());
        assert_eq!(err(&refused), format!("amsctl: message of {kind}\n  hint of {kind}\n"));
    }
}

#[test]
fn several_recipients_get_a_message_each_and_the_highest_code_counts() {
    let amsd = Fake::start(|_, params| match params["to"].as_str() {
        Some("bob") => error("not_approved", 6),
        _ => result(params, "queued", true, 0),
    });
    let sent = amsd.run(&["send", "--to", "alice", "--to", "bob", "--to", "carol", "hi", "--json"]);
    assert_exit(&sent, 6);
    let mut lines: Vec<Value> =
        out(&sent).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["to"].to_string());
    let calls = amsd.calls();
    let ids: std::collections::HashSet<String> =
        calls.iter().map(|(_, params)| params["id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    // A line for each, also for the one that was refused.
    for (line, (_, params)) in lines.iter().zip(&calls) {
        assert_eq!((&line["to"], &line["id"]), (&params["to"], &params["id"]));
        let refused = line["to"] == "bob";
        assert_eq!(line["exit"], if refused { 6 } else { 0 }, "{line}");
        assert_eq!(
            line["error"]["kind"],
            if refused { json!("not_approved") } else { json!(null) }
        );
        assert_eq!(line["state"], if refused { json!(null) } else { json!("queued") });
    }
    assert_eq!(lines.len(), 3);
    // One who is named twice gets one message.
    assert_exit(&amsd.run(&["send", "--to", "alice", "--to", "alice", "hi"]), 0);
    assert_eq!(amsd.calls().len(), 1);
}

#[test]
fn a_broken_connection_is_repeated_with_the_same_id() {
    let mut breaks = 3;
    let amsd = Fake::start(move |_, params| {
        breaks -= 1;
        if breaks >= 0 { Reply::Break } else { result(params, "queued", true, 0) }
    });
    assert_exit(&amsd.run(&["send", "alice", "hi"]), 0);
    let calls = amsd.calls();
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| *call == calls[0]));
}

#[test]
fn a_daemon_that_is_stopping_is_tried_again() {
    let mut stopping = true;
    let amsd = Fake::start(move |_, params| {
        if std::mem::take(&mut stopping) {
            error("stopping", 11)
        } else {
            result(params, "queued", true, 0)
        }
    });
    assert_exit(&amsd.run(&["send", "alice", "hi"]), 0);
    assert_eq!(amsd.calls().len(), 2);
}

#[test]
fn a_daemon_that_does_not_come_back_is_exit_11_with_the_id() {
    let amsd = Fake::start(|_, _| Reply::Vanish);
    let args = ["send", "alice", "hi", "--id", ID, "--wait", "delivered", "--timeout", "200ms"];
    let lost = amsd.run(&args);
    assert_exit(&lost, 11);
    assert!(err(&lost).contains(ID), "{}", err(&lost));
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        |command: &mut std::process::Command| command.args(["send", "a", "hi"]).output().unwrap();
    let lost = run(amsctl().env("AMS_HOME", folder.path()));
    assert_exit(&lost, 11);
    assert!(err(&lost).contains("amsd --daemon"), "{}", err(&lost));
    assert!(!err(&lost).contains("id is"), "nothing was sent: {}", err(&lost));
    // A socket that nobody serves any more.
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("amsd.sock")).unwrap());
    assert_exit(&run(amsctl().arg("--home").arg(folder.path())), 11);
    let long = run(amsctl().arg("--home").arg(folder.path().join("x".repeat(100))));
    assert_exit(&long, 2);
    assert!(err(&long).contains("shorter"), "{}", err(&long));
    let lost = run(amsctl().arg("--socket").arg(folder.path().join("other")));
    assert_exit(&lost, 11);
    assert!(err(&lost).contains("socket"), "{}", err(&lost));
}

#[test]
fn an_older_daemon_is_named_where_it_matters() {
    let amsd = Fake::start(|method, _| match method {
        "daemon.status" => Reply::Result(json!({"version": "0.0.1"})),
        _ => error("method_not_found", 2),
    });
    let refused = amsd.run(&["queue", "list"]);
    assert_exit(&refused, 2);
    assert!(err(&refused).contains("version 0.0.1"), "{}", err(&refused));
    assert!(err(&refused).contains("amsctl stop && amsd --daemon"));
}
