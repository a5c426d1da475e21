//! The real daemons and relays under virtual time, on disks and networks that fail, led by a seed.
//!
//! ```text
//! cargo test -p ams-tests --test simulation
//! AMS_SEEDS=20000 cargo test --profile long -p ams-tests --test simulation more_seeds -- --ignored --nocapture
//! AMS_SEED=17 cargo test -p ams-tests --test simulation one_seed -- --ignored --nocapture
//! ```
//!
//! The first runs 200 seeds; the second 20,000 others; the third one, and it tells what happens. With
//! `AMS_RELAYS_ALONE` nobody has direct links in it, as in the first seeds that were kept.
//!
//! In the order in which a run meets them: [`world`] (disks of people who have accounts), [`person`]
//! and [`relay`] on a [`disk`] each, [`net`] and its [`wire`]s between them, [`street`] and its
//! [`line`]s between people without a relay, [`story`] (what happens: [`contacts`], [`direct`],
//! [`talk`], [`reader`], [`trouble`]), [`books`] (what was accepted and shown), [`travel`] (every
//! envelope on the way), [`verdict`], [`memory`].
//!
//! A seed gives the same schedule and the same faults each time. Keys, handles and ids come from the
//! operating system, so what depends on their order may differ.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

mod books;
mod contacts;
mod direct;
mod disk;
mod line;
mod memory;
mod net;
mod person;
mod reader;
mod relay;
mod story;
mod street;
mod talk;
mod travel;
mod trouble;
mod verdict;
mod wire;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use ams_tests::seed::count;
use memory::Memory;
use story::{Control, Story, Ways};

thread_local! {
    /// What panicked in this thread. A task that does is nobody's to wait for.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
}

/// What is wrong after the run of a seed.
fn run(number: u64, control: Control, ways: Ways) -> Vec<String> {
    note_panics();
    let beginning = world::beginning();
    let runtime = world::runtime();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut story = Story::begin(beginning, number, control, ways).await;
            story.run().await;
            let wrong = story.verdict().await;
            story.tell_figures();
            wrong
        })
    }));
    drop(runtime);
    let mut wrong = ran.unwrap_or_default();
    wrong.extend(PANICS.take());
    wrong
}

/// Runs seeds; a failure says how to see it again.
fn run_all(seeds: impl Iterator<Item = u64>, ways: Ways) {
    let also = if ways == Ways::Relays { "AMS_RELAYS_ALONE=1 " } else { "" };
    let (mut done, mut failed, mut memory) = (0_u64, Vec::new(), Memory::default());
    for number in seeds {
        let mut wrong = run(number, Control::Honest, ways);
        done += 1;
        wrong.extend(memory.look(done));
        if done % 100 == 0 {
            eprintln!("{done} seeds; {}", memory.tell());
        }
        if !wrong.is_empty() {
            eprintln!("seed {number}:\n  {}", wrong.join("\n  "));
            eprintln!(
                "  {also}AMS_SEED={number} cargo test -p ams-tests --test simulation one_seed -- --ignored --nocapture\n"
            );
            failed.push(number);
        }
    }
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
}

/// Twenty tests, so that they run beside each other.
macro_rules! seeds {
    ($($name:ident $first:literal)+) => {$(
        #[test]
        fn $name() {
            run_all($first..$first + 10, Ways::All);
        }
    )+};
}
seeds! {
    seeds_from_0 0
    seeds_from_10 10
    seeds_from_20 20
    seeds_from_30 30
    seeds_from_40 40
    seeds_from_50 50
    seeds_from_60 60
    seeds_from_70 70
    seeds_from_80 80
    seeds_from_90 90
    seeds_from_100 100
    seeds_from_110 110
    seeds_from_120 120
    seeds_from_130 130
    seeds_from_140 140
    seeds_from_150 150
    seeds_from_160 160
    seeds_from_170 170
    seeds_from_180 180
    seeds_from_190 190
}

/// The control: what is broken on purpose is noticed, within the seeds that every test run has.
fn is_noticed(control: Control) {
    let noticed = (0..40).find(|number| !run(*number, control, Ways::All).is_empty());
    assert!(noticed.is_some(), "{control:?} went unnoticed");
    eprintln!("{control:?}: noticed by seed {noticed:?}");
}

#[test]
fn disks_that_lie_are_noticed() {
    is_noticed(Control::LyingDisk);
}

#[test]
fn daemons_that_forget_are_noticed() {
    is_noticed(Control::Forgetful);
}

#[test]
fn daemons_that_answer_before_they_write_are_noticed() {
    is_noticed(Control::Hasty);
}

#[test]
fn relays_that_are_told_before_it_is_stored_are_noticed() {
    is_noticed(Control::Eager);
}

#[test]
fn contacts_that_are_told_before_it_is_stored_are_noticed() {
    is_noticed(Control::EagerBetween);
}

/// As many as are wanted, behind those that every run of the tests has.
#[test]
#[ignore = "as long as is wanted"]
fn more_seeds() {
    let from = count("AMS_SEEDS_FROM", 1000) as u64;
    run_all(from..from + count("AMS_SEEDS", 0) as u64, Ways::All);
}

/// Seeds that found something where nothing but relays was:
///
/// - 301053: what its sender had given up passed at the relay what was sent again
/// - 98, 300616: two who met again only long after one had removed the other: the relay's disk failed
///   while one asked, and the relay counted that as asked. What was undelivered is tried once more
///   when they have met
/// - 200347: one contact over two relays, removed while the second of them was not answered yet
/// - 700872: somebody blocked another twice at once, and the verdict took the end of the one for a
///   message let through during the other
#[test]
fn seeds_that_found_something() {
    run_all([98, 200_347, 300_616, 301_053, 700_872].into_iter(), Ways::Relays);
}

/// Seeds that found something where people have direct links, too:
///
/// - 55: while a disk failed, a link that a contact had dialled was looked up again without a pause
/// - 1004976: fresh keys were asked for by a clock that was a year behind, and never anew by one that was
///   right
#[test]
fn seeds_that_found_something_between_people() {
    run_all([55, 1_004_976].into_iter(), Ways::All);
}

/// One, and it tells what happens.
#[test]
#[ignore = "for somebody who watches"]
fn one_seed() {
    let number = std::env::var("AMS_SEED").expect("AMS_SEED is not set");
    let is_alone = std::env::var_os("AMS_RELAYS_ALONE").is_some();
    let ways = if is_alone { Ways::Relays } else { Ways::All };
    run_all(std::iter::once(number.parse().unwrap()), ways);
}
