//! What happens in a run: people talk, and everything that can go wrong does. The seed decides; what
//! the operating system draws, keys and handles, it does not.
//!
//! 1. people and relays begin, and become contacts of each other ([`contacts`](super::contacts)), in
//!    some runs while things break already;
//! 2. steps: somebody says, decides or deletes something ([`talk`](super::talk)), or something
//!    breaks ([`trouble`](super::trouble));
//! 3. everything is mended, and time goes on until all is quiet;
//! 4. the [`verdict`](mod@super::verdict).

use std::sync::Arc;
use std::time::Duration;

use ams_rpc::methods::presence;
use ams_rpc::types::{PresenceParams, Visibility};
use ams_tests::seed::Seed;
use amsd::settings::{History, Requests, Settings, Undeliverable};
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::contacts::{self, Met, Pair, pair_key};
use super::direct::Plan;
use super::person::{Person, name};
use super::reader::read;
use super::relay::Terms;
use super::trouble::{OUTAGES, keep_alive, keep_relay};
use super::world::{Beginning, PEOPLE, RELAYS, World, nick};

/// What is broken on purpose, so that the suite must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// Nothing is.
    Honest,
    /// Disks say that what they took is durable, and it is not.
    LyingDisk,
    /// At each start it is forgotten what came before.
    Forgetful,
    /// `send` is answered before anything is written.
    Hasty,
    /// Relays are told that an envelope is stored before it is.
    Eager,
    /// So are senders without a relay.
    EagerBetween,
}

/// Pauses between two steps, in milliseconds.
const PAUSES: [u64; 12] = [0, 0, 1, 2, 5, 20, 100, 500, 2_000, 10_000, 40_000, 200_000];

/// A kind of thing that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Talk,
    Wish,
    Flood,
    Cut,
    HalfOpen,
    Part,
    Slow,
    Lies,
    Forge,
    RelayCrash,
    RelayStop,
    RelayDisk,
    RelayClock,
    Crash,
    CrashAtCall,
    CrashSoon,
    Stop,
    Full,
    DiskError,
    Clock,
    Presence,
    Block,
    Remove,
    Intrude,
    Queue,
    Delete,
    SlowReader,
    LineCut,
    LineCutSoon,
    LineHalfOpen,
    LinePart,
    LineSlow,
    Move,
    Disconnect,
    DialBoth,
    Steer,
}

/// How often, compared with each other.
const KINDS: [(Kind, u64); 27] = [
    (Kind::Talk, 60),
    (Kind::Wish, 20),
    (Kind::Flood, 6),
    (Kind::Cut, 10),
    (Kind::HalfOpen, 8),
    (Kind::Part, 8),
    (Kind::Slow, 8),
    (Kind::Lies, 6),
    (Kind::Forge, 5),
    (Kind::RelayCrash, 6),
    (Kind::RelayStop, 4),
    (Kind::RelayDisk, 8),
    (Kind::RelayClock, 4),
    (Kind::Crash, 10),
    (Kind::CrashAtCall, 14),
    (Kind::CrashSoon, 10),
    (Kind::Stop, 5),
    (Kind::Full, 4),
    (Kind::DiskError, 6),
    (Kind::Clock, 4),
    (Kind::Presence, 5),
    (Kind::Block, 4),
    (Kind::Remove, 4),
    (Kind::Intrude, 8),
    (Kind::Queue, 10),
    (Kind::Delete, 4),
    (Kind::SlowReader, 4),
];

/// Over what people talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ways {
    /// Over relays, and in most runs directly, too.
    All,
    /// Over relays alone, as when nothing else was there.
    Relays,
}

/// One run.
pub(crate) struct Story {
    pub(crate) seed: Seed,
    /// Who has direct links, if anybody.
    pub(crate) plan: Option<Plan>,
    pub(crate) world: Arc<World>,
    pub(crate) pairs: Vec<Pair>,
    /// Who of a pair meets or parts just now.
    pub(crate) met: Met,
    /// Somebody whom nobody approves: the last one.
    pub(crate) stranger: Option<usize>,
    /// What each person's config says.
    pub(crate) settings: Vec<Settings>,
    /// How long a relay tries.
    pub(crate) window: Duration,
    /// Things break while people meet.
    pub(crate) is_early: bool,
    /// Relays may say what is not true, or have no room, so that order is not theirs to keep.
    pub(crate) has_lies: bool,
    /// At the end the user tries again whatever is undelivered.
    pub(crate) retries: bool,
    /// The control: what is sent counts as accepted, and then it is sent.
    pub(crate) is_hasty: bool,
    kinds: Vec<(Kind, u64)>,
    /// Sender and recipient → one message is accepted after the other.
    pub(crate) turns: Vec<Vec<Arc<Mutex<()>>>>,
    /// How long each reader takes over what it got.
    slowness: Vec<Arc<std::sync::Mutex<Duration>>>,
    /// Messages so far.
    pub(crate) next: u64,
    is_told: bool,
}

