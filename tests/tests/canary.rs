//! What must not be on a disk, in a log or beside a process is searched there after real traffic,
//! as it is, in base64 and in hex. Each search is shown to find what it should.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use ams_tests::process::{command, file, shown_by_the_system};
use ams_tests::search::Canary;
use ams_tests::shell::{Operator, User};

const BODY: &str = "canary-body-that-nobody-but-bob-may-read";
const TITLE: &str = "canary-title-of-that-letter";
const PASSWORD: &str = "canary-password-of-alice";
/// Usernames that are nowhere else.
const ALICE: &str = "canary-alice-9c1e";
const BOB: &str = "canary-bob-77ab";

struct Searched {
    folder: tempfile::TempDir,
    relay: Operator,
    logs: Vec<(&'static str, String)>,
    processes: Vec<(&'static str, Vec<u8>)>,
}

/// Two people meet, write, change a password, and stop in order; the relay too.
fn traffic(verbose: &[&str]) -> Searched {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Operator::start(folder.path(), verbose);
    let (alice, bob) = (User::new(&folder.path().join("a")), User::new(&folder.path().join("b")));
    let mut daemons = [&alice, &bob].map(|user| user.starts_daemon_with(verbose));
    let password = format!("{PASSWORD}\n");
    let mut processes = Vec::new();
    for (user, name) in [(&alice, ALICE), (&bob, BOB)] {
        let invite = relay.invites(name);
        let join = ["relay", "join", &invite, "--as", "home", "--password-file", "-"];
        processes.extend(seen_while_it_reads(user, &join, &password));
    }
    alice.meets(ALICE, &bob, BOB);
    let send = ["send", BOB, "--wait", "delivered", "--timeout", "60s", "--title", TITLE];
    for round in 0..20 {
        let body = format!("{BODY} {round}");
        alice.amsctl_with(&send, &body).exits(0);
        bob.amsctl_with(&["send", ALICE, "--wait", "delivered"], &body).exits(0);
    }
    // Held by the relay, too: nobody is there.
    bob.amsctl(&["stop"]).exits(0);
    assert!(daemons[1].wait().success());
    alice.amsctl_with(&["send", BOB, "--wait", "sent"], BODY).exits(0);
    let new = file(folder.path(), "new-password", "another-password-of-alice");
    let change = ["relay", "password", "home", "--old-password-file", "-", "--password-file"];
    let change = [&change[..], &[new.to_str().unwrap()]].concat();
    alice.amsctl_with(&change, &password).exits(0);
    fs::remove_file(new).unwrap();

    for (whose, pid) in [("alice's daemon", daemons[0].pid()), ("relay", relay.process.pid())] {
        let shown = shown_by_the_system(pid);
        assert!(!shown.is_empty(), "{whose} is not seen at all");
        processes.extend(shown.into_iter().map(|(_, bytes)| (whose, bytes)));
    }
    let logs = vec![
        ("alice's daemon", daemons[0].log()),
        ("bob's daemon", daemons[1].log()),
        ("relay", relay.process.log()),
    ];
    // With everything in the relay's memory and on its disk as traffic left it.
    relay.process.kill();
    daemons[0].kill();
    Searched { folder, relay, logs, processes }
}

/// Runs a command that reads a secret from stdin, and looks at its process before it got it.
fn seen_while_it_reads(
    user: &User,
    arguments: &[&str],
    secret: &str,
) -> Vec<(&'static str, Vec<u8>)> {
    let mut child = command("amsctl")
        .arg("--home")
        .arg(user.home())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let shown = shown_by_the_system(child.id());
    child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    shown.into_iter().map(|(_, bytes)| ("amsctl", bytes)).collect()
}

fn nowhere(what: &str, folder: &Path) {
    assert_eq!(Canary::new(what).search(folder), [], "{what}");
}

#[test]
fn secrets_are_on_no_disk_and_in_no_log_at_the_highest_level() {
    let searched = traffic(&["-vv"]);
    for secret in [BODY, TITLE, PASSWORD] {
        // The relay's data, both profiles, and every log.
        nowhere(secret, searched.folder.path());
        for (whose, bytes) in &searched.processes {
            assert_eq!(Canary::new(secret).hides_in(bytes), None, "{secret}: process of {whose}");
        }
    }
    let deep = searched.logs.iter().any(|(_, log)| log.contains("DEBUG") || log.contains("TRACE"));
    assert!(deep, "nobody logs more than usual, so the levels below were not searched");
    // A profile is sealed: not even who alice knows.
    for profile in ["a", "b"] {
        for name in [ALICE, BOB] {
            nowhere(name, &searched.folder.path().join(profile).join("data"));
        }
    }
    // The control: the relay keeps usernames, and there the search finds them.
    for name in [ALICE, BOB] {
        let found = Canary::new(name).search(searched.relay.data());
        assert!(!found.is_empty(), "{name} is not found where it must be");
    }
}

#[test]
fn the_usual_logs_name_nobody() {
    let searched = traffic(&[]);
    for (whose, log) in &searched.logs {
        assert!(log.lines().count() > 0, "{whose} logs nothing, so nothing was searched");
        for what in [ALICE, BOB, BODY, TITLE, PASSWORD] {
            assert_eq!(Canary::new(what).hides_in(log.as_bytes()), None, "{what}: log of {whose}");
        }
    }
}
