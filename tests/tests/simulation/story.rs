//! What happens in a run: people talk, and everything that can go wrong does. The seed decides; what
//! the operating system draws, keys and handles, it does not.
//!
//! 1. people and relays begin, and become contacts of each other;
//! 2. steps: somebody says or decides something, or something breaks;
//! 3. everything is mended, and time goes on until all is quiet;
//! 4. the [`verdict`](mod@super::verdict).

use std::sync::Arc;
use std::time::Duration;

use ams_rpc::methods::{contact, inbox, message, presence, queue};
use ams_rpc::types::{
    ContactAddParams, ContactParams, ContactState, InboxAckParams, InboxNextParams, MessageId,
    Period, PresenceParams, QueueParams, SendParams, Visibility,
};
use ams_tests::seed::Seed;
use amsd::settings::{History, Requests, Settings, Undeliverable};
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::books::Said;
use super::disk::Fault;
use super::net::CLEAR;
use super::person::{Person, Unanswered, name};
use super::relay::Terms;
use super::wire::Way;
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
}

/// Pauses between two steps, in milliseconds.
const PAUSES: [u64; 12] = [0, 0, 1, 2, 5, 20, 100, 500, 2_000, 10_000, 40_000, 200_000];
/// How long anything broken stays so.
const OUTAGES: [u64; 7] = [1, 50, 1_000, 5_000, 20_000, 100_000, 600_000];
const MINUTE: i64 = 60 * 1000;
const YEAR: i64 = 365 * 24 * 60 * MINUTE;

/// Two who write to each other, and the relay that they met at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    /// Who asked.
    pub(crate) asker: usize,
    /// Who was asked.
    pub(crate) asked: usize,
    /// Where.
    pub(crate) relay: usize,
}

/// A kind of thing that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Talk,
    Flood,
    Cut,
    HalfOpen,
    Part,
    Slow,
    Lies,
    RelayCrash,
    RelayStop,
    Crash,
    CrashAtCall,
    CrashSoon,
    Stop,
    Full,
    DiskError,
    Clock,
    Presence,
    Block,
    Queue,
    SlowReader,
}

const KINDS: [(Kind, u64); 20] = [
    (Kind::Talk, 60),
    (Kind::Flood, 6),
    (Kind::Cut, 10),
    (Kind::HalfOpen, 8),
    (Kind::Part, 8),
    (Kind::Slow, 8),
    (Kind::Lies, 6),
    (Kind::RelayCrash, 6),
    (Kind::RelayStop, 4),
    (Kind::Crash, 10),
    (Kind::CrashAtCall, 14),
    (Kind::CrashSoon, 10),
    (Kind::Stop, 5),
    (Kind::Full, 4),
    (Kind::DiskError, 6),
    (Kind::Clock, 4),
    (Kind::Presence, 5),
    (Kind::Block, 4),
    (Kind::Queue, 10),
    (Kind::SlowReader, 4),
];

/// One run.
pub(crate) struct Story {
    pub(crate) seed: Seed,
    pub(crate) world: Arc<World>,
    pub(crate) pairs: Vec<Pair>,
    /// Relays may say what is not true, so that order is not theirs to keep.
    pub(crate) has_lies: bool,
    /// At the end the user tries again whatever is undelivered.
    pub(crate) retries: bool,
    kinds: Vec<(Kind, u64)>,
    /// Sender and recipient → one message is accepted after the other.
    turns: Vec<Vec<Arc<Mutex<()>>>>,
    /// How long each reader takes over what it got.
    slowness: Vec<Arc<std::sync::Mutex<Duration>>>,
    next: u64,
    is_told: bool,
}

fn pick<T: Copy>(seed: &mut Seed, of: &[T]) -> T {
    of[usize::try_from(seed.below(of.len() as u64)).unwrap()]
}

fn below(seed: &mut Seed, bound: usize) -> usize {
    usize::try_from(seed.below(bound as u64)).unwrap()
}