fn settings(seed: &mut Seed, has_stranger: bool) -> Settings {
    let policies =
        [Undeliverable::Ask, Undeliverable::Keep, Undeliverable::Discard, Undeliverable::Keep];
    let hour = History::For(Duration::from_secs(3600));
    Settings {
        undeliverable: seed.pick(&policies),
        requests: if has_stranger || seed.one_in(2) { Requests::Ask } else { Requests::Accept },
        read_receipts: seed.below(3) > 0,
        visible: seed.below(6) > 0,
        history: seed.pick(&[History::Forever, History::Forever, hour, History::Off]),
        ..Settings::default()
    }
}

impl Story {
    /// Everybody is there, and nobody has met.
    pub(crate) async fn begin(
        beginning: &Beginning,
        number: u64,
        control: Control,
        ways: Ways,
    ) -> Self {
        let mut seed = Seed::new(number);
        let people = 2 + seed.place(PEOPLE - 1).min(seed.place(PEOPLE - 1));
        let relays = 1 + seed.place(RELAYS);
        let window = Duration::from_secs(seed.pick(&[0, 5, 60, 60, 600]));
        let held_bytes = seed.pick(&[256 << 20, 256 << 20, 256 << 20, 64 << 10]);
        let terms: Vec<_> = (0..relays)
            .map(|_| Terms { window, sender_held: seed.pick(&[4, 1024, 1024]), held_bytes })
            .collect();
        let has_room = held_bytes >= 1 << 20 && terms.iter().all(|relay| relay.sender_held > 4);
        let stranger = (people > 2 && seed.one_in(2)).then_some(people - 1);
        let mut settings: Vec<_> =
            (0..people).map(|_| settings(&mut seed, stranger.is_some())).collect();
        let mut plan = match ways {
            Ways::All => Plan::draw(number, people, stranger),
            Ways::Relays => None,
        };
        if let Some(plan) = &plan {
            plan.set(&mut settings);
        }
        let prepare = |person: &Person| {
            if plan.as_ref().is_some_and(|plan| plan.listens(person.number)) {
                person.set_listening();
            }
            match control {
                Control::LyingDisk => person.disk.set_lies(),
                Control::Forgetful => person.set_forgetful(),
                _ => {}
            }
        };
        let world = World::begin(&mut seed, beginning, terms, settings.clone(), prepare).await;
        let world = Arc::new(world);
        if control == Control::Eager {
            // Before anybody has met: nothing was delivered yet.
            world.net.set_eager();
            world.net.cut(None, None);
        }
        if control == Control::EagerBetween {
            world.net.street().set_eager();
        }
        // Some kinds of trouble in each run, so that each of them has runs of its own.
        let is_there = |kind| match kind {
            Kind::Talk => true,
            Kind::Intrude => stranger.is_some(),
            _ => false,
        };
        let mut kinds: Vec<_> = KINDS
            .into_iter()
            .filter(|(kind, _)| {
                let chosen = seed.below(100) < 40;
                is_there(*kind) || (chosen && *kind != Kind::Intrude)
            })
            .collect();
        let has_lies = kinds.iter().any(|(kind, _)| *kind == Kind::Lies);
        let has_lies = has_lies || !has_room;
        let mut pairs =
            contacts::pairs(&mut seed, people - usize::from(stranger.is_some()), relays);
        if let Some(plan) = &mut plan {
            plan.join(&mut pairs);
            kinds.extend(plan.kinds());
        }
        let met = pairs.iter().map(|pair| (pair_key(*pair), Arc::default())).collect();
        let retries = seed.below(4) > 0;
        let is_early = seed.one_in(3);
        let turns = (0..people).map(|_| (0..people).map(|_| Arc::default()).collect()).collect();
        let slowness = (0..people).map(|_| Arc::default()).collect();
        if let Some(stranger) = stranger {
            world.books.is_stranger(stranger);
        }
        let is_told = std::env::var_os("AMS_SEED").is_some();
        Self {
            seed,
            plan,
            world,
            pairs,
            met,
            stranger,
            settings,
            window,
            is_early,
            has_lies,
            retries,
            is_hasty: control == Control::Hasty,
            kinds,
            turns,
            slowness,
            next: 0,
            is_told,
        }
    }

    /// How slow the readers are.
    pub(crate) fn slow_readers(&self) -> &[Arc<std::sync::Mutex<Duration>>] {
        &self.slowness
    }

