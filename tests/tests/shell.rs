//! The three programs as a user runs them: what is typed, what is written, how it exits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ams_tests::process::{command, file};
use ams_tests::shell::{self, Operator, PASSWORD, User, run};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// One JSON value a line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

#[test]
fn the_tour() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let (alice, bob) =
        (User::new(&folder.path().join("alice")), User::new(&folder.path().join("bob")));

    // The relay and its operator.
    let address = relay.types(&["address"]).ok();
    assert_eq!(address, relay.process.said());
    assert!(address.starts_with("ams://127.0.0.1:"), "{address}");
    let invite = relay.invites("alice");
    assert_eq!(invite.lines().count(), 1);

    // Daemons go to the background, and answer when the command returns.
    let _daemons = [&alice, &bob].map(User::goes_to_the_background);
    for user in [&alice, &bob] {
        assert!(user.amsctl(&["status"]).ok().contains("fingerprint"));
    }
    alice.joins(&invite).exits(0);
    bob.joins(&relay.invites("bob")).exits(0);
    let users = relay.types(&["user", "list"]).ok();
    assert!(users.contains("alice") && users.contains("bob"), "{users}");

    // They meet.
    let added = json(&alice.amsctl(&["--json", "contact", "add", "bob@home"]).ok());
    assert_eq!(added["state"], "pending");
    bob.accepts("alice");
    alice.can_write_to("bob");
    bob.can_write_to("alice");
    let number = json(&alice.amsctl(&["--json", "contact", "verify", "bob"]).ok());
    let number = number["safety_number"].as_str().unwrap();
    bob.amsctl(&["contact", "verify", "alice", "--confirm", number]).exits(0);

    // Sending, in every way.
    assert_eq!(alice.amsctl(&["send", "bob", "backup", "finished"]).ok(), "");
    alice.amsctl_with(&["send", "bob"], "from a pipe\nin two lines\n").exits(0);
    alice.amsctl_with(&["send", "bob", "-"], "from a dash\n\n").exits(0);
    alice.amsctl(&["send", "bob", "--", "-5 degrees"]).exits(0);
    let id = alice.amsctl(&["send", "--print-id", "bob", "with an id"]).ok();
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    let wait = ["message", "wait", &id, "--for", "delivered", "--timeout", "60s"];
    alice.amsctl(&wait).exits(0);
    let delivered =
        ["send", "bob", "--wait", "delivered", "--timeout", "60s", "--json", "waited for"];
    let delivered = json(&alice.amsctl(&delivered).ok());
    assert_eq!((&delivered["state"], &delivered["exit"]), (&"delivered".into(), &0.into()));

    // Receiving.
    let peeked = bob.amsctl(&["recv", "--peek", "--json"]).ok();
    let got = bob.amsctl(&["recv", "--json"]).ok();
    assert_eq!(lines(&peeked), lines(&got));
    let bodies: Vec<Value> =
        lines(&got).into_iter().map(|message| message["body"].clone()).collect();
    let expected = [
        "backup finished",
        "from a pipe\nin two lines",
        "from a dash\n",
        "-5 degrees",
        "with an id",
        "waited for",
    ];
    assert_eq!(bodies, expected);
    assert_eq!(bob.amsctl(&["recv"]).ok(), "");
    bob.amsctl(&["recv", "--timeout", "50ms"]).exits(12);
    alice.amsctl(&["message", "wait", &id, "--for", "read", "--timeout", "60s"]).exits(0);
    let steps = json(&alice.amsctl(&["message", "show", &id, "--json"]).ok());
    assert_eq!(steps["messages"][0]["state"], "read");

    // The text for people: one line, and nothing that moves the cursor.
    bob.amsctl(&["send", "alice", "--wait", "delivered", "\u{1b}[31mred"]).exits(0);
    let text = alice.amsctl(&["recv"]).ok();
    assert!(text.contains("bob: ") && !text.contains('\u{1b}'), "{text:?}");

    // To several at once: the highest exit code.
    let both = ["send", "--to", "bob", "--to", "carol", "for both"];
    alice.amsctl(&both).exits(7);
    bob.amsctl(&["recv", "--timeout", "60s"]).exits(0);

    // A daemon that stops: nothing is running then, and it says how to start it.
    bob.amsctl(&["stop"]).exits(0);
    bob.amsctl(&["status"]).exits(11).says("--daemon");
    alice.amsctl(&["send", "bob", "--wait", "sent", "--timeout", "60s", "later"]).exits(0);
    let short = ["send", "bob", "--wait", "delivered", "--timeout", "500ms", "later still"];
    alice.amsctl(&short).exits(10);
    let _again = bob.goes_to_the_background();
    let later = lines(&bob.amsctl(&["recv", "--json", "--max", "1", "--timeout", "60s"]).ok());
    assert_eq!(later[0]["body"], "later");
    let still = lines(&bob.amsctl(&["recv", "--json", "--max", "1", "--timeout", "60s"]).ok());
    assert_eq!(still[0]["body"], "later still");

    // What was said.
    let history = alice.amsctl(&["history", "bob"]).ok();
    assert!(history.contains("backup finished") && history.contains("red"), "{history}");
    let raw = alice.amsctl(&["call", "daemon.status"]).ok();
    assert_eq!(json(&raw)["relays"][0]["state"], "up");
    for user in [&alice, &bob] {
        user.amsctl(&["stop"]).exits(0);
    }
}