impl Story {
    /// Everybody is there, and nobody has met.
    pub(crate) async fn begin(beginning: &Beginning, number: u64, control: Control) -> Self {
        let mut seed = Seed::new(number);
        let people = 2 + below(&mut seed, PEOPLE - 1).min(below(&mut seed, PEOPLE - 1));
        let relays = 1 + below(&mut seed, RELAYS);
        let window = Duration::from_secs(pick(&mut seed, &[0, 5, 60, 60, 600]));
        let terms = (0..relays)
            .map(|_| Terms { window, sender_held: pick(&mut seed, &[4, 1024, 1024]) })
            .collect();
        let settings = (0..people).map(|_| settings(&mut seed)).collect();
        let prepare = move |person: &Person| match control {
            Control::Honest => {}
            Control::LyingDisk => person.disk.set_lies(),
            Control::Forgetful => person.set_forgetful(),
        };
        let world = Arc::new(World::begin(&mut seed, beginning, terms, settings, prepare).await);
        // Some kinds of trouble in each run, so that each of them has runs of its own.
        let kinds: Vec<_> = KINDS
            .into_iter()
            .filter(|(kind, _)| *kind == Kind::Talk || seed.below(100) < 45)
            .collect();
        let has_lies = kinds.iter().any(|(kind, _)| *kind == Kind::Lies);
        let mut pairs = Vec::new();
        for asked in 1..people {
            // Everybody has met somebody.
            let asker = below(&mut seed, asked);
            let relay = below(&mut seed, relays);
            pairs.push(Pair { asker, asked, relay });
            for other in (0..asked).filter(|other| *other != asker) {
                if seed.below(3) == 0 {
                    pairs.push(Pair {
                        asker: asked,
                        asked: other,
                        relay: below(&mut seed, relays),
                    });
                }
            }
        }
        let retries = seed.below(4) > 0;
        let turns = (0..people).map(|_| (0..people).map(|_| Arc::default()).collect()).collect();
        let slowness = (0..people).map(|_| Arc::default()).collect();
        let is_told = std::env::var_os("AMS_SEED").is_some();
        Self { seed, world, pairs, has_lies, retries, kinds, turns, slowness, next: 0, is_told }
    }

    /// How slow the readers are.
    pub(crate) fn slow_readers(&self) -> &[Arc<std::sync::Mutex<Duration>>] {
        &self.slowness
    }

