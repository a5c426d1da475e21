//! `amsctl --start`: a daemon where none runs, and never a second one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::thread;

use ams_tests::process::file;
use ams_tests::shell::User;

/// Stops the daemon of a test that went wrong before it did.
struct Stopped(User);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.amsctl(&["stop"]);
    }
}

fn pid(status: &str) -> u64 {
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    status["pid"].as_u64().unwrap()
}

#[test]
fn a_daemon_is_started_once() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));
    alice.amsctl(&["status"]).exits(11).says("amsd is not running");
    let first = pid(&alice.amsctl(&["--start", "--json", "status"]).ok());
    let stopped = Stopped(alice.clone());
    assert_eq!(pid(&alice.amsctl(&["--json", "status"]).ok()), first);
    assert_eq!(pid(&alice.amsctl(&["status", "--json", "--start"]).ok()), first);
    alice.amsctl(&["stop"]).exits(0);
    alice.amsctl(&["status"]).exits(11);
    drop(stopped);
}

#[test]
fn who_starts_it_at_the_same_time_meets_the_same_one() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));
    let stopped = Stopped(alice.clone());
    let asked: Vec<_> = (0..6)
        .map(|_| {
            let alice = alice.clone();
            thread::spawn(move || pid(&alice.amsctl(&["--start", "--json", "status"]).ok()))
        })
        .collect();
    let pids: Vec<u64> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    drop(stopped);
}

#[test]
fn why_it_does_not_start_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("alice");
    std::fs::create_dir(&home).unwrap();
    file(&home, "config.toml", "\npresence = 7\n");
    let alice = User::new(&home);
    alice.amsctl(&["--start", "status"]).exits(11).says("config.toml, line 2");
    let socket = home.join("amsd.sock");
    let named = ["--start", "--socket", socket.to_str().unwrap(), "status"];
    alice.amsctl(&named).exits(2);
    assert!(!home.join("data").exists(), "nothing was made");
    // What it says to type next is for the same profile, and one that a shell understands.
    let spaced = folder.path().join("alice's home");
    std::fs::rename(&home, &spaced).unwrap();
    let alice = User::new(&spaced);
    let amsd = format!("amsd --home '{}/alice'\\''s home' ", folder.path().display());
    alice.amsctl(&["--start", "status"]).exits(11).says(&format!("{amsd}--check"));
    alice.amsctl(&["status"]).exits(11).says(&format!("{amsd}--daemon"));
}