/// A message per run of a program, acknowledged by its success alone.
#[test]
fn a_program_takes_messages_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [(alice, _of_alice), (bob, _of_bob)] = shell::friends(&relay, folder.path());
    for body in ["1", "2"] {
        alice.amsctl(&["send", "bob", "--wait", "delivered", body]).exits(0);
    }
    bob.amsctl(&["recv", "--exec", "false"]).exits(1);
    let seen = bob.amsctl(&["recv", "--exec", "cat"]).ok();
    let bodies: Vec<Value> =
        lines(&seen).into_iter().map(|message| message["body"].clone()).collect();
    assert_eq!(bodies, ["1", "2"]);
    assert_eq!(bob.amsctl(&["recv"]).ok(), "");
}

/// A link from hand to hand, a backup, and the same person on another machine.
#[test]
fn people_meet_by_a_link_and_move_to_another_machine() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [alice, bob, anew] =
        ["alice", "bob", "anew"].map(|name| User::new(&folder.path().join(name)));
    let _daemons = [&alice, &bob, &anew].map(User::starts_daemon);
    alice.amsctl(&["contact", "link"]).exits(7).says("on no relay");
    alice.joins(&relay.invites("alice")).exits(0);
    let link = alice.amsctl(&["contact", "link", "--as", "robert"]).ok();
    bob.amsctl(&["contact", "add", &link]).exits(7).says("relay join");
    bob.joins(&relay.invites("bob")).exits(0);
    bob.amsctl(&["contact", "add", &link[..link.len() - 1]]).exits(2).says("damaged");
    bob.amsctl(&["contact", "add", &link]).exits(0);
    bob.can_write_to("alice");
    alice.can_write_to("robert");
    bob.amsctl(&["contact", "add", &link]).exits(6).says("already");
    let shown = json(&bob.amsctl(&["contact", "show", "alice", "--json"]).ok());
    assert_eq!((&shown["verified"], &shown["verified_by"]), (&true.into(), &"link".into()));
    let drawn = alice.amsctl(&["contact", "link", "--qr"]).ok();
    assert!(drawn.lines().count() > 20 && drawn.contains("/contact#"), "{drawn}");

    alice.amsctl(&["send", "robert", "--wait", "delivered", "hi"]).exits(0);
    let file = folder.path().join("alice.backup");
    let file = file.to_str().unwrap();
    let backup = ["backup", file, "--passphrase-file", "-"];
    alice.amsctl(&["backup", file]).exits(2).says("--passphrase-file");
    alice.amsctl_with(&backup, "short").exits(2);
    assert!(alice.amsctl_with(&backup, PASSWORD).ok().starts_with("1 contacts and 1 messages"));
    alice.amsctl_with(&backup, PASSWORD).exits(1).says("another name");
    let restore = ["restore", file, "--passphrase-file", "-"];
    anew.amsctl_with(&restore, "not the passphrase").exits(6).says("wrong");
    alice.amsctl_with(&restore, PASSWORD).exits(6).says("in use");
    let restored = anew.amsctl_with(&restore, PASSWORD).ok();
    let (_, login) = restored.split_once("amsctl relay login '").unwrap();
    let (address, _) = login.split_once('\'').unwrap();
    let login = ["relay", "login", address, "--user", "alice", "--password-file", "-"];
    anew.amsctl_with(&login, PASSWORD).exits(6).says("--replace");
    anew.amsctl_with(&[&login[..], &["--replace"]].concat(), PASSWORD).exits(0);
    anew.can_write_to("robert");
    let wait = ["--wait", "delivered", "--timeout", "60s"];
    anew.amsctl(&[&["send", "robert"], &wait[..], &["from here"]].concat()).exits(0);
    bob.amsctl(&[&["send", "alice"], &wait[..], &["there you are"]].concat()).exits(0);
    let shown = json(&bob.amsctl(&["contact", "show", "alice", "--json"]).ok());
    assert_eq!((&shown["verified"], &shown["state"]), (&true.into(), &"active".into()));
    let relays = json(&alice.amsctl(&["relay", "list", "--json"]).ok());
    assert_eq!(relays["relays"][0]["state"], "refused");
    assert!(relays["relays"][0]["reason"].as_str().unwrap().contains("another one was enrolled"));
}

