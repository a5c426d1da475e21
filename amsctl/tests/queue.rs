//! `amsctl queue` and `message wait`: which messages are meant, what the hints name, how they exit.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod fake;

use fake::{Fake, Reply, assert_exit, err, error, out};
use serde_json::{Value, json};

fn of_bob(id: &str, steps: Option<Value>) -> Value {
    let mut message = json!({
        "id": id, "contact": "bob", "contact_id": "1", "direction": "out", "from": "me",
        "to": "bob", "body": "hi", "state": "queued", "verified": false, "via": null,
        "time_sent": "2026-11-24T10:45:00.000Z", "time_received": null, "reply_to": null,
        "title": null, "priority": null, "tags": [], "choices": null
    });
    let more = match steps {
        Some(steps) => json!({
            "steps": steps, "if_undelivered": null, "expires": null, "key": null, "only_via": null
        }),
        None => json!({"reason": null}),
    };
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    message
}

/// What a hint says can be typed as it is.
#[test]
fn a_wait_names_the_contact_in_its_hints() {
    const ID: &str = "000102030405060708090a0b0c0d0e0f";
    let amsd = Fake::start(move |method, params| match method {
        "message.wait" => {
            Reply::Result(json!({"id": params["id"], "state": "sent", "reached": false, "exit": 4}))
        }
        "message.show" => Reply::Result(json!({"messages": [of_bob(ID, Some(json!([])))]})),
        _ => error("not_allowed", 6),
    });
    let waited = amsd.run(&["message", "wait", ID, "--for", "delivered"]);
    assert_exit(&waited, 4);
    assert!(err(&waited).contains("amsctl contact verify bob"), "{}", err(&waited));
    assert!(!err(&waited).contains("NAME"), "{}", err(&waited));
}

#[test]
fn the_queue_lists_what_is_asked_for() {
    const IDS: [&str; 3] = [
        "00000000000000000000000000000000",
        "11111111111111111111111111111111",
        "22222222222222222222222222222222",
    ];
    let amsd = Fake::start(|method, params| {
        assert_eq!(method, "queue.list");
        // A page for each.
        let at = IDS.iter().position(|id| params["after"] == *id).map_or(0, |at| at + 1);
        let messages = [of_bob(IDS[at], None)];
        Reply::Result(json!({"messages": messages, "more": at < 2}))
    });
    let listed = |args: &[&str]| {
        let got = amsd.run(&[&["queue", "list"], args].concat());
        let shown = IDS.map(|id| out(&got).contains(id));
        (shown, got.status.code().unwrap())
    };
    assert_eq!(listed(&["--all"]), ([true; 3], 0));
    assert_eq!(listed(&[IDS[2], IDS[1]]), ([false, true, true], 0));
    assert_eq!(listed(&[IDS[1], "--json"]), ([false, true, false], 0));
    let gone = "33333333333333333333333333333333";
    assert_eq!(listed(&[IDS[0], gone]), ([true, false, false], 7));
    for wrong in [&["--all", "--to", "bob"][..], &[IDS[0], "--all"], &[IDS[0], "--to", "bob"]] {
        assert_eq!(listed(wrong).1, 2);
    }
}

#[test]
fn message_wait_exits_as_the_daemon_says() {
    const ID: &str = "000102030405060708090a0b0c0d0e0f";
    let mut breaks = true;
    let amsd = Fake::start(move |_, params| {
        if std::mem::take(&mut breaks) {
            return Reply::Break;
        }
        Reply::Result(json!({"id": params["id"], "state": "sent", "reached": false, "exit": 10}))
    });
    let waited = amsd.run(&["message", "wait", ID, "--for", "delivered", "--timeout", "20s"]);
    assert_exit(&waited, 10);
    assert!(err(&waited).contains("not delivered"), "{}", err(&waited));
    let waits = amsd.calls().into_iter().filter(|(method, _)| method == "message.wait");
    assert_eq!(waits.count(), 2, "it goes on waiting after a broken connection");
}

#[test]
fn a_long_queue_is_decided_in_several_calls() {
    const ID: &str = "000102030405060708090a0b0c0d0e0f";
    let amsd = Fake::start(|_, params| {
        let next = params["after"].is_null().then_some("1-7");
        Reply::Result(json!({"messages": [{"id": ID, "state": "discarded"}], "next": next}))
    });
    let decided = amsd.run(&["queue", "discard", "--all"]);
    assert_exit(&decided, 0);
    assert_eq!(out(&decided), format!("{ID}  discarded\n").repeat(2));
    let after: Vec<_> =
        amsd.calls().into_iter().map(|(_, params)| params["after"].clone()).collect();
    assert_eq!(after, [json!(null), json!("1-7")]);
}
