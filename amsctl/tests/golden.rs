//! What people and programs see of each command, whole: beside each other in `tests/golden`, as text
//! and as `--json`. Names and texts come from somebody who wishes nobody well.
//! `UPDATE_GOLDEN=1 cargo test -p amsctl --test golden` writes them anew.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod fake;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use amsctl::Cli;
use clap::CommandFactory;
use fake::{Fake, Reply, amsctl, assert_exit, out};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

const ID: &str = "000102030405060708090a0b0c0d0e0f";
const TIME: &str = "2026-11-24T10:45:00.000Z";

/// What people have used against terminals and readers of terminals: colours, titles, the
/// clipboard, the cursor, C1, overstriking, another direction, what is invisible, lines of ours.
const NASTY: &str = "a\u{1b}[31mb\u{1b}]0;t\u{7}c\u{1b}]52;c;eA==\u{7}\u{9b}2Jd\re\u{8}\u{7f}\0\
    \u{202e}f\u{2066}g\u{200b}h\u{feff}\u{2028}i\u{e0041}\u{1bca0}\n2026-11-24T10:45:00Z  bob: not me";

fn contact(name: &str, state: &str) -> Value {
    json!({
        "id": "c1", "name": name, "address": "bob@home", "state": state, "presence": "online",
        "verified": true, "verified_by": "number", "fingerprint": "abcd efgh",
        "offered_fingerprint": null,
        "paths": [{"kind": "relay", "name": NASTY, "active": true, "state": "up",
            "since": "2026-11-24T10:15:00Z", "reason": NASTY}]
    })
}

fn message(direction: &str, body: &str) -> Value {
    let (from, to) = if direction == "in" { (NASTY, "me") } else { ("me", NASTY) };
    json!({
        "id": ID, "contact": NASTY, "contact_id": "c1", "direction": direction, "from": from,
        "to": to, "body": body, "state": "delivered", "time_sent": TIME, "time_received": TIME,
        "verified": true, "via": "relay:home", "reply_to": ID, "title": NASTY, "priority": 4,
        "tags": [NASTY, "cron"], "choices": ["yes", NASTY]
    })
}

fn relay() -> Value {
    json!({"name": NASTY, "address": "ams://h:7311/relay#x", "user": "me", "state": "down",
        "since": TIME, "reason": NASTY})
}

fn hook() -> Value {
    json!({"name": NASTY, "run": NASTY, "on": ["message.received"], "state": "failing",
        "reason": NASTY, "waiting": 2, "failed": 1})
}

