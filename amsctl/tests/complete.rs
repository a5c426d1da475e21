//! Completion in the shells that are there: what is offered, what the daemon is asked, and that
//! nobody waits for one that does not answer.
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
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use fake::{Fake, Reply, amsctl, assert_exit, error, out};
use serde_json::{Value, json};

const ID: &str = "000102030405060708090a0b0c0d0e0f";

fn contact(name: &str) -> Value {
    json!({
        "id": name, "name": name, "address": null, "state": "active", "presence": "online",
        "verified": false, "verified_by": null, "fingerprint": null, "offered_fingerprint": null,
        "paths": []
    })
}

fn message(body: &str) -> Value {
    json!({
        "id": ID, "contact": "alice", "contact_id": "1", "direction": "out", "from": "me",
        "to": "alice", "body": body, "state": "undelivered", "verified": false, "via": null,
        "time_sent": "2026-11-24T10:45:00.000Z", "time_received": null, "reply_to": null,
        "title": null, "priority": null, "tags": []
    })
}

/// A daemon that knows a few names, some of which nobody should type.
fn daemon() -> Fake {
    Fake::start(|method, _| match method {
        "contact.list" => {
            let names = ["alice", "albert", "bob", "al\u{1b}[31m", "al\u{202e}ice"];
            Reply::Result(json!({"contacts": names.map(contact)}))
        }
        "relay.list" => Reply::Result(json!({"relays": [{
            "name": "home", "address": "ams://x", "user": "me", "state": "up", "since": null,
            "reason": null}]})),
        "queue.list" | "history.list" => {
            Reply::Result(json!({"messages": [message("disk \u{1b}[2Jfull")], "more": false}))
        }
        "message.show" => {
            let mut question = message("Deploy?");
            let choices = json!(["yes", "no", "n\u{202e}o"]);
            let more = json!({"choices": choices, "steps": [], "if_undelivered": null,
                "expires": null, "key": null, "only_via": null});
            question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Reply::Result(json!({"messages": [question]}))
        }
        "contact.requests" => Reply::Result(json!({"outgoing": [], "incoming": [{
            "id": "r", "from": "carol@home", "name": "carol", "fingerprint": "f", "again": false,
            "received": "2026-11-24T10:45:00.000Z"}]})),
        "inbox.readers" => {
            Reply::Result(json!({"readers": [{"name": "log", "unread": 3, "used": null}]}))
        }
        _ => error("not_allowed", 6),
    })
}

/// What is offered for the last of these words.
fn offered(home: &Path, words: &[&str]) -> Vec<String> {
    let completed = amsctl()
        .env("AMSCTL_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("AMS_HOME", home)
        .args(["--", "amsctl"])
        .args(words)
        .output()
        .unwrap();
    assert_exit(&completed, 0);
    let shown = out(&completed);
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    // Where nothing is typed yet, options are offered as well.
    let typed_nothing = words.last().is_some_and(|word| word.is_empty());
    let names = shown.lines().filter(|word| !(typed_nothing && word.starts_with("--")));
    names.map(str::to_owned).collect()
}

#[test]
fn names_and_ids_are_those_of_the_daemon() {
    let amsd = daemon();
    let offered = |words: &[&str]| offered(amsd.home(), words);
    assert_eq!(offered(&["send", "al"]), ["alice", "albert"]);
    assert_eq!(offered(&["send", "--to", "b"]), ["bob"]);
    assert_eq!(offered(&["contact", "show", "b"]), ["bob"]);
    assert_eq!(offered(&["wait", "b"]), ["bob"]);
    assert_eq!(offered(&["history", "b"]), ["bob"]);
    assert_eq!(offered(&["recv", "--from", "b"]), ["bob"]);
    assert_eq!(offered(&["recv", "--reader", ""]), ["log"]);
    assert_eq!(offered(&["reader", "remove", ""]), ["log"]);
    assert_eq!(offered(&["contact", "accept", ""]), ["carol"]);
    assert_eq!(offered(&["relay", "disconnect", ""]), ["home"]);
    assert_eq!(offered(&["peer", "disconnect", "b"]), ["bob"]);
    assert_eq!(offered(&["message", "show", ""]), [ID]);
    assert_eq!(offered(&["queue", "keep", "00"]), [ID]);
    assert_eq!(offered(&["answer", ID, ""]), ["yes", "no"]);
    assert_eq!(offered(&["answer", ID, "y"]), ["yes"]);
    assert_eq!(offered(&["send", "--via", "relay:"]), ["relay:home"]);
    assert_eq!(offered(&["send", "--wait", "d"]), ["delivered"]);
    assert_eq!(offered(&["presence", "i"]), ["invisible"]);
    assert_eq!(offered(&["events", "--type", "relay."]), ["relay.up", "relay.down"]);
    assert_eq!(offered(&["contact", "ver"]), ["verify"]);
    assert_eq!(offered(&["send", "--dry"]), ["--dry-run"]);
}

/// A line that names another profile is completed with that one's names.
#[test]
fn the_profile_of_the_line_is_asked() {
    let amsd = daemon();
    let nowhere = tempfile::tempdir().unwrap();
    let home = amsd.home().to_str().unwrap();
    assert_eq!(offered(nowhere.path(), &["--home", home, "send", "b"]), ["bob"]);
    let socket = amsd.socket();
    let socket = format!("--socket={}", socket.to_str().unwrap());
    assert_eq!(offered(nowhere.path(), &[&socket, "send", "b"]), ["bob"]);
    assert_eq!(offered(nowhere.path(), &["send", "b"]), [""; 0], "there is no daemon");
}

/// The prompt comes back although the daemon says nothing at all.
#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("amsd.sock")).unwrap();
    let silent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = String::new();
        // Until the one who asked gave up: that it comes to this end is what is tested.
        stream.read_to_string(&mut asked).unwrap();
        asked
    });
    assert_eq!(offered(folder.path(), &["send", "b"]), [""; 0]);
    assert!(silent.join().unwrap().contains("contact.list"));
}