    /// What there was of it.
    pub(crate) fn tell_figures(&self) {
        let envelopes = self.world.travels.lock().unwrap().count();
        let accepted = self.world.books.accepted().len();
        self.tell(|| format!("{accepted} messages in {envelopes} envelopes"));
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:>12.3?} {}", Instant::now().duration_since(self.world.begun), what());
        }
    }

    /// From the beginning to the quiet after it.
    pub(crate) async fn run(&mut self) {
        for person in self.world.people.clone() {
            let chance = Seed::new(self.seed.draw());
            tokio::spawn(keep_alive(person.clone(), chance));
            let slowness = self.slowness[person.number].clone();
            tokio::spawn(read(
                self.world.clone(),
                person.number,
                slowness,
                Seed::new(self.seed.draw()),
            ));
        }
        let met = self.meet().await;
        self.tell(|| format!("{met} of {:?} have met", self.pairs));
        let steps = 15 + self.seed.below(35);
        let total: u64 = self.kinds.iter().map(|(_, weight)| weight).sum();
        for _ in 0..steps {
            let pause = pick(&mut self.seed, &PAUSES);
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
        }
    }

    /// Whoever shall know each other asks and answers.
    async fn meet(&mut self) -> bool {
        let mut all = true;
        for pair in self.pairs.clone() {
            let people = &self.world.people;
            let address = format!("{}@{}", name(pair.asked), nick(pair.relay));
            let params = ContactAddParams { address, local: None };
            let added = people[pair.asker].insist::<contact::Add>(&params).await;
            added.unwrap_or_else(|failure| panic!("{pair:?}: {failure}"));
        }
        for pair in self.pairs.clone() {
            for (of, other) in [(pair.asker, pair.asked), (pair.asked, pair.asker)] {
                let person = &self.world.people[of];
                let knows = timeout(Duration::from_secs(600), until_active(person, other));
                all &= knows.await.is_ok();
            }
        }
        if !all {
            self.world.books.wrong("not all have met within ten minutes".to_owned());
        }
        all
    }

    async fn happens(&mut self, kind: Kind) {
        let (people, relays) = (self.world.people.len(), self.world.relays.len());
        let (who, at) = (below(&mut self.seed, people), below(&mut self.seed, relays));
        let person = self.world.people[who].clone();
        let net = self.world.net.clone();
        let outage = Duration::from_millis(pick(&mut self.seed, &OUTAGES));
        self.tell(|| format!("{kind:?}: {} {} {outage:?}", person.name, nick(at)));
        match kind {
            Kind::Talk => {
                let count = 1 + self.seed.below(4) * self.seed.below(3);
                self.say(count);
            }
            Kind::Flood => self.say(25 + self.seed.clone().below(25)),
            Kind::Cut => net.cut(Some(who), Some(at)),
            Kind::HalfOpen => net.half_open(who, at, self.seed.below(2) == 0),
            Kind::Part => {
                net.part(who, at, true);
                later(outage, move || net.part(who, at, false));
            }
            Kind::Slow => {
                let latency = Duration::from_millis(pick(&mut self.seed, &[20, 200, 1_000, 4_000]));
                net.set_weather(who, at, Way { latency, ..CLEAR });
                later(outage, move || net.set_weather(who, at, CLEAR));
            }
            Kind::Lies => {
                let lies = pick(&mut self.seed, &[5, 30, 80]);
                net.set_weather(who, at, Way { lies, ..CLEAR });
                later(outage, move || {
                    net.set_weather(who, at, CLEAR);
                    net.cut(Some(who), Some(at));
                });
            }
            Kind::RelayCrash | Kind::RelayStop => self.lose_relay(kind, at, outage).await,
            Kind::Crash => {
                person.crash(self.seed.below(2) == 0);
            }
            Kind::CrashAtCall => {
                let fault = pick(&mut self.seed, &[Fault::PowerBefore, Fault::PowerAfter]);
                person.disk.set_fault(u32::try_from(self.seed.below(40)).unwrap(), fault);
            }
            Kind::CrashSoon => {
                self.say(1 + self.seed.clone().below(3));
                for _ in 0..self.seed.below(30) {
                    yield_now().await;
                }
                person.crash(self.seed.below(2) == 0);
            }
            Kind::Stop => {
                tokio::spawn(async move { person.stop().await });
            }
            Kind::Full => {
                person.disk.set_full(true);
                later(outage, move || person.disk.set_full(false));
            }
            Kind::DiskError => {
                person.disk.set_fault(u32::try_from(self.seed.below(30)).unwrap(), Fault::Error);
            }
            Kind::Clock => {
                let by = pick(&mut self.seed, &[MINUTE, 60 * MINUTE, 24 * 60 * MINUTE, YEAR]);
                let by = if self.seed.below(2) == 0 { by } else { -by };
                person.move_clock(by);
                // Somebody notices.
                if self.seed.below(3) > 0 {
                    later(outage, move || person.move_clock(-by));
                }
            }
            Kind::Presence => {
                let words = [Visibility::Invisible, Visibility::Visible];
                let presence = pick(&mut self.seed, &words);
                let _ = person.call::<presence::Set>(&PresenceParams { presence }).await;
            }
            Kind::Block => self.block(outage).await,
            Kind::Queue => self.decide(&person).await,
            Kind::SlowReader => *self.slowness[who].lock().unwrap() = outage,
        }
    }

    /// Somebody writes to a contact, one message after the other.
    fn say(&mut self, count: u64) {
        let pair = pick(&mut self.seed, &self.pairs.clone());
        let (from, to) = match self.seed.below(2) {
            0 => (pair.asker, pair.asked),
            _ => (pair.asked, pair.asker),
        };
        let turn = self.turns[from][to].clone();
        let length = pick(&mut self.seed, &[0, 0, 0, 0, 0, 0, 300, 300, 3_000, 40_000]);
        let mut messages = Vec::new();
        for _ in 0..count {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.seed.draw().to_be_bytes());
            id[8..].copy_from_slice(&self.next.to_be_bytes());
            let text = format!("{} to {} {}", name(from), name(to), self.next);
            self.next += 1;
            messages.push((MessageId(id), text));
        }
        let world = self.world.clone();
        tokio::spawn(async move {
            for (id, text) in messages {
                let _turn = turn.lock().await;
                let body = format!("{text}{}", ".".repeat(length));
                let said = Said { from, to, id, text: body.clone(), accepted: false };
                let number = world.books.say(said);
                let params = SendParams { id: Some(id), ..SendParams::new(name(to), body) };
                if world.people[from].insist::<message::Send>(&params).await.is_ok() {
                    world.books.accept(number);
                }
            }
        });
    }

    async fn lose_relay(&mut self, kind: Kind, at: usize, outage: Duration) {
        let relay = self.world.relays[at].clone();
        if !relay.is_up() {
            return;
        }
        match kind {
            Kind::RelayCrash => relay.crash(),
            _ => relay.stop().await,
        }
        tokio::spawn(async move {
            sleep(outage).await;
            relay.start().await;
        });
    }

    /// Somebody blocks a contact for a while. What comes from it meanwhile must not be taken.
    async fn block(&mut self, outage: Duration) {
        let pair = pick(&mut self.seed, &self.pairs.clone());
        let (who, whom) = match self.seed.below(2) {
            0 => (pair.asker, pair.asked),
            _ => (pair.asked, pair.asker),
        };
        self.tell(|| format!("  {} blocks {}", name(who), name(whom)));
        let world = self.world.clone();
        // What came before the relay knew was not taken, and comes again in its own time.
        world.books.lose_order(whom, who);
        let params = ContactParams { name: name(whom) };
        tokio::spawn(async move {
            let person = &world.people[who];
            let Ok(_) = person.insist::<contact::Block>(&params).await else { return };
            let before = super::verdict::taken_from(person, whom).await;
            sleep(outage).await;
            let after = super::verdict::taken_from(person, whom).await;
            // Unless somebody else unblocked it, or it was blocked before already.
            let shown = person.insist::<contact::Show>(&params).await;
            let still = shown.is_ok_and(|contact| contact.state == ContactState::Blocked);
            if still && before != after {
                let wrong =
                    format!("{} took something of {}, who is blocked", person.name, name(whom));
                world.books.wrong(wrong);
            }
            let _ = person.insist::<contact::Unblock>(&params).await;
        });
    }

    /// The user decides about what is not delivered.
    async fn decide(&mut self, person: &Arc<Person>) {
        let which = match self.seed.below(2) {
            0 => QueueParams { all: Some(true), ..QueueParams::default() },
            _ => {
                let pair = pick(&mut self.seed, &self.pairs.clone());
                let to = if pair.asker == person.number { pair.asked } else { pair.asker };
                QueueParams { to: Some(name(to)), ..QueueParams::default() }
            }
        };
        let _: Result<_, Unanswered> = match self.seed.below(5) {
            0 => person.call::<queue::Discard>(&which).await,
            1 | 2 => person.call::<queue::Keep>(&which).await,
            _ => person.call::<queue::Retry>(&which).await,
        };
    }
}