/// Whatever goes wrong in the first hour: a sentence that says what to do next, the exit code, and
/// nothing was changed.
#[test]
fn mistakes_of_a_new_user() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let alice = User::new(&folder.path().join("alice"));
    let invite = relay.invites("alice");

    // No daemon.
    alice.amsctl(&["send", "bob", "hi"]).exits(11).says("--daemon");
    assert!(!alice.home().exists(), "a command made a profile");
    let _daemon = alice.starts_daemon();

    // Links: mistyped, cut off, of another kind, of a relay that nobody answers for.
    let last = if invite.ends_with('A') { "B" } else { "A" };
    let mistyped = invite[..invite.len() - 1].to_owned() + last;
    alice.joins(&mistyped).exits(2).says("damaged");
    alice.joins(&invite[..invite.len() - 7]).exits(2).says("damaged");
    alice.joins("https://example.org").exits(2).says("not an ams:// link");
    alice.joins(&relay.types(&["address"]).ok()).exits(2).says("invite");

    // Passwords: too short, empty, none, two.
    let join = ["relay", "join", &invite, "--password-file", "-"];
    alice.amsctl_with(&join, "short\n").exits(2).says("8 characters");
    alice.amsctl_with(&join, "\n").exits(2).says("empty");
    alice.amsctl(&["relay", "join", &invite]).exits(2).says("--password-file");
    alice.amsctl(&["relay", "join", &invite, "--password", PASSWORD]).exits(2);
    assert_eq!(alice.amsctl(&["relay", "list"]).ok(), "");

    // The invite is still good after all that, and then it is spent.
    alice.joins(&invite).exits(0);
    let mallory = User::new(&folder.path().join("mallory"));
    let _other = mallory.starts_daemon();
    let spent = mallory.joins(&invite).exits(6).says("spent, expired, or revoked");
    let never = relay.invites("carol");
    relay.types(&["invite", "revoke", "carol"]).exits(0);
    let revoked = mallory.joins(&never).exits(6);
    assert_eq!(spent.err, revoked.err, "the reason is told");
    relay.types(&["invite", "create", "dave", "--expires", "0s"]).exits(2).says("of no use");

    // Logging in: another device, a wrong password, nobody of that name.
    let address = relay.types(&["address"]).ok();
    let login = |user: &str, replace: &[&str], password: &str| {
        let typed = ["relay", "login", &address, "--user", user, "--password-file", "-"];
        mallory.amsctl_with(&[&typed[..], replace].concat(), password)
    };
    login("alice", &[], PASSWORD).exits(6).says("--replace");
    let wrong = login("alice", &["--replace"], "not her password").exits(6).says("wrong");
    let nobody = login("nobody", &["--replace"], "not her password").exits(6);
    assert_eq!(wrong.err, nobody.err, "it tells who exists");
    assert_eq!(mallory.amsctl(&["relay", "list"]).ok(), "");

    // Messages: to nobody, not approved, too long, empty, a bad id.
    alice.amsctl(&["send", "bob", "hi"]).exits(7).says("bob");
    alice.amsctl(&["contact", "add", "bob"]).exits(2);
    alice.amsctl(&["contact", "add", "bob@nowhere"]).exits(7).says("nowhere");
    alice.amsctl(&["contact", "add", "Bob!@home"]).exits(2);
    alice.amsctl(&["contact", "add", "alice@home"]).exits(2).says("your own");
    alice.amsctl(&["contact", "add", "bob@home"]).exits(0);
    alice.amsctl(&["send", "bob", "hi"]).exits(6).says("not");
    alice.amsctl_with(&["send", "bob"], "x".repeat(47 * 1024)).exits(2).says("46 KiB");
    alice.amsctl_with(&["send", "bob"], "").exits(2).says("empty");
    alice.amsctl(&["send", "bob", ""]).exits(2).says("empty");
    alice.amsctl_with(&["send", "bob"], b"\xff\xfe").exits(2).says("UTF-8");
    alice.amsctl(&["send", "bob", "--id", "XYZ", "hi"]).exits(2);
    let ids = ["send", "--to", "bob", "--to", "carol", "--id", &"0".repeat(32), "hi"];
    alice.amsctl(&ids).exits(2);
    let queue = json(&alice.amsctl(&["queue", "list", "--json"]).ok());
    assert_eq!(queue["messages"], Value::Array(Vec::new()));

    // Misspelt: a command, an option, a method, a parameter.
    alice.amsctl(&["sned", "bob", "hi"]).exits(2).says("send");
    alice.amsctl(&["send", "bob", "--wiat", "sent", "hi"]).exits(2).says("--wait");
    alice.amsctl(&["send", "bob", "--wait", "delivred", "hi"]).exits(2);
    alice.amsctl(&["recv", "--timeout", "soon"]).exits(2);
    alice.amsctl(&["call", "message.sned"]).exits(2).says("message.sned");
    alice.amsctl(&["call", "message.send", r#"{"too":"bob","body":"hi"}"#]).exits(2).says("too");
    alice.amsctl(&["call", "message.send", "{"]).exits(2);

    // What is not there.
    alice.amsctl(&["message", "show", &"0".repeat(32)]).exits(7);
    alice.amsctl(&["contact", "accept", "bob"]).exits(7);
    alice.amsctl(&["relay", "connect", "work"]).exits(7);
    alice.amsctl(&["recv", "--from", "nobody"]).exits(7);
    alice.amsctl(&["reader", "remove", "nobody"]).exits(7);
}

#[test]
fn a_relay_that_is_not_there_or_not_the_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Operator::start(folder.path(), &[]);
    let alice = User::new(&folder.path().join("alice"));
    let _daemon = alice.starts_daemon();
    let invite = relay.invites("alice");
    relay.process.kill();
    alice.joins(&invite).exits(3).says("connection refused");

    // The same address, another relay.
    let data = folder.path().join("another");
    let at = invite.strip_prefix("ams://").unwrap().split('/').next().unwrap();
    let arguments = ["serve", "--data", data.to_str().unwrap(), "--listen", at];
    let beside = folder.path().join("another-process");
    let mut other = ams_tests::process::Process::new("ams-relay", &arguments, &beside);
    other.start();
    alice.joins(&invite).exits(3).says("not the relay of this link, or its key changed");
    drop(other);

    // The right one again, and the invite is still good.
    relay.process.start();
    alice.joins(&invite).exits(0);
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));

    // A config with a mistake: which line, which key.
    fs::create_dir(alice.home()).unwrap();
    fs::set_permissions(alice.home(), fs::Permissions::from_mode(0o700)).unwrap();
    file(alice.home(), "config.toml", "requests = \"ask\"\nread_recipts = true\n");
    for arguments in [&["--daemon"][..], &[]] {
        let refused = alice.amsd(arguments).exits(2).says("line 2");
        assert!(refused.err.contains("read_recipts"), "{}", refused.err);
    }
    file(alice.home(), "config.toml", "");

    // A second daemon on the same home names the first one.
    let daemon = alice.starts_daemon();
    alice.amsd(&[]).exits(3).says(&format!("pid {}", daemon.pid()));
    drop(daemon);

    // Folders: one that others can write, one that cannot be made, a path that is too long.
    fs::set_permissions(alice.home(), fs::Permissions::from_mode(0o777)).unwrap();
    alice.amsd(&[]).exits(1).says("chmod go-w");
    file(folder.path(), "plain", "not a folder");
    User::new(&folder.path().join("plain/home")).amsd(&[]).exits(1).says("plain/home");
    let long = User::new(&folder.path().join("x".repeat(120)));
    long.amsd(&[]).exits(1).says("shorter home folder");
    long.amsctl(&["status"]).exits(2).says("shorter home folder");
    assert!(!long.home().exists());

    alice.amsd(&["--no-such-option"]).exits(2);
}

