//! `amsctl recv`: what is printed, and when it is acknowledged.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod fake;

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use fake::{Fake, Reply, amsctl, assert_exit, err, error, out};
use serde_json::{Value, json};

fn message(n: usize, body: &str) -> Value {
    json!({
        "id": format!("{n:032x}"), "contact": "alice", "contact_id": "c", "direction": "in",
        "from": "alice", "to": "me", "body": body, "state": "delivered",
        "time_sent": "2026-11-24T10:44:00.000Z", "time_received": "2026-11-24T10:45:00.000Z",
        "verified": false, "via": "relay:home", "reply_to": null, "title": null, "priority": null,
        "tags": [], "choices": null
    })
}

/// An inbox of these bodies, given out in twos or as asked for, and its acknowledged cursor.
fn inbox(bodies: &'static [&str]) -> (Fake, Arc<Mutex<usize>>) {
    let acknowledged = Arc::new(Mutex::new(0));
    let position = Arc::clone(&acknowledged);
    let amsd = Fake::start(move |method, params| {
        let mut position = position.lock().unwrap();
        match method {
            "inbox.next" => {
                let max = params["max"].as_u64().map_or(2, |max| max.min(2)) as usize;
                let end = bodies.len().min(*position + max);
                let messages: Vec<Value> =
                    (*position..end).map(|n| message(n, bodies[n])).collect();
                let cursor = if messages.is_empty() { Value::Null } else { json!(end.to_string()) };
                Reply::Result(json!({
                    "messages": messages, "cursor": cursor, "more": end < bodies.len()
                }))
            }
            "inbox.ack" => {
                *position = params["cursor"].as_str().unwrap().parse().unwrap();
                Reply::Result(json!({}))
            }
            other => panic!("{other}"),
        }
    });
    (amsd, acknowledged)
}

#[test]
fn everything_that_is_there_is_printed_and_acknowledged() {
    let (amsd, acknowledged) = inbox(&["one", "two\nlines \u{1b}[2J", "three"]);
    let got = amsd.run(&["recv"]);
    assert_exit(&got, 0);
    assert_eq!(
        out(&got),
        "2026-11-24T10:45:00Z  alice: one\n\
         2026-11-24T10:45:00Z  alice: two\n    lines \\u{1b}[2J\n\
         2026-11-24T10:45:00Z  alice: three\n"
    );
    assert_eq!(*acknowledged.lock().unwrap(), 3);
    assert_eq!(amsd.calls().first().unwrap().1["reader"], "default");
    let nothing = amsd.run(&["recv"]);
    assert_exit(&nothing, 0);
    assert_eq!(out(&nothing), "");
}

#[test]
fn json_is_a_message_a_line_as_it_is() {
    let (amsd, _) = inbox(&["esc \u{1b}", "two"]);
    let got = amsd.run(&["recv", "--json"]);
    let lines: Vec<Value> =
        out(&got).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [message(0, "esc \u{1b}"), message(1, "two")]);
}

#[test]
fn no_more_than_asked_for() {
    let (amsd, acknowledged) = inbox(&["one", "two", "three", "four"]);
    assert_eq!(out(&amsd.run(&["recv", "--max", "3"])).lines().count(), 3);
    assert_eq!(*acknowledged.lock().unwrap(), 3);
}

#[test]
fn a_look_acknowledges_nothing() {
    let (amsd, acknowledged) = inbox(&["one"]);
    assert_eq!(out(&amsd.run(&["recv", "--peek"])).lines().count(), 1);
    assert_eq!(*acknowledged.lock().unwrap(), 0);
    assert_eq!(amsd.calls().first().unwrap().1["peek"], true);
}

#[test]
fn a_long_look_goes_on_behind_what_it_saw() {
    let amsd = Fake::start(|method, params| {
        assert_eq!((method, &params["peek"]), ("inbox.next", &json!(true)));
        let from = params["after"].as_str().map_or(0, |after| after.parse().unwrap());
        Reply::Result(json!({
            "messages": [message(from, "hi")], "cursor": (from + 1).to_string(), "more": from < 4
        }))
    });
    let looked = amsd.run(&["recv", "--peek", "--json"]);
    assert_exit(&looked, 0);
    assert_eq!(out(&looked).lines().count(), 5);
    assert_eq!(out(&amsd.run(&["recv", "--peek", "--max", "2"])).lines().count(), 2);
}

#[test]
fn nothing_within_the_timeout_is_exit_12() {
    let (amsd, _) = inbox(&[]);
    let got = amsd.run(&["recv", "--timeout", "50ms", "--from", "alice", "--from-start"]);
    assert_exit(&got, 12);
    let calls = amsd.calls();
    let params = &calls.first().unwrap().1;
    assert_eq!(params["from"], "alice");
    assert_eq!(params["from_start"], true);
    assert!(params["wait"].is_string());
    assert_exit(&amsd.run(&["recv", "--follow", "--timeout", "50ms"]), 12);
}

#[test]
fn what_could_not_be_written_is_not_acknowledged() {
    let (amsd, acknowledged) = inbox(&["one"]);
    // Nobody reads, and nobody will.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = amsctl()
        .arg("--home")
        .arg(amsd.home())
        .arg("recv")
        .stdout(Stdio::from(writer))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(*acknowledged.lock().unwrap(), 0);
}

