//! `amsctl notify`, on a bus of the test's own with somebody on it who shows notifications: the mock of
//! python3-dbusmock, where that is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a surprise ends the test that met it"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use ams_tests::PATIENCE;
use ams_tests::process::{command, file};
use ams_tests::programs::program;
use ams_tests::shell::{Operator, User};
use serde_json::json;

/// Debian's own: another one first on the path may not have its packages.
const PYTHON: &str = "/usr/bin/python3";

/// Starts a bus and a desktop, says where, and then what it is told to show; ends with its stdin.
const DESKTOP: &str = r#"
import os, subprocess, sys, threading
import dbusmock

class Bus(dbusmock.DBusTestCase):
    pass

Bus.start_session_bus()
shows, _ = Bus.spawn_server_template("notification_daemon", {}, stdout=subprocess.PIPE)
print(os.environ["DBUS_SESSION_BUS_ADDRESS"], flush=True)

def told():
    for line in shows.stdout:
        print(line.decode().rstrip(), flush=True)

threading.Thread(target=told, daemon=True).start()
sys.stdin.read()
shows.terminate()
shows.wait()
Bus.tearDownClass()
os._exit(0)
"#;

struct Desktop {
    child: Child,
    stdin: Option<ChildStdin>,
    address: String,
    told: Receiver<String>,
}

impl Desktop {
    /// `None`, with the reason printed, where there can be none.
    fn start() -> Option<Self> {
        let has = |program: &str, arguments: &[&str]| {
            let mut run = Command::new(program);
            run.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
            run.status().is_ok_and(|status| status.success())
        };
        if !has("dbus-daemon", &["--version"]) || !has(PYTHON, &["-c", "import dbusmock"]) {
            println!("skipped: it needs dbus-daemon and python3-dbusmock, which are not installed");
            return None;
        }
        let mut run = Command::new(PYTHON);
        run.args(["-c", DESKTOP]).stdin(Stdio::piped()).stdout(Stdio::piped());
        run.env_remove("DBUS_SESSION_BUS_ADDRESS");
        let mut child = run.spawn().unwrap();
        let stdin = child.stdin.take();
        let out = child.stdout.take().unwrap();
        let (sender, told) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let address = told.recv_timeout(PATIENCE).expect("the address of a bus");
        Some(Self { child, stdin, address, told })
    }

    /// What is shown next.
    #[track_caller]
    fn shows(&self) -> String {
        loop {
            let told = self.told.recv_timeout(PATIENCE).expect("a notification");
            if told.contains(" Notify ") {
                return told;
            }
        }
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

fn notify(address: &str, input: &str) -> Output {
    let mut run = command("amsctl");
    run.arg("notify").env("DBUS_SESSION_BUS_ADDRESS", address);
    run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().unwrap();
    // It may not read all of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn what_is_no_event_and_a_desktop_that_is_not_there_are_told() {
    let nowhere = "unix:path=/nonexistent/bus";
    for input in ["", "hello", "{}", "{\"type\":\"message.received\"}"] {
        let ran = notify(nowhere, input);
        assert_eq!(ran.status.code(), Some(2), "{input}: {ran:?}");
        assert!(String::from_utf8_lossy(&ran.stderr).contains("no event of a hook"), "{ran:?}");
    }
    let online = json!({"hook": "n", "test": false, "tries": 0, "time": "2026-11-24T10:45:00Z",
        "type": "contact.online", "contact": "bob", "contact_id": "1", "verified": true});
    let ran = notify(nowhere, &online.to_string());
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("is not shown") && said.contains("pass_env"), "{said}");
}

#[test]
fn a_message_is_shown_on_the_desktop() {
    let Some(desktop) = Desktop::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [alice, bob] = ["alice", "bob"].map(|name| User::new(&folder.path().join(name)));
    fs::create_dir(alice.home()).unwrap();
    fs::set_permissions(alice.home(), fs::Permissions::from_mode(0o700)).unwrap();
    let config = format!(
        "[[hook]]\nname = 'notify'\nrun = ['{}', 'notify']\n\
         pass_env = ['DBUS_SESSION_BUS_ADDRESS']\n",
        program("amsctl").display()
    );
    file(alice.home(), "config.toml", &config);
    let mut hers = alice.daemon(&[]).with("DBUS_SESSION_BUS_ADDRESS", &desktop.address);
    hers.start();
    let _his = bob.starts_daemon();
    for (user, name) in [(&alice, "alice"), (&bob, "bob")] {
        user.joins(&relay.invites(name)).exits(0);
    }
    alice.meets("alice", &bob, "bob");

    alice.amsctl(&["hook", "test", "notify"]).exits(0);
    let shown = desktop.shows();
    assert!(shown.contains("\"AMS\"") && shown.contains("test: Test"), "{shown}");

    let nasty = "<b>rm</b> & <a href='x'>\u{1b}[31m\u{202e}x";
    bob.amsctl(&["send", "alice", "--title", "Disk <i>", "--priority", "5", nasty]).exits(0);
    let shown = desktop.shows();
    assert!(shown.contains("bob (unverified): Disk <i>"), "{shown}");
    assert!(shown.contains("&lt;b&gt;rm&lt;/b&gt; &amp; &lt;a href='x'&gt;"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    assert!(shown.contains("\"urgency\": 2") || shown.contains("'urgency': 2"), "{shown}");
    bob.amsctl(&["send", "alice", "--priority", "1", "later"]).exits(0);
    let shown = desktop.shows();
    assert!(shown.contains("urgency\": 0") || shown.contains("urgency': 0"), "{shown}");
}