/// A profile whose database is gone is an error, and never a new profile.
#[test]
fn a_profile_that_lost_its_database_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));
    drop(alice.goes_to_the_background());
    alice.amsd(&["--check"]).exits(0);
    fs::remove_file(alice.home().join("data/amsd.redb")).unwrap();
    let refused = alice.amsd(&[]).exits(1);
    assert!(!refused.err.is_empty());
    assert!(!alice.home().join("data/amsd.redb").exists(), "it was made anew");
}

#[test]
fn a_relay_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let serve = |data: &str, more: &[&str]| {
        let data = folder.path().join(data);
        run("ams-relay", &[&["serve", "--data", data.to_str().unwrap()], more].concat(), b"")
    };
    // A port that is taken, every address and no public one, the same folder twice.
    let taken = relay.process.said().strip_prefix("ams://").unwrap().split('/').next().unwrap();
    let refused = serve("other", &["--listen", taken]).exits(1);
    assert!(refused.err.contains(taken), "{}", refused.err);
    serve("other", &["--listen", "0.0.0.0:0"]).exits(1).says("--public-address");
    let free = ["--listen", "127.0.0.1:0"];
    serve("relay-data", &free).exits(1).says(&relay.process.pid().to_string());
    // A config with a mistake.
    let config =
        file(folder.path(), "bad.toml", "retry_window = \"60s\"\nregistraton = \"invite\"\n");
    let bad = [&free[..], &["--config", config.to_str().unwrap()]].concat();
    let refused = serve("other", &bad).exits(2);
    assert!(refused.err.contains("registraton") && refused.err.contains('2'), "{}", refused.err);
    // A folder that is none.
    file(folder.path(), "plain", "not a folder");
    serve("plain/data", &free).exits(1);
    // Administration of what is not there.
    let nowhere = folder.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let refused = run("ams-relay", &["invite", "create", "alice", "--data", nowhere], b"");
    assert_ne!(refused.exit, 0);
    assert!(refused.err.contains("no relay"), "{}", refused.err);
    assert!(!folder.path().join("nowhere").exists());
}

