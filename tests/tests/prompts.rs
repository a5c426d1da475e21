//! What the programs ask whoever sits at their terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use ams_tests::shell::{Operator, PASSWORD, User};
use ams_tests::terminal::Terminal;

/// Types secrets at the prompts for them, and an enter after each; none may be seen.
#[track_caller]
fn answers(terminal: &mut Terminal, prompts: &[(&str, &str)]) {
    for (prompt, secret) in prompts {
        let before = terminal.shows(prompt);
        terminal.hides_what_is_typed();
        terminal.types(&format!("{secret}\r"));
        assert!(prompts.iter().all(|(_, secret)| !before.contains(secret)), "{before:?}");
    }
}

#[track_caller]
fn ends(terminal: Terminal, code: i32, says: &str) {
    let (ended, said) = terminal.ends();
    assert!(ended == code && said.contains(says), "{ended}: {said:?}");
    assert!(!said.contains("horse") && !said.contains("battery"), "{said:?}");
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let alice = User::new(&folder.path().join("alice"));
    let _of_alice = alice.starts_daemon();
    let invite = relay.invites("alice");
    let join = ["relay", "join", &invite, "--as", "home"];
    let again = "The same again: ";
    // It is not asked for twice where it cannot be one.
    assert_eq!(amsctl::password::SHORTEST, ams_crypto::opaque::MIN_PASSWORD);
    let mut asked = alice.on_terminal(&join);
    answers(&mut asked, &[("Password", "battery")]);
    asked.shows("at least 8 characters");
    ends(asked, 2, "");
    let mut asked = alice.on_terminal(&join);
    answers(&mut asked, &[("Password", PASSWORD), (again, "another horse")]);
    ends(asked, 2, "differ; nothing was done");
    let mut asked = alice.on_terminal(&join);
    answers(&mut asked, &[("Password", PASSWORD), (again, PASSWORD)]);
    ends(asked, 0, "home");
    // It was that one.
    let new = "another battery";
    let mut asked = alice.on_terminal(&["relay", "password", "home"]);
    answers(
        &mut asked,
        &[("Password of the account: ", PASSWORD), ("New password: ", new), (again, new)],
    );
    ends(asked, 0, "");
}

#[test]
fn another_device_is_displaced_after_a_yes() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [old, new] = ["old", "new"].map(|name| User::new(&folder.path().join(name)));
    let _daemons = [old.starts_daemon(), new.starts_daemon()];
    old.joins(&relay.invites("alice")).exits(0);
    let link = relay.types(&["address"]).ok();
    let login = ["relay", "login", &link, "--user", "alice", "--as", "home"];
    for (word, code, says) in [("n", 6, "--replace"), ("y", 0, "home")] {
        let mut asked = new.on_terminal(&login);
        answers(&mut asked, &[("Password of the account: ", PASSWORD)]);
        asked.shows("Displace it? [y/N] ");
        asked.types(&format!("{word}\r"));
        ends(asked, code, says);
    }
}

#[test]
fn a_fingerprint_is_taken_after_a_yes() {
    let folder = tempfile::tempdir().unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| User::new(&folder.path().join(name)));
    let _of_alice = alice.starts_daemon();
    let _of_bob = bob.starts_daemon_with(&["--listen", "127.0.0.1:0"]);
    let id = bob.amsctl(&["id", "--json"]).ok();
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let link = id["peer_links"][0].as_str().unwrap();
    let (address, _) = link.strip_prefix("ams://").unwrap().split_once('/').unwrap();
    let fingerprint = id["fingerprint"].as_str().unwrap();
    let connect = ["peer", "connect", address, "--as", "bob"];
    for (word, code, says) in [("", 4, fingerprint), ("yes", 0, "bob")] {
        let mut asked = alice.on_terminal(&connect);
        let shown = asked.shows("Is that who you mean? [y/N] ");
        assert!(shown.contains(fingerprint), "{shown}");
        asked.types(&format!("{word}\r"));
        ends(asked, code, says);
    }
}

/// Sealed at the terminal, a key file is opened there too, also by a daemon that goes to the background;
/// which keeps nothing of the terminal.
#[test]
fn a_passphrase_is_asked_for_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));
    drop(alice.goes_to_the_background());
    let new = ("A new passphrase: ", PASSWORD);
    let mut asked = alice.runs_on_terminal("amsd", &["--set-passphrase"]);
    answers(&mut asked, &[new, ("The same again: ", "another horse")]);
    ends(asked, 1, "differ; nothing was done");
    let mut asked = alice.runs_on_terminal("amsd", &["--set-passphrase"]);
    answers(&mut asked, &[new, ("The same again: ", PASSWORD)]);
    ends(asked, 0, "the key file is sealed");
    for (typed, code, says) in [("another horse", 1, "the passphrase is wrong"), (PASSWORD, 0, "")]
    {
        let mut asked = alice.runs_on_terminal("amsd", &["--daemon"]);
        answers(&mut asked, &[("assphrase", typed)]);
        ends(asked, code, says);
    }
    let _stopped_at_the_end = alice.in_the_background();
    let backup = folder.path().join("alice.backup");
    let mut asked = alice.on_terminal(&["backup", backup.to_str().unwrap()]);
    answers(
        &mut asked,
        &[("Passphrase of the backup: ", PASSWORD), ("The same again: ", PASSWORD)],
    );
    ends(asked, 0, "0 contacts");
    assert!(backup.exists());
}