/// What `head -2` leaves in the pipe, or never lets in, is for the next one.
#[test]
fn a_pipe_whose_reader_stops_leaves_the_rest_unread() {
    let (amsd, acknowledged) = inbox(&["one", "two", "three", "four", "five"]);
    let mut child = amsctl()
        .arg("--home")
        .arg(amsd.home())
        .arg("recv")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut lines = 0;
    while lines < 2 {
        let mut byte = [0];
        pipe.read_exact(&mut byte).unwrap();
        lines += usize::from(byte == *b"\n");
    }
    drop(pipe);
    let ended = child.wait_with_output().unwrap();
    assert_exit(&ended, 1);
    assert_eq!(err(&ended), "", "nobody needs to hear of it");
    assert_eq!(*acknowledged.lock().unwrap(), 2);
    // The rest, also where its reader takes its time.
    assert_eq!(out(&amsd.run(&["recv"])).lines().count(), 3);
    assert_eq!(*acknowledged.lock().unwrap(), 5);
}

#[test]
fn the_null_device_takes_messages_however_it_was_opened() {
    let (amsd, acknowledged) = inbox(&["one", "two", "three"]);
    let through = |redirected: &str| {
        Command::new("sh")
            .args(["-c", &format!("exec \"$0\" \"$@\" {redirected}")])
            .arg(amsctl().get_program())
            .arg("--home")
            .arg(amsd.home())
            .args(["recv", "--max", "1"])
            .output()
            .unwrap()
    };
    // As a shell opens it, as Python's `subprocess.DEVNULL` does, and as the standard library does in
    // the place of a stdout that was closed.
    for (taken, redirected) in [">/dev/null", "1<>/dev/null", ">&-"].into_iter().enumerate() {
        assert_eq!(*acknowledged.lock().unwrap(), taken);
        let ended = through(redirected);
        assert_exit(&ended, 0);
        assert_eq!(err(&ended), "", "{redirected}");
        assert_eq!(*acknowledged.lock().unwrap(), taken + 1);
    }
}

#[test]
fn a_program_gets_each_message_and_decides() {
    let (amsd, acknowledged) = inbox(&["one", "two", "bad", "four"]);
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script =
        format!("read -r m; echo \"$m\" >> '{}'; case $m in *bad*) exit 3;; esac", seen.display());
    let got = amsd.run(&["recv", "--exec", "sh", "-c", &script]);
    assert_exit(&got, 1);
    assert!(err(&got).contains("not acknowledged"), "{}", err(&got));
    assert_eq!(*acknowledged.lock().unwrap(), 2);
    let bodies: Vec<Value> = std::fs::read_to_string(&seen)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["body"].clone())
        .collect();
    assert_eq!(bodies, ["one", "two", "bad"]);
    for missing in ["/nowhere/program", "no-such-program-anywhere"] {
        let refused = amsd.run(&["recv", "--exec", missing]);
        assert_exit(&refused, 2);
        assert!(err(&refused).contains(missing), "{}", err(&refused));
    }
    let killed = amsd.run(&["recv", "--exec", "sh", "-c", "kill -9 $$"]);
    assert_exit(&killed, 1);
    assert!(err(&killed).contains("sh ended with signal: 9"), "{}", err(&killed));
    // Also one that was to follow ends there, and takes nothing more.
    assert_exit(&amsd.run(&["recv", "--follow", "--exec", "false"]), 1);
    assert_eq!(*acknowledged.lock().unwrap(), 2);
    // One that does not care for its input.
    assert_exit(&amsd.run(&["recv", "--exec", "true"]), 0);
    assert_eq!(*acknowledged.lock().unwrap(), 4);
}

#[test]
fn an_acknowledgement_survives_a_broken_connection() {
    let mut breaks = true;
    let amsd = Fake::start(move |method, _| match method {
        "inbox.next" => Reply::Result(json!({
            "messages": [message(1, "hi")], "cursor": "7", "more": false
        })),
        _ if std::mem::take(&mut breaks) => Reply::Break,
        _ => Reply::Result(json!({})),
    });
    let got = amsd.run(&["recv"]);
    assert_exit(&got, 0);
    assert_eq!(out(&got).lines().count(), 1, "printed once");
    let acks = amsd.calls().into_iter().filter(|(method, _)| method == "inbox.ack").count();
    assert_eq!(acks, 2);
}

#[test]
fn following_goes_on_until_it_has_enough() {
    let mut asked = 0;
    let amsd = Fake::start(move |method, _| {
        if method == "inbox.ack" {
            return Reply::Result(json!({}));
        }
        asked += 1;
        match asked {
            1 | 3 => Reply::Result(json!({"messages": [], "cursor": null, "more": false})),
            2 => Reply::Break,
            n => Reply::Result(json!({
                "messages": [message(n, "hi")], "cursor": n.to_string(), "more": false
            })),
        }
    });
    let got = amsd.run(&["recv", "--follow", "--max", "2"]);
    assert_exit(&got, 0);
    assert_eq!(out(&got).lines().count(), 2);
}

#[test]
fn a_busy_reader_is_refused() {
    let amsd = Fake::start(|_, _| error("reader_busy", 6));
    assert_exit(&amsd.run(&["recv"]), 6);
}

/// The daemon's disk is full: what was printed comes once more.
#[test]
fn a_refused_acknowledgement_says_that_the_messages_come_again() {
    for (args, what) in [(&[][..], "printed"), (&["--exec", "cat"], "handed over")] {
        let amsd = Fake::start(|method, _| match method {
            "inbox.ack" => error("storage_full", 1),
            _ => Reply::Result(json!({
                "messages": [message(1, "hi")], "cursor": "1", "more": false
            })),
        });
        let got = amsd.run(&[&["recv"], args].concat());
        assert_exit(&got, 1);
        assert!(out(&got).contains("hi"));
        let said = format!(
            "amsctl: what was {what} is not acknowledged, so the next recv begins with it: message \
             of storage_full\n  hint of storage_full\n"
        );
        assert_eq!(err(&got), said);
    }
}