/// Answers every method.
fn answer(method: &str) -> Reply {
    let steps = json!([{"time": TIME, "what": "queued", "via": null, "reason": NASTY}]);
    let mut shown = message("out", NASTY);
    let more = json!({"steps": steps, "if_undelivered": "keep", "expires": TIME, "key": NASTY,
        "only_via": "relay"});
    shown.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Reply::Result(match method {
        "daemon.status" => json!({
            "version": "0.1.0", "pid": 7, "started": TIME, "home": NASTY, "fingerprint": "abcd",
            "presence": "visible", "listen": ["0.0.0.0:7310"],
            "socks5": "127.0.0.1:9050", "relays": [relay()],
            "peers": [{"name": NASTY, "address": "h:1", "state": "up", "since": null,
                "reason": NASTY, "fingerprint": null}],
            "queue": {"queued": 1, "sent": 2, "undelivered": 3, "waiting": 4},
            "inbox": {"kept": 5}, "warnings": [NASTY],
            "hooks": [hook()]}),
        "hook.list" => json!({"hooks": [hook()], "failures": [{"hook": NASTY,
            "event": "message.received", "id": ID, "contact": NASTY, "time": TIME, "tries": 4,
            "reason": NASTY}]}),
        "hook.test" => json!({"name": NASTY, "event": "message.received", "reason": null,
            "output": NASTY, "exit": 0}),
        "hook.replay" => json!({"replayed": 2}),
        "identity.show" => json!({"fingerprint": "abcd", "accounts": ["me@h:1"], "peer_links": []}),
        "contact.list" => {
            json!({"contacts": [contact(NASTY, "active"), contact("bob", "pending")]})
        }
        "contact.show" => contact(NASTY, "key_changed"),
        "contact.requests" => json!({
            "incoming": [{"id": "r1", "from": NASTY, "name": NASTY, "fingerprint": "abcd",
                "again": true, "received": TIME}],
            "outgoing": [{"id": "r2", "to": "bob@home", "name": NASTY, "sent": TIME}],
            "links": [{"relay": NASTY, "name": NASTY, "expires": TIME}]}),
        "contact.verify" => json!({"name": NASTY, "safety_number": "0".repeat(60),
            "verified": false, "verified_by": null}),
        "contact.wait" => json!({"name": NASTY, "presence": "online", "reached": true, "exit": 0}),
        "contact.ping" => json!({"name": NASTY, "via": NASTY, "microseconds": 12034, "exit": 0}),
        "contact.add" => json!({"id": "c1", "name": NASTY, "state": "pending"}),
        "relay.list" => json!({"relays": [relay()]}),
        "peer.list" => json!({"peers": [{"name": NASTY, "address": "h:1", "state": "up",
            "since": TIME, "reason": NASTY, "fingerprint": "abcd"}]}),
        "message.check" => json!({"to": NASTY, "verified": true, "presence": "online",
            "via": NASTY, "waits": false, "known": false, "size": 2, "max_size": 47104, "exit": 0}),
        "message.send" => json!({"id": ID, "state": "queued", "reached": true, "exit": 0}),
        "message.show" => json!({"messages": [shown]}),
        "message.ask" => json!({"id": ID, "state": "delivered", "exit": 0,
            "answer": message("in", NASTY)}),
        "history.list" | "queue.list" => {
            let mut queued = message("out", "hi");
            queued.as_object_mut().unwrap().insert("reason".to_owned(), NASTY.into());
            json!({"messages": [message("in", NASTY), queued], "more": false})
        }
        "queue.keep" => json!({"messages": [{"id": ID, "state": "waiting"}], "next": null}),
        "inbox.next" => json!({"messages": [message("in", NASTY)], "cursor": "1", "more": false}),
        "inbox.ack" => json!({}),
        "inbox.readers" => json!({"readers": [{"name": NASTY, "unread": 3, "used": TIME}]}),
        other => panic!("{other} has no answer"),
    })
}

const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["id"],
    &["contact", "list"],
    &["contact", "show", "bob"],
    &["contact", "requests"],
    &["contact", "verify", "bob"],
    &["contact", "add", "bob@home"],
    &["wait", "bob", "--online"],
    &["ping", "bob"],
    &["relay", "list"],
    &["peer", "list"],
    &["send", "bob", "hi", "--print-id"],
    &["send", "bob", "hi", "--dry-run"],
    &["message", "show", ID],
    &["ask", "bob", "Deploy?"],
    &["history"],
    &["queue", "list"],
    &["queue", "keep", "--all"],
    &["hook", "list"],
    &["hook", "test", "page"],
    &["hook", "replay", "page", ID],
    &["recv", "--max", "1"],
    &["reader", "list"],
];

/// `words` without what differs from run to run.
fn steady(command: &[&str], printed: &str) -> String {
    match printed.split_once('\n') {
        Some((id, rest)) if command.contains(&"--print-id") && id.len() == 32 => {
            format!("ID\n{rest}")
        }
        _ => printed.to_owned(),
    }
}

