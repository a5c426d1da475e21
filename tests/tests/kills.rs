//! Processes are killed at random moments while alice and bob write to each other: nothing is lost,
//! nothing is shown twice, and the order is kept.
//!
//! `AMS_KILLS=5000` makes it longer; `AMS_KILLS_SEED=N` repeats who is killed when, as far as the
//! machine repeats itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ams_tests::process::{Process, file};
use ams_tests::seed::{self, Seed};
use ams_tests::shell::{Operator, Ran, User};
use ams_tests::traffic::{Door, Talk};

/// So soon half of the killed are there again.
const REOPENED: Duration = Duration::from_secs(1);

#[test]
fn a_kill_at_any_moment_loses_nothing_and_doubles_nothing() {
    let kills = seed::count("AMS_KILLS", 20);
    let mut seed = Seed::from_environment("AMS_KILLS_SEED");
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Operator::start(folder.path(), &["-vv"]);
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| {
        let user = User::new(&folder.path().join(name));
        let daemon = user.starts_daemon_with(&["-vv"]);
        user.joins(&relay.invites(name)).exits(0);
        (user, daemon)
    });
    alice.0.meets("alice", &bob.0, "bob");

    let doors = [Door::new(alice.0.home()), Door::new(bob.0.home())];
    let to_bob = Talk::new(&doors[0], &doors[1], "bob");
    let to_alice = Talk::new(&doors[1], &doors[0], "alice");
    let mut reopened = Vec::new();
    thread::scope(|scope| {
        for talk in [&to_bob, &to_alice] {
            scope.spawn(|| talk.write());
            scope.spawn(|| talk.read());
        }
        for _ in 0..kills {
            let talk = if seed.below(2) == 0 { &to_bob } else { &to_alice };
            talk.goes_on(1 + usize::try_from(seed.below(60)).unwrap());
            // Between two steps, too.
            spin(Duration::from_micros(seed.below(3_000)));
            let mut doomed = vec![
                (&mut alice.1, Some(&doors[0])),
                (&mut bob.1, Some(&doors[1])),
                (&mut relay.process, None),
            ];
            // One of them, or two at once.
            while doomed.len() > 1 + usize::try_from(seed.below(2)).unwrap() {
                doomed.swap_remove(usize::try_from(seed.below(3)).unwrap() % doomed.len());
            }
            reopened.extend(kill(doomed));
        }
        to_bob.close();
        to_alice.close();
    });
    let counts = (to_bob.ends(), to_alice.ends());
    eprintln!("{} messages to bob, {} to alice", counts.0, counts.1);
    for (user, from) in [(&alice.0, "bob"), (&bob.0, "alice")] {
        assert_eq!(user.amsctl(&["recv", "--json"]).ok(), "", "{from} sent something more");
        let queue = user.amsctl(&["queue", "list", "--json"]).ok();
        assert!(queue.contains(r#""messages":[]"#), "{queue}");
    }
    reopened.sort();
    if let (Some(middle), Some(worst)) = (reopened.get(reopened.len() / 2), reopened.last()) {
        eprintln!("{kills} kills; half were there again in {middle:?}, all in {worst:?}");
        assert!(*middle < REOPENED, "{middle:?}");
    }
}

/// Kills them all, and then starts them all.
fn kill(mut doomed: Vec<(&mut Process, Option<&Door>)>) -> Vec<Duration> {
    doomed.iter().filter_map(|(_, door)| *door).for_each(Door::close);
    doomed.iter_mut().for_each(|(process, _)| process.kill());
    let took = doomed.iter_mut().map(|(process, _)| process.start()).collect();
    doomed.iter().filter_map(|(_, door)| *door).for_each(Door::open);
    took
}

/// Somebody new joins and asks carol, who lets everybody in; each step is cut off at some moment by
/// the death of a process, and then done again.
#[test]
fn a_kill_in_the_middle_of_joining_and_asking_burns_nothing() {
    let rounds = seed::count("AMS_KILLS", 20) / 4;
    let mut seed = Seed::from_environment("AMS_KILLS_SEED");
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Operator::start(folder.path(), &[]);
    let carol = User::new(&folder.path().join("carol"));
    fs::create_dir(carol.home()).unwrap();
    file(carol.home(), "config.toml", "requests = \"accept\"\n");
    let mut carols = carol.starts_daemon();
    carol.joins(&relay.invites("carol")).exits(0);
    for round in 0..rounds {
        let name = format!("person-{round}");
        let somebody = User::new(&folder.path().join(&name));
        let mut daemon = somebody.starts_daemon();
        let invite = relay.invites(&name);

        let join = || somebody.joins(&invite);
        cut_off(join, Duration::from_millis(seed.below(700)), || match seed.below(2) {
            0 => restart(&mut daemon),
            _ => restart(&mut relay.process),
        });
        join().exits(0);
        let users = relay.types(&["user", "list"]).ok();
        assert_eq!(users.lines().filter(|line| line.contains(&name)).count(), 1, "{users}");
        let relays = somebody.amsctl(&["relay", "list"]).ok();
        assert_eq!(relays.lines().count(), 1, "{relays}");

        let ask = || somebody.amsctl(&["contact", "add", "carol@home"]);
        cut_off(ask, Duration::from_millis(seed.below(60)), || match seed.below(3) {
            0 => restart(&mut daemon),
            1 => restart(&mut carols),
            _ => restart(&mut relay.process),
        });
        ask().exits(0);
        somebody.can_write_to("carol");
        carol.can_write_to(&name);
        for (from, to) in [(&somebody, "carol"), (&carol, name.as_str())] {
            let send = ["send", to, "--wait", "delivered", "--timeout", "60s", "hi"];
            from.amsctl(&send).exits(0);
        }
    }
    let got = carol.amsctl(&["recv", "--json"]).ok();
    assert_eq!(got.lines().count(), rounds, "{got}");
}

fn restart(process: &mut Process) {
    process.kill();
    process.start();
}

/// Runs a command, and kills while it runs, or right after it ended.
fn cut_off(run: impl Fn() -> Ran + Send, after: Duration, kill: impl FnOnce()) {
    thread::scope(|scope| {
        let (ended, end) = mpsc::channel();
        scope.spawn(move || {
            let ran = run();
            // Nobody listens any more where it was cut off.
            let _ = ended.send(ran);
        });
        let _ = end.recv_timeout(after);
        kill();
    });
}

/// A moment too short to wait for.
fn spin(length: Duration) {
    let began = Instant::now();
    while began.elapsed() < length {
        std::hint::spin_loop();
    }
}