/// Does something after a while.
fn later(after: Duration, act: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(after).await;
        act();
    });
}

fn settings(seed: &mut Seed) -> Settings {
    let policies =
        [Undeliverable::Ask, Undeliverable::Keep, Undeliverable::Discard, Undeliverable::Keep];
    Settings {
        undeliverable: pick(seed, &policies),
        requests: Requests::Accept,
        read_receipts: seed.below(3) > 0,
        visible: seed.below(6) > 0,
        history: History::Forever,
    }
}

/// Starts the daemon whenever it is down, and ends it when the power goes.
async fn keep_alive(person: Arc<Person>, mut chance: Seed) {
    loop {
        tokio::select! {
            biased;
            () = person.disk.power_cut() => person.crash(chance.below(2) == 0),
            () = person.down() => {}
        }
        if person.is_up() {
            continue;
        }
        sleep(Duration::from_millis(pick(&mut chance, &OUTAGES[..6]))).await;
        while !person.is_up() && person.start().await.is_err() {
            // The disk is full, or broke at the start.
            person.disk.restart();
            sleep(Duration::from_secs(5)).await;
        }
    }
}

/// Resolves when a contact can be written to.
pub(crate) async fn until_active(person: &Person, other: usize) {
    let params = ContactParams { name: name(other) };
    loop {
        match person.call::<contact::Show>(&params).await {
            Ok(shown) if shown.state == ContactState::Active => return,
            _ => sleep(Duration::from_secs(1)).await,
        }
    }
}

/// A program that reads whatever comes, and acknowledges it until that is taken.
async fn read(
    world: Arc<World>,
    who: usize,
    slowness: Arc<std::sync::Mutex<Duration>>,
    mut chance: Seed,
) {
    let person = &world.people[who];
    let reader = "default".to_owned();
    loop {
        person.up().await;
        let Some(client) = person.connect() else { continue };
        loop {
            let next = InboxNextParams {
                reader: reader.clone(),
                max: Some(u32::try_from(1 + chance.below(30)).unwrap()),
                wait: Some(Period(Duration::from_secs(3600))),
                from: None,
                from_start: None,
                peek: None,
                after: None,
            };
            let batch = match client.call::<inbox::Next>(&next).await {
                Ok(batch) => batch,
                Err(Unanswered::Failed(_)) => {
                    sleep(Duration::from_secs(1)).await;
                    break;
                }
                Err(Unanswered::Away) => break,
            };
            let Some(cursor) = batch.cursor else { continue };
            let slow = *slowness.lock().unwrap();
            if !slow.is_zero() {
                sleep(slow).await;
            }
            let ack = InboxAckParams { reader: reader.clone(), cursor };
            let first = client.call::<inbox::Ack>(&ack).await;
            if first.is_err() && person.insist::<inbox::Ack>(&ack).await.is_err() {
                world.books.wrong(format!("{} cannot acknowledge", person.name));
            }
            world.books.show(who, batch.messages);
            if first.is_err() {
                break;
            }
        }
    }
}
