//! The long suites against a relay as strangers see it, run by hand: does time tell who exists, and
//! does a crowd of abusers keep others out? Small runs of both are tests.
//!
//! `cargo run --release -p ams-tests --bin siege -- timing [KIND...]` and `... -- abuse`, after
//! `cargo build --release --workspace`. `AMS_TRIALS` says how many trials of each kind, or how many
//! abusers; `AMS_LOAD` how many percent of each processor others use meanwhile.
//!
//! 1. [`world`]: a relay with people on it; [`leaking`]: the control
//! 2. [`client`]: notes when bytes come
//! 3. [`timing`]: trials, and what they say by [`statistics`]
//! 4. [`mod@abuse`]: the crowd and the honest
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for developers that prints a report; what goes wrong ends it"
)]

mod abuse;
mod client;
mod leaking;
mod statistics;
mod timing;
mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use ams_tests::seed::count;
use anyhow::{Result, bail, ensure};
use tokio::runtime::{Builder, Runtime};

use timing::{KINDS, Kind};
use world::World;

/// Argument by which this program runs again as the control.
const LEAKING_RELAY: &str = "leaking-relay";
/// Unless `AMS_TRIALS` says otherwise. A login waits for two ticks, so there are fewer of them.
const TRIALS: usize = 20_000;
const LOGINS: usize = 2_000;
const ABUSERS: usize = 100_000;
/// Names of each class; with more trials they come again.
const MOST_NAMES: usize = 20_000;
/// What a crowd may make the relay grow by, MiB.
const MOST_GROWTH: f64 = 64.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [LEAKING_RELAY, folder] => leaking::serve(Path::new(folder)),
        ["timing", kinds @ ..] => time(kinds),
        ["abuse"] => abuse(),
        _ => bail!("say `timing [add|login|send|gone|blocking]...` or `abuse`"),
    }
}

fn time(kinds: &[&str]) -> Result<()> {
    for kind in kinds {
        ensure!(KINDS.iter().any(|(name, _)| name == kind), "there is no kind `{kind}`");
    }
    load(count("AMS_LOAD", 0))?;
    let kinds = KINDS.iter().filter(|(name, _)| kinds.is_empty() || kinds.contains(name));
    let mut failures = Vec::new();
    for (name, kind) in kinds {
        let usual = if *kind == Kind::Login { LOGINS } else { TRIALS };
        let trials = count("AMS_TRIALS", usual);
        let plain = measure(*kind, trials, false)?;
        let verdict = timing::judge(*kind, &plain);
        println!("{name}, {} trials\n{}\n{}", plain.len(), timing::HEAD, verdict.table.trim_end());
        println!("  differs: {:?}; undecided: {:?}", verdict.differs, verdict.undecided);
        println!("  5 µs in this noise would be seen: {}", timing::would_be_seen(*kind, &plain));
        if !verdict.differs.is_empty() {
            failures.push(format!("{name} differs"));
        }
        if kind.has_control() {
            let leaking = measure(*kind, trials, true)?;
            let verdict = timing::judge(*kind, &leaking);
            println!("{name}, the control\n{}\n{}", timing::HEAD, verdict.table.trim_end());
            println!("  differs: {:?}", verdict.differs);
            if verdict.differs.is_empty() {
                failures.push(format!("the control of {name} was not caught"));
            }
        }
    }
    ensure!(failures.is_empty(), "{failures:?}");
    Ok(())
}

/// The trials of one kind on a relay of their own.
fn measure(kind: Kind, trials: usize, leaking: bool) -> Result<Vec<timing::Trial>> {
    let folder = tempfile::tempdir()?;
    let runtime = runtime()?;
    // Half of the trials are of each class.
    let world = runtime.block_on(World::new(folder.path(), (trials / 2 + 1).min(MOST_NAMES)))?;
    let relay = world.serve(leaking)?;
    runtime.block_on(timing::run(&world, relay.place, kind, trials))
}

/// One thread: what is measured must not wait for another one.
fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Keeps every processor busy for so many percent of the time, as long as the program runs.
fn load(percent: usize) -> Result<()> {
    const ROUND: Duration = Duration::from_millis(10);
    ensure!(percent < 100, "AMS_LOAD is below 100");
    let busy = ROUND * u32::try_from(percent)? / 100;
    if percent > 0 {
        for _ in 0..std::thread::available_parallelism()?.get() {
            std::thread::spawn(move || {
                loop {
                    let began = Instant::now();
                    while began.elapsed() < busy {
                        std::hint::spin_loop();
                    }
                    std::thread::sleep(ROUND - busy);
                }
            });
        }
    }
    Ok(())
}

fn abuse() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = runtime()?;
    let beside = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let world = runtime.block_on(World::new(folder.path(), 0))?;
    let mut relay = world.serve(false)?;
    let began = Instant::now();
    let abusers = count("AMS_TRIALS", ABUSERS);
    let report = runtime.block_on(abuse::run(&world, &mut relay, abusers, beside.handle()))?;
    let at = |of: &[f64], share: f64| {
        of.get((of.len() as f64 * share) as usize).or(of.last()).copied().unwrap_or(0.0)
    };
    println!(
        "{} connections in {:.0} s, {} of them closed by the relay",
        report.made,
        began.elapsed().as_secs_f64(),
        report.closed
    );
    for (what, times) in [("messages", &report.messages), ("links", &report.links)] {
        println!(
            "honest {what}: {}, p50 {:.0} µs, p99 {:.0} µs",
            times.len(),
            at(times, 0.5),
            at(times, 0.99)
        );
    }
    println!("links that took another try: {}", report.refused);
    let (before, most) = report.memory;
    println!("memory: {before:.1} MiB before, {most:.1} MiB at most");
    ensure!(most - before <= MOST_GROWTH, "the relay grew by {:.0} MiB", most - before);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without looking at any time: everything that is named is seen, of both classes, and sizes and
    /// order are the same.
    #[test]
    fn the_timing_suite_runs() {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let world = World::new(folder.path(), 20).await.unwrap();
            let relay = world.serve_inside().await.unwrap();
            for (name, kind) in KINDS {
                let trials = timing::run(&world, relay.place, kind, 40).await.unwrap();
                assert_eq!(trials.len(), 40, "{name}");
                let last = |class: bool| {
                    let of_class = trials.iter().find(|trial| trial.0 == class);
                    of_class.unwrap().1.last().copied().unwrap()
                };
                assert_eq!(last(true), last(false), "{name}");
                assert!(timing::judge(kind, &trials).table.contains("ping beside"));
            }
        });
    }

    #[test]
    fn the_abuse_suite_runs() {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let world = World::new(folder.path(), 0).await.unwrap();
            let mut relay = world.serve_inside().await.unwrap();
            let beside = tokio::runtime::Handle::current();
            let report = abuse::run(&world, &mut relay, 300, &beside).await.unwrap();
            assert_eq!(report.made, 300);
            assert!(report.closed > 0 && !report.messages.is_empty(), "{report:?}");
        });
    }
}