/// What takes two questions has no more time than what takes one: the second is not asked any more.
#[test]
fn a_daemon_that_does_not_answer_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("amsd.sock")).unwrap();
    assert_eq!(offered(folder.path(), &["message", "show", "7"]), [""; 0]);
    let mut asked = String::new();
    listener.accept().unwrap().0.read_to_string(&mut asked).unwrap();
    assert_eq!((asked.lines().count(), asked.contains("queue.list")), (1, true), "{asked}");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// Without a shell that asks, nobody is asked.
#[test]
fn a_command_that_runs_completes_nothing() {
    let amsd = daemon();
    assert_exit(&amsd.run(&["contact", "list"]), 0);
    let called: Vec<String> = amsd.calls().into_iter().map(|(method, _)| method).collect();
    assert_eq!(called, ["contact.list"]);
}

/// What a shell of that name says to a script, with `amsctl` on its path; `None` where it is not
/// installed.
fn in_shell(shell: &str, home: &Path, script: &str) -> Option<String> {
    let there = Command::new("sh").args(["-c", &format!("command -v {shell}")]).output().unwrap();
    if !there.status.success() {
        eprintln!("skipped: {shell} is not installed");
        return None;
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_amsctl")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let ran = Command::new(shell)
        .args(["-c", script])
        .env("PATH", path)
        .env("AMS_HOME", home)
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_exit(&ran, 0);
    Some(out(&ran))
}

#[test]
fn bash_completes() {
    let amsd = daemon();
    let script = "
        source <(amsctl completions bash)
        complete -p amsctl >/dev/null || exit 9
        COMP_WORDS=(amsctl send al) COMP_CWORD=2 COMP_TYPE=9
        _clap_complete_amsctl amsctl al send 2>/dev/null
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    if let Some(shown) = in_shell("bash", amsd.home(), script) {
        assert_eq!(shown, "alice\nalbert\n");
    }
}

#[test]
fn fish_completes() {
    let amsd = daemon();
    let script = "amsctl completions fish | source; complete -C 'amsctl send al'";
    if let Some(shown) = in_shell("fish", amsd.home(), script) {
        assert_eq!(shown, "alice\tactive, online\nalbert\tactive, online\n");
    }
}

/// Zsh wants a terminal to complete, and PowerShell is not in Debian: what they are given is read.
#[test]
fn zsh_and_powershell_are_given_a_script() {
    let amsd = daemon();
    in_shell("zsh", amsd.home(), "amsctl completions zsh > $HOME/script && zsh -n $HOME/script");
    for shell in ["zsh", "powershell"] {
        let script = amsctl().args(["completions", shell]).output().unwrap();
        assert_exit(&script, 0);
        assert!(out(&script).contains("AMSCTL_COMPLETE"), "{shell}");
    }
    assert_exit(&amsctl().args(["completions", "tcsh"]).output().unwrap(), 2);
}
