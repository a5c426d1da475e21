//! Lines are cut at random moments, one or both of them, while two people write to each other.
//!
//! `AMS_CUTS=5000` makes it longer; `AMS_CUTS_SEED=N` repeats which line is cut when, as far as the
//! machine repeats itself.

use std::thread;

use ams_rpc::places::Places;
use ams_tests::Net;
use ams_tests::connection::blocking;
use ams_tests::seed::{self, Seed};
use ams_tests::traffic::{Door, Talk};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_at_any_moment_lose_nothing_and_keep_the_order() {
    let cuts = seed::count("AMS_CUTS", 40);
    let mut seed = Seed::from_environment("AMS_CUTS_SEED");
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let lines = [alice.line(net.home()).await, bob.line(net.home()).await];
    let homes = [&alice, &bob].map(|person| Places::in_home(person.home()).home.unwrap());
    blocking(move || {
        let doors = homes.map(|home| Door::new(&home));
        let ends = [(&doors[0], "alice"), (&doors[1], "bob")];
        let talks = [Talk::new(ends[0], ends[1]), Talk::new(ends[1], ends[0])];
        thread::scope(|scope| {
            for talk in &talks {
                scope.spawn(|| talk.write());
                scope.spawn(|| talk.read());
            }
            for _ in 0..cuts {
                let steps = 1 + usize::try_from(seed.below(40)).unwrap();
                talks[usize::try_from(seed.below(2)).unwrap()].goes_on(steps);
                // Either, or both.
                let which = 1 + seed.below(3);
                let cut = || lines.iter().zip([1, 2]).filter(|(_, bit)| which & bit != 0);
                cut().for_each(|(line, _)| line.cut());
                cut().for_each(|(line, _)| line.mend());
            }
            talks.iter().for_each(Talk::close);
        });
        talks.into_iter().for_each(|talk| {
            talk.ends();
        });
    })
    .await;
    alice.queue_is_empty().await;
    bob.queue_is_empty().await;
}
