//! The clients in `packaging/examples`, in Python and in POSIX shell, as somebody runs who copied
//! them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use ams_tests::process::Process;
use ams_tests::programs::{program, root};
use ams_tests::shell::{self, Operator, User};
use serde_json::{Value, json};

/// Whether a program that the test cannot do without is there; what lacks is said.
fn is_there(program: &str) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !there.status.success() {
        eprintln!("skipped: {program} is not installed, so the client that needs it was not run");
    }
    there.status.success()
}

struct Friends {
    alice: User,
    bob: User,
    _running: (Operator, [Process; 2]),
}

fn friends(folder: &Path) -> Friends {
    let relay = Operator::start(folder, &[]);
    let [(alice, of_alice), (bob, of_bob)] = shell::friends(&relay, folder);
    Friends { alice, bob, _running: (relay, [of_alice, of_bob]) }
}

/// `AMS_HOME=… CLIENT …`
fn client(user: &User, file: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(root().join("packaging/examples").join(file));
    command.args(arguments).env("AMS_HOME", user.home()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn exits(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{complained}");
    said
}

/// A program that runs until the test has seen enough.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const NASTY: &str =
    "it's \"quoted\", 50 % of C:\\new\nand a second line\twith a tab: € 世界 {\"cursor\":\"9\"}";

#[test]
fn the_python_client_sends_receives_and_echoes() {
    if !is_there("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Friends { alice, bob, .. } = &friends(folder.path());
    // Readers begin when they are made.
    for (user, reader) in [(bob, "echo-bot"), (alice, "log")] {
        user.amsctl(&["recv", "--reader", reader]).exits(0);
    }
    let _bot = Running(client(bob, "ams.py", &["echo"]).spawn().unwrap());
    let mut log = Running(client(alice, "ams.py", &["recv", "log"]).spawn().unwrap());
    let sent = client(alice, "ams.py", &["send", "bob", NASTY]).output().unwrap();
    assert_eq!(exits(&sent, 0), "delivered\n");
    let mut line = String::new();
    BufReader::new(log.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let echoed: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(echoed, json!({"from": "bob", "body": NASTY}));

    // What it was refused is told, with the exit code that amsctl would have.
    let refused = client(alice, "ams.py", &["send", "carol", "hi"]).output().unwrap();
    exits(&refused, 7);
    let gone = User::new(&folder.path().join("nobody"));
    exits(&client(&gone, "ams.py", &["send", "bob", "hi"]).output().unwrap(), 11);
    exits(&client(alice, "ams.py", &["sned"]).output().unwrap(), 2);
}

/// Without `AMS_HOME` they look where `amsctl` does.
#[test]
fn the_clients_find_the_socket_where_amsctl_does() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));
    let _daemon = alice.starts_daemon();
    let user = rustix::process::geteuid().as_raw();
    let (run, tmp) = (folder.path().join("run"), folder.path().join("tmp"));
    for (place, name) in [(&run, "ams".to_owned()), (&tmp, format!("ams-{user}"))] {
        fs::create_dir(place).unwrap();
        symlink(alice.home(), place.join(name)).unwrap();
    }
    let nowhere = folder.path().join("nowhere");
    let examples = root().join("packaging/examples");
    // Of the clients: nobody is called carol, and the daemon says so.
    let programs = [
        (program("amsctl"), "amsctl", 7),
        (examples.join("ams.py"), "python3", 7),
        (examples.join("ams.sh"), "nc", 1),
    ];
    for (path, needs, refused) in programs {
        if needs != "amsctl" && !is_there(needs) {
            continue;
        }
        let exits = |runtime: Option<&Path>, temporary: &Path| {
            let mut command = Command::new(&path);
            command.args(["send", "carol", "hi"]).env_remove("AMS_HOME").stdin(Stdio::null());
            command.env("TMPDIR", temporary).env("HOME", folder.path());
            match runtime {
                Some(runtime) => command.env("XDG_RUNTIME_DIR", runtime),
                None => command.env_remove("XDG_RUNTIME_DIR"),
            };
            command.output().unwrap().status.code()
        };
        for (runtime, temporary, code) in [
            (Some(run.as_path()), nowhere.as_path(), refused),
            (None, &tmp, refused),
            (Some(Path::new("")), &tmp, refused),
            (Some(Path::new("relative")), &tmp, refused),
            (Some(&nowhere), &tmp, 11),
            (None, &nowhere, 11),
        ] {
            assert_eq!(exits(runtime, temporary), Some(code), "{needs}: {runtime:?} {temporary:?}");
        }
    }
}

/// One that dies in the middle of its work has not acknowledged it.
#[test]
fn what_the_python_client_did_not_finish_comes_again() {
    if !is_there("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Friends { alice, bob, .. } = &friends(folder.path());
    bob.amsctl(&["recv", "--reader", "work"]).exits(0);
    alice.amsctl(&["send", "bob", "--wait", "delivered", "--timeout", "1m", "job"]).exits(0);
    let examples = root().join("packaging/examples");
    let program = "import sys; sys.path.insert(0, sys.argv[1])\n\
                   import ams\n\
                   for message in ams.Daemon().messages('work'):\n\
                   \x20   raise SystemExit(3)\n";
    let fails = || {
        let mut python = Command::new("python3");
        python.args(["-B", "-c", program]).arg(&examples).env("AMS_HOME", bob.home());
        python.status().unwrap().code()
    };
    assert_eq!(fails(), Some(3));
    let again = bob.amsctl(&["recv", "--reader", "work", "--peek", "--json"]).ok();
    assert!(again.contains("\"job\""), "{again}");
}

#[test]
fn the_shell_client_sends_and_receives() {
    if !is_there("nc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Friends { alice, bob, .. } = &friends(folder.path());
    bob.amsctl(&["recv", "--reader", "log"]).exits(0);
    let sent = client(alice, "ams.sh", &["send", "bob", NASTY]).output().unwrap();
    let answer: Value = serde_json::from_str(&exits(&sent, 0)).unwrap();
    assert_eq!(answer["result"]["exit"], 0, "{answer}");
    // Work that fails is not acknowledged.
    let failed = client(bob, "ams.sh", &["recv", "log", "false"]).output().unwrap();
    exits(&failed, 1);
    let got = client(bob, "ams.sh", &["recv", "log", "cat"]).output().unwrap();
    let got: Value = serde_json::from_str(&exits(&got, 0)).unwrap();
    assert_eq!(got["result"]["messages"][0]["body"], NASTY);
    assert_eq!(bob.amsctl(&["recv", "--reader", "log"]).ok(), "", "it was acknowledged");

    exits(&client(alice, "ams.sh", &["send", "carol", "hi"]).output().unwrap(), 1);
    let gone = User::new(&folder.path().join("nobody"));
    exits(&client(&gone, "ams.sh", &["send", "bob", "hi"]).output().unwrap(), 11);
    exits(&client(alice, "ams.sh", &[]).output().unwrap(), 2);
}
