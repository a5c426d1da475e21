//! What is said on a terminal alone, on a real one: a pseudo-terminal of the system.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod fake;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use fake::{Fake, Reply, amsctl};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

/// Both ends of a new terminal: ours, and the one that a program gets.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    // It must not become the terminal of whoever runs the tests.
    let no_control = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
    let theirs = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(no_control)
        .open(OsStr::from_bytes(name.as_bytes()))
        .unwrap();
    (File::from(ours), theirs)
}

/// What `amsctl …` says on stderr where that is a terminal.
fn says(amsd: &Fake, arguments: &[&str]) -> String {
    let (mut screen, theirs) = terminal();
    let mut command = amsctl();
    command.arg("--home").arg(amsd.home()).args(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(theirs).spawn().unwrap();
    // The end that the program has must not stay open here.
    drop(command);
    let mut said = Vec::new();
    // Linux tells the end of a terminal as an error.
    let _ = screen.read_to_end(&mut said);
    assert!(child.wait().unwrap().success());
    String::from_utf8(said).unwrap()
}

fn daemon_with(undelivered: u64) -> Fake {
    Fake::start(move |method, _| {
        Reply::Result(match method {
            "contact.list" => json!({"contacts": []}),
            "queue.list" => json!({"messages": [], "more": false}),
            _ => json!({
                "version": "0.1.0", "pid": 7, "started": "2026-11-24T10:45:00.000Z", "home": "/h",
                "fingerprint": "abcd", "presence": "visible", "listen": [], "peers": [],
                "hooks": [], "relays": [], "inbox": {"kept": 5}, "warnings": [],
                "queue": {"queued": 1, "sent": 0, "undelivered": undelivered, "waiting": 0}
            }),
        })
    })
}

/// A program asks beforehand, by a dry run.
#[test]
fn a_way_that_the_contact_does_not_have_is_mentioned_on_a_terminal() {
    let amsd = Fake::start(|method, params| {
        Reply::Result(match method {
            "message.send" => {
                json!({"id": params["id"], "state": "queued", "reached": true, "exit": 0})
            }
            "message.check" => json!({
                "to": "bob", "verified": true, "presence": "offline", "via": null, "waits": false,
                "reason": "goes over a direct link only, and bob has no such way yet",
                "known": true, "size": 2, "max_size": 47104, "exit": 0
            }),
            _ => json!({
                "version": "0.1.0", "pid": 7, "started": "2026-11-24T10:45:00.000Z", "home": "/h",
                "fingerprint": "abcd", "presence": "visible", "listen": [], "peers": [],
                "hooks": [], "relays": [], "inbox": {"kept": 5}, "warnings": [],
                "queue": {"queued": 1, "sent": 0, "undelivered": 0, "waiting": 0}
            }),
        })
    });
    assert_eq!(
        says(&amsd, &["send", "bob", "--via", "direct", "hi"]),
        "amsctl: the message to bob goes over a direct link only, and bob has no such way yet\r\n"
    );
    assert_eq!(says(&amsd, &["send", "bob", "hi"]), "");
    assert_eq!(says(&amsd, &["--json", "send", "bob", "--via", "direct", "hi"]), "");
}

#[test]
fn what_waits_for_a_decision_is_mentioned_on_a_terminal() {
    let amsd = daemon_with(2);
    assert_eq!(says(&amsd, &["contact", "list"]), "2 undelivered: amsctl queue list\r\n");
    // Whoever looks at the queue knows, and a program that wants JSON asks for what it wants.
    for arguments in [&["queue", "list"][..], &["status"], &["--json", "contact", "list"]] {
        assert_eq!(says(&amsd, arguments), "", "{arguments:?}");
    }
    assert_eq!(says(&daemon_with(0), &["contact", "list"]), "");
}

/// What takes over a second counts them in a line that goes when it is done.
#[test]
fn a_backup_that_takes_its_time_is_counted_on_a_terminal() {
    let (done, wait) = std::sync::mpsc::channel();
    let amsd = Fake::start(move |method, _| {
        if !method.starts_with("profile.") {
            return Reply::Break;
        }
        let _: Result<(), _> = wait.recv();
        Reply::Result(json!({"fingerprint": "abcd", "contacts": 1, "messages": 2, "accounts": []}))
    });
    let secret = amsd.home().join("secret");
    std::fs::write(&secret, "a long passphrase\n").unwrap();
    for (verb, doing) in [("backup", "sealing the backup"), ("restore", "opening the backup")] {
        let (mut screen, theirs) = terminal();
        let mut command = amsctl();
        command.arg("--home").arg(amsd.home()).args([verb, "/tmp/b", "--passphrase-file"]);
        let child = command.arg(&secret).stdout(theirs.try_clone().unwrap()).stderr(theirs).spawn();
        drop(command);
        let mut said = String::new();
        let mut bytes = [0; 256];
        while !said.contains("2 s") {
            let read = screen.read(&mut bytes).unwrap();
            said.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        assert!(said.contains(&format!("\r\u{1b}[Kamsctl: {doing} … 1 s")), "{said:?}");
        done.send(()).unwrap();
        let mut rest = Vec::new();
        let _ = screen.read_to_end(&mut rest);
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.ends_with("\r\u{1b}[K1 contacts and 2 messages of abcd\r\n"), "{rest:?}");
        assert!(child.unwrap().wait().unwrap().success());
    }
}