#[test]
fn every_command_shows_what_it_showed() {
    let amsd = Fake::start(|method, _| answer(method));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for command in COMMANDS {
        let name = command.iter().take_while(|word| !word.starts_with("--") && **word != ID);
        let name = name.copied().collect::<Vec<_>>().join("-").replace('?', "");
        let name = if command.contains(&"--dry-run") { "send-dry-run".to_owned() } else { name };
        for (kind, json) in [("txt", false), ("json", true)] {
            let mut words = command.to_vec();
            words.extend(json.then_some("--json"));
            let ran = amsd.run(&words);
            assert_exit(&ran, 0);
            let printed = steady(command, &out(&ran));
            let path = folder.join(format!("{name}.{kind}"));
            if update {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, &printed).unwrap();
            }
            if fs::read_to_string(&path).unwrap_or_default() != printed {
                wrong.push(path.display().to_string());
            }
            if json {
                for line in printed.lines().filter(|line| *line != "ID") {
                    serde_json::from_str::<Value>(line).unwrap();
                }
            }
            harmless(&printed);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}: UPDATE_GOLDEN=1 cargo test -p amsctl --test golden");
}

/// The help of a command and of those below it.
fn helps(command: &clap::Command, path: &[&str], helps: &mut String) {
    let ran = amsctl().args(path).arg("--help").output().unwrap();
    assert_exit(&ran, 0);
    let line = [&["amsctl"], path].concat().join(" ");
    helps.push_str(&format!("$ {line} --help\n{}\n", out(&ran)));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        self::helps(below, &[path, &[below.get_name()]].concat(), helps);
    }
}

#[test]
fn every_command_helps_as_it_helped() {
    let mut whole = Cli::command();
    whole.build();
    let mut printed = String::new();
    helps(&whole, &[], &mut printed);
    assert!(printed.matches("$ amsctl ").count() > 40);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &printed).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == printed, "help.txt is old: UPDATE_GOLDEN=1 cargo test -p amsctl --test golden");
}

/// Nothing in it moves a cursor, changes a colour, or hides or turns around anything; and no line
/// of somebody else's begins as one of ours does.
fn harmless(shown: &str) {
    for c in shown.chars() {
        let harms = (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{feff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{e0000}'..='\u{e007f}');
        assert!(!harms, "{c:?} in {shown:?}");
    }
    assert!(!shown.contains("\n2026-11-24T10:45:00Z  bob: not me"), "{shown}");
}

/// What a command shows on a terminal of so many columns.
fn on_terminal(amsd: &Fake, command: &[&str], columns: u16, no_color: Option<&str>) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&controller, size).unwrap();
    let path = ptsname(&controller, Vec::new()).unwrap();
    let open = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    let mut running = amsctl();
    running.arg("--home").arg(amsd.home()).args(command).stdout(open).env("TERM", "xterm");
    running.env_remove("NO_COLOR");
    running.envs(no_color.map(|value| ("NO_COLOR", value)));
    let mut child = running.spawn().unwrap();
    // Its own copy of the terminal goes with it, so that the end is seen.
    drop(running);
    let mut shown = Vec::new();
    // A terminal whose last user is gone reads as an error, not as an end.
    let _ = File::from(controller).read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_terminal_has_colours_and_an_edge() {
    let amsd = Fake::start(|method, _| answer(method));
    let wide = on_terminal(&amsd, &["contact", "list"], 500, None);
    assert!(wide.contains("\u{1b}[32mactive\u{1b}[0m"), "{wide:?}");
    assert!(wide.contains("\u{1b}[33mpending\u{1b}[0m"), "{wide:?}");
    // Its own colours, and nobody else's.
    let ours = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"];
    harmless(&ours.iter().fold(wide.clone(), |shown, escape| shown.replace(escape, "")));
    assert!(!wide.contains("a\u{1b}[31mb"));

    let plain = on_terminal(&amsd, &["contact", "list"], 500, Some("1"));
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let json = on_terminal(&amsd, &["contact", "list", "--json"], 40, None);
    harmless(&json);
    // The same value, and what is harmful in it is told.
    let named: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(named["contacts"][0]["name"], NASTY);
    let narrow = on_terminal(&amsd, &["contact", "list"], 40, None);
    for line in narrow.lines() {
        assert!(line.chars().count() <= 40 && line.ends_with('…'), "{line:?}");
    }
    // In a pipe, all of it.
    let piped = out(&amsd.run(&["contact", "list"]));
    assert_eq!(piped, plain);
}
