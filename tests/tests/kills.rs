//! Processes are killed at random moments while alice, bob and carol write to each other: nothing is
//! lost, nothing is shown twice, and the order of each talk is kept.
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

use ams_tests::ledger::Balance;
use ams_tests::process::{Process, file};
use ams_tests::seed::{self, Seed};
use ams_tests::shell::{self, Operator, Ran, User};
use ams_tests::traffic::{Door, Talk};

/// So soon half of the killed are there again.
const REOPENED: Duration = Duration::from_secs(1);

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

#[test]
fn a_kill_at_any_moment_loses_nothing_and_doubles_nothing() {
    let kills = seed::count("AMS_KILLS", 20);
    let mut seed = Seed::from_environment("AMS_KILLS_SEED");
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Operator::start(folder.path(), &["-vv"]);
    let mut people = NAMES.map(|name| {
        let user = User::new(&folder.path().join(name));
        let daemon = user.starts_daemon_with(&["-vv"]);
        user.joins(&relay.invites(name)).exits(0);
        (user, daemon)
    });
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        people[one].0.meets(NAMES[one], &people[other].0, NAMES[other]);
    }

    let doors = people.each_ref().map(|(user, _)| Door::new(user.home()));
    let end = |at: usize| (&doors[at], NAMES[at]);
    let pairs = (0..3).flat_map(|from| (0..3).map(move |to| (from, to)));
    let talks: Vec<_> = pairs
        .filter(|(from, to)| from != to)
        .map(|(from, to)| Talk::new(end(from), end(to)))
        .collect();
    let mut reopened = Vec::new();
    thread::scope(|scope| {
        for talk in &talks {
            scope.spawn(|| talk.write());
            scope.spawn(|| talk.read());
        }
        for _ in 0..kills {
            let talk = &talks[draw(&mut seed, talks.len())];
            talk.goes_on(1 + draw(&mut seed, 60));
            // Between two steps, too.
            spin(Duration::from_micros(seed.below(3_000)));
            let daemons = people.iter_mut().map(|(_, daemon)| daemon).zip(doors.iter().map(Some));
            let mut doomed: Vec<_> = daemons.chain([(&mut relay.process, None)]).collect();
            // One of them, or two at once.
            let many = 1 + draw(&mut seed, 2);
            while doomed.len() > many {
                doomed.swap_remove(draw(&mut seed, doomed.len()));
            }
            reopened.extend(kill(doomed));
        }
        talks.iter().for_each(Talk::close);
    });
    let messages: usize = talks.into_iter().map(Talk::ends).sum();
    eprintln!("{messages} messages in six directions");
    for (user, _) in &people {
        for from in NAMES.iter().filter(|name| !user.home().ends_with(name)) {
            let more = user.amsctl(&["recv", "--reader", from, "--from", from, "--json"]).ok();
            assert_eq!(more, "", "{from} sent something more");
        }
        let queue = user.amsctl(&["queue", "list", "--json"]).ok();
        assert!(queue.contains(r#""messages":[]"#), "{queue}");
    }
    reopened.sort();
    if let (Some(middle), Some(worst)) = (reopened.get(reopened.len() / 2), reopened.last()) {
        eprintln!("{kills} kills; half were there again in {middle:?}, all in {worst:?}");
        assert!(*middle < REOPENED, "{middle:?}");
    }
}

/// The control: a sender who is told that a message is accepted before it is on disk loses some, and that
/// is noticed.
#[test]
fn what_is_accepted_too_early_is_noticed() {
    let mut seed = Seed::from_environment("AMS_KILLS_SEED");
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [(alice, mut alices), (bob, _bobs)] = shell::friends(&relay, folder.path());
    let (from, to) = (Door::new(alice.home()), Door::new(bob.home()));
    let talk = Talk::hasty((&from, "alice"), (&to, "bob"));
    thread::scope(|scope| {
        scope.spawn(|| talk.write());
        scope.spawn(|| talk.read());
        for _ in 0..20 {
            talk.goes_on(1 + draw(&mut seed, 60));
            spin(Duration::from_micros(seed.below(3_000)));
            kill(vec![(&mut alices, Some(&from))]);
        }
        talk.close();
    });
    let balance = talk.balance();
    assert!(balance.lost > 0, "{balance:?}");
    assert_eq!(Balance { lost: 0, ..balance }, Balance::EVEN);
}

/// A number below `bound`.
fn draw(seed: &mut Seed, bound: usize) -> usize {
    usize::try_from(seed.below(u64::try_from(bound).unwrap())).unwrap()
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