/// The operator's commands do the same with the relay running and stopped.
#[test]
fn administration_works_with_the_relay_running_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Operator::start(folder.path(), &[]);
    let alice = User::new(&folder.path().join("alice"));
    let _daemon = alice.starts_daemon();
    alice.joins(&relay.invites("alice")).exits(0);

    let listed =
        ["address", "user list", "invite list"].map(|typed| typed.split(' ').collect::<Vec<_>>());
    let _ = relay.invites("bob");
    let running = listed.clone().map(|typed| relay.types(&typed).ok());
    assert!(running[1].contains("alice") && running[2].contains("bob"), "{running:?}");
    let status = relay.types(&["status", "--json"]).ok();
    assert_eq!(json(&status)["running"], true);
    assert_eq!(json(&status)["connections"], 1);

    relay.process.kill();
    let stopped = listed.map(|typed| relay.types(&typed).ok());
    assert_eq!(running[0], stopped[0]);
    assert_eq!(running[2], stopped[2]);
    assert!(stopped[1].contains("alice"), "{stopped:?}");
    assert_eq!(json(&relay.types(&["status", "--json"]).ok())["running"], false);
    let offline = relay.invites("carol");
    relay.types(&["user", "disable", "alice"]).exits(0);
    relay.types(&["user", "disable", "nobody"]).exits(7);
    relay.types(&["invite", "create", "Not A Name"]).exits(2);

    relay.process.start();
    let carol = User::new(&folder.path().join("carol"));
    let _other = carol.starts_daemon();
    carol.joins(&offline).exits(0);
    relay.types(&["user", "enable", "alice"]).exits(0);
    let reset = relay.types(&["user", "reset", "alice"]).ok();
    assert!(reset.contains("/invite#"), "{reset}");

    let backup = folder.path().join("backup");
    relay.types(&["backup", backup.to_str().unwrap()]).exits(0);
    assert!(backup.is_file());
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    relay.types(&["backup", backup.to_str().unwrap()]).exits(2).says("new file");

    relay.types(&["user", "remove", "alice"]).exits(0);
    let again = relay.types(&["invite", "create", "alice"]);
    assert_ne!(again.exit, 0, "a name was given again");
}

/// Whatever reads a pipe and stops is no reason for a panic.
#[test]
fn help_is_there_for_everything() {
    for program in ["amsd", "amsctl", "ams-relay"] {
        assert!(run(program, &["--version"], b"").ok().contains(env!("CARGO_PKG_VERSION")));
        assert!(run(program, &["--help"], b"").ok().contains("Usage"));
    }
    let mut closed = command("amsctl");
    closed.arg("--help").stdout(std::process::Stdio::piped());
    let mut child = closed.spawn().unwrap();
    drop(child.stdout.take());
    assert_ne!(child.wait().unwrap().code(), Some(101));
}