    /// What there was of it.
    pub(crate) fn tell_figures(&self) {
        let envelopes = self.world.travels.lock().unwrap().count();
        let accepted = self.world.books.accepted().len();
        let between = self.world.net.street().count();
        self.tell(|| {
            format!("{accepted} messages in {envelopes} envelopes; {between} went without a relay")
        });
    }

    /// For somebody who watches one run.
    pub(crate) fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:>12.3?} {}", Instant::now().duration_since(self.world.begun), what());
        }
    }

    /// From the beginning to the quiet after it.
    pub(crate) async fn run(&mut self) {
        for person in self.world.people.clone() {
            let (who, world) = (person.number, self.world.clone());
            tokio::spawn(keep_alive(person, Seed::new(self.seed.draw())));
            let (slowness, chance) = (self.slowness[who].clone(), Seed::new(self.seed.draw()));
            tokio::spawn(read(world.clone(), who, slowness, chance));
            if self.settings[who].requests == Requests::Ask {
                let chance = Seed::new(self.seed.draw());
                tokio::spawn(contacts::answer(world, who, self.friends(who), chance));
            }
        }
        for relay in self.world.relays.clone() {
            tokio::spawn(keep_relay(relay, Seed::new(self.seed.draw())));
        }
        self.tell(|| format!("{:?} meet, the stranger is {:?}", self.pairs, self.stranger));
        self.meet().await;
        self.tell(|| "steps begin".to_owned());
        let steps = 15 + self.seed.below(35);
        let total: u64 = self.kinds.iter().map(|(_, weight)| weight).sum();
        for _ in 0..steps {
            let pause = self.seed.pick(&PAUSES);
            if pause > 0 {
                sleep(Duration::from_millis(pause)).await;
            }
            for _ in 0..self.seed.below(12) {
                yield_now().await;
            }
            let mut at = self.seed.below(total);
            let kinds = self.kinds.iter();
            let kind = kinds.clone().find_map(|(kind, weight)| match at.checked_sub(*weight) {
                Some(rest) => {
                    at = rest;
                    None
                }
                None => Some(*kind),
            });
            self.happens(kind.unwrap()).await;
            for relay in &self.world.relays {
                if let Some(wrong) = relay.is_over_its_bound().await {
                    self.world.books.wrong(wrong);
                }
            }
        }
    }

    async fn happens(&mut self, kind: Kind) {
        let (people, relays) = (self.world.people.len(), self.world.relays.len());
        let (who, at) = (self.seed.place(people), self.seed.place(relays));
        let person = self.world.people[who].clone();
        let outage = Duration::from_millis(self.seed.pick(&OUTAGES));
        self.tell(|| format!("{kind:?}: {} {} {outage:?}", name(who), nick(at)));
        match kind {
            Kind::Talk | Kind::Wish | Kind::Steer => {
                let count = 1 + self.seed.below(4) * self.seed.below(3);
                self.say(count, kind);
            }
            Kind::Flood => {
                let count = 25 + self.seed.below(25);
                self.say(count, Kind::Talk);
            }
            Kind::Cut | Kind::HalfOpen | Kind::Part | Kind::Slow | Kind::Lies | Kind::Forge => {
                self.break_network(kind, who, at, outage);
            }
            Kind::RelayCrash | Kind::RelayStop | Kind::RelayDisk | Kind::RelayClock => {
                self.break_relay(kind, at, outage).await;
            }
            Kind::Crash | Kind::CrashAtCall | Kind::Stop | Kind::Full => {
                self.break_machine(kind, &person, outage);
            }
            Kind::DiskError | Kind::Clock => self.break_machine(kind, &person, outage),
            Kind::CrashSoon => {
                let count = 1 + self.seed.below(3);
                self.say(count, Kind::Talk);
                for _ in 0..self.seed.below(30) {
                    yield_now().await;
                }
                self.break_machine(Kind::Crash, &person, outage);
            }
            Kind::Presence => {
                let presence = self.seed.pick(&[Visibility::Invisible, Visibility::Visible]);
                let _ = person.call::<presence::Set>(&PresenceParams { presence }).await;
            }
            Kind::Block => self.block(outage),
            Kind::Remove => self.remove(outage),
            Kind::Intrude => self.intrude(),
            Kind::Queue => self.decide(&person).await,
            Kind::Delete => self.delete(),
            Kind::LineCut | Kind::LineCutSoon | Kind::LineHalfOpen => self.break_line(kind, outage),
            Kind::LinePart | Kind::LineSlow => self.break_line(kind, outage),
            Kind::Move => self.move_away(who),
            Kind::Disconnect => self.disconnect(outage),
            Kind::DialBoth => self.dial_both(),
            Kind::SlowReader => *self.slowness[who].lock().unwrap() = outage,
        }
    }
}
