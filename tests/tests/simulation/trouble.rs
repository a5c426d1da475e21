//! What breaks, and for how long; and who brings it up again.

use std::sync::Arc;
use std::time::Duration;

use ams_tests::seed::Seed;
use tokio::time::sleep;

use super::disk::Fault;
use super::net::CLEAR;
use super::person::Person;
use super::relay::Relay;
use super::story::{Kind, Story};
use super::wire::Way;

/// How long anything broken stays so, in milliseconds.
pub(crate) const OUTAGES: [u64; 7] = [1, 50, 1_000, 5_000, 20_000, 100_000, 600_000];
/// Clocks are wrong by so much, in seconds.
const JUMPS: [i64; 4] = [60, 3600, 24 * 3600, 365 * 24 * 3600];

/// Does something after a while.
pub(crate) fn later(after: Duration, act: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(after).await;
        act();
    });
}

fn calls(seed: &mut Seed, below: u64) -> u32 {
    u32::try_from(seed.below(below)).unwrap()
}

fn jump(seed: &mut Seed) -> i64 {
    let by = seed.pick(&JUMPS);
    if seed.one_in(2) { by } else { -by }
}

impl Story {
    /// Something happens to the network between a person and a relay.
    pub(crate) fn break_network(&mut self, kind: Kind, who: usize, at: usize, outage: Duration) {
        let net = self.world.net.clone();
        match kind {
            Kind::Cut => net.cut(Some(who), Some(at)),
            Kind::HalfOpen => net.half_open(who, at, self.seed.one_in(2)),
            Kind::Part => {
                net.part(who, at, true);
                later(outage, move || net.part(who, at, false));
            }
            Kind::Slow => {
                let latency = Duration::from_millis(self.seed.pick(&[20, 200, 1_000, 4_000]));
                net.set_weather(who, at, Way { latency, ..CLEAR });
                later(outage, move || net.set_weather(who, at, CLEAR));
            }
            Kind::Lies => {
                let lies = self.seed.pick(&[5, 30, 80]);
                net.set_weather(who, at, Way { lies, ..CLEAR });
                later(outage, move || {
                    net.set_weather(who, at, CLEAR);
                    net.cut(Some(who), Some(at));
                });
            }
            Kind::Forge => net.forge(who, at, 1 + self.seed.place(6)),
            other => panic!("{other:?} is none of the network's"),
        }
    }

    /// Something happens to a relay.
    pub(crate) async fn break_relay(&mut self, kind: Kind, at: usize, outage: Duration) {
        let relay = self.world.relays[at].clone();
        match kind {
            Kind::RelayCrash if relay.is_up() => relay.crash(),
            Kind::RelayStop if relay.is_up() => relay.stop().await,
            Kind::RelayDisk => match self.seed.below(4) {
                0 => {
                    relay.set_full(true);
                    later(outage, move || relay.set_full(false));
                }
                1 => relay.set_fault(calls(&mut self.seed, 20), Fault::PowerBefore),
                2 => relay.set_fault(calls(&mut self.seed, 20), Fault::PowerAfter),
                _ => relay.set_fault(calls(&mut self.seed, 20), Fault::Error),
            },
            Kind::RelayClock => {
                let by = jump(&mut self.seed);
                relay.move_clock(by);
                // Somebody notices.
                if self.seed.below(3) > 0 {
                    later(outage, move || relay.move_clock(-by));
                }
            }
            _ => {}
        }
    }

    /// Something happens to the machine of a person.
    pub(crate) fn break_machine(&mut self, kind: Kind, person: &Arc<Person>, outage: Duration) {
        let person = person.clone();
        match kind {
            Kind::Crash => person.crash(self.seed.one_in(2)),
            Kind::CrashAtCall => {
                let fault = self.seed.pick(&[Fault::PowerBefore, Fault::PowerAfter]);
                person.disk.set_fault(calls(&mut self.seed, 40), fault);
            }
            Kind::Stop => {
                tokio::spawn(async move { person.stop().await });
            }
            Kind::Full => {
                person.disk.set_full(true);
                later(outage, move || person.disk.set_full(false));
            }
            Kind::DiskError => person.disk.set_fault(calls(&mut self.seed, 30), Fault::Error),
            Kind::Clock => {
                let by = jump(&mut self.seed) * 1000;
                person.move_clock(by);
                if self.seed.below(3) > 0 {
                    later(outage, move || person.move_clock(-by));
                }
            }
            other => panic!("{other:?} is none of a machine's"),
        }
    }
}

/// Starts the daemon whenever it is down, and ends it when the power goes.
pub(crate) async fn keep_alive(person: Arc<Person>, mut chance: Seed) {
    loop {
        tokio::select! {
            biased;
            () = person.disk.power_cut() => person.crash(chance.one_in(2)),
            () = person.down() => {}
        }
        if person.is_up() {
            continue;
        }
        sleep(Duration::from_millis(chance.pick(&OUTAGES[..6]))).await;
        while !person.is_up() && person.start().await.is_err() {
            // The disk is full, or broke at the start.
            person.disk.restart();
            sleep(Duration::from_secs(5)).await;
        }
    }
}

/// Starts the relay whenever it is down, and ends it when the power goes.
pub(crate) async fn keep_relay(relay: Arc<Relay>, mut chance: Seed) {
    loop {
        tokio::select! {
            biased;
            () = relay.power_cut() => relay.crash(),
            () = relay.down() => {}
        }
        if relay.is_up() {
            continue;
        }
        sleep(Duration::from_millis(chance.pick(&OUTAGES))).await;
        while !relay.is_up() && relay.start().await.is_err() {
            relay.restart_disk();
            sleep(Duration::from_secs(5)).await;
        }
    }
}
