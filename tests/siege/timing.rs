//! Whether time tells who exists. Trials of two classes, drawn at random, against a real relay; then
//! the same against the control, which leaks five microseconds and must be caught.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::{ClientLogin, Password};
use ams_tests::seed::Seed;
use ams_wire::from_relay::FromRelay;
use ams_wire::id::{Blob, Handle, WorkMark};
use ams_wire::limits::MIN_ENVELOPE;
use ams_wire::to_relay::{Ask, LoginFinish, LoginStart, Send, ToRelay};
use anyhow::{Context, Result};

use crate::client::{Client, Place};
use crate::statistics::{self, MOST_AUC, MOST_T};
use crate::world::{ASKED_NOBODY, ASKED_SOMEBODY, AWAY, BLOCKING, GONE, World};

/// The handle of what is asked and taken back.
const FRESH: Handle = Handle([8; 16]);
/// The tick of the relay's gate, microseconds.
const TICK: f64 = 10_000.0;
/// How many features of each kind are times whose medians are compared.
const COMPARED: usize = 3;
/// What the control leaks, and what a plain run is asked whether it would have seen, microseconds.
const LEAK: f64 = 5.0;

/// What is tried, and the two classes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Asking somebody, or nobody, to be a contact.
    Add,
    /// Both steps of a login as somebody, or nobody.
    Login,
    /// Writing to somebody who was asked and did not answer, or to nobody.
    Send,
    /// Writing to a contact who is away, or whose account is gone.
    Gone,
    /// Writing to a contact who is away, or online and blocks her.
    Blocking,
}

pub(crate) const KINDS: [(&str, Kind); 5] = [
    ("add", Kind::Add),
    ("login", Kind::Login),
    ("send", Kind::Send),
    ("gone", Kind::Gone),
    ("blocking", Kind::Blocking),
];

impl Kind {
    /// What is seen of each trial. Those that come first are times; a login's delays, which depend on
    /// when within a tick it came, have no median worth comparing.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Login => {
                &["tick 1", "tick 2", "ping beside", "delay 1", "delay 2", "bytes", "order"]
            }
            _ => &["answer", "next ping", "ping beside", "bytes", "order"],
        }
    }

    /// Whether the control has a leak there. Sending asks the store nothing that could leak.
    pub(crate) fn has_control(self) -> bool {
        matches!(self, Self::Add | Self::Login)
    }
}

/// One trial: its class, and what was seen.
pub(crate) type Trial = (bool, Vec<f64>);

/// Runs so many trials of both classes together.
pub(crate) async fn run(
    world: &World,
    place: Place,
    kind: Kind,
    trials: usize,
) -> Result<Vec<Trial>> {
    let blocking = Client::attach(place, &world.blocking).await?;
    let blocking = tokio::spawn(blocking.stay());
    let mut asker = Asker {
        place,
        alice: Client::attach(place, &world.alice).await?,
        carol: Client::attach(place, &world.carol).await?,
        seed: Seed::new(u64::from_be_bytes(ams_crypto::random::bytes())),
        sent: 0,
        first: None,
    };
    let mut seen = Vec::with_capacity(trials);
    // The first ones warm up what is slow once.
    let warm_up = trials / 50;
    let mut used = [0; 2];
    for number in 0..warm_up + trials {
        let class = asker.seed.below(2) == 1;
        let (names, used) = (&world.names[usize::from(class)], &mut used[usize::from(class)]);
        let name = names.get(*used % names.len().max(1)).context("no names")?;
        *used += 1;
        let features = match kind {
            Kind::Add => asker.add(name).await?,
            Kind::Login => asker.login(name).await?,
            Kind::Send => asker.send([ASKED_NOBODY, ASKED_SOMEBODY][usize::from(class)]).await?,
            Kind::Gone => asker.send([GONE, AWAY][usize::from(class)]).await?,
            Kind::Blocking => asker.send([BLOCKING, AWAY][usize::from(class)]).await?,
        };
        if number >= warm_up {
            seen.push((class, features));
        }
    }
    blocking.abort();
    Ok(seen)
}

struct Asker {
    place: Place,
    alice: Client,
    carol: Client,
    seed: Seed,
    sent: u64,
    /// A moment at which a tick was seen.
    first: Option<Instant>,
}

/// Frames and their order, as one number.
fn order(numbers: &[u8]) -> f64 {
    numbers.iter().fold(0.0, |order, number| order * 256.0 + f64::from(*number))
}

impl Asker {
    async fn add(&mut self, name: &ams_wire::username::Username) -> Result<Vec<f64>> {
        let intro = Blob::new(vec![0x5a; 2500]).context("blob")?;
        self.alice.say(&ToRelay::Ask(Ask { handle: FRESH, to: name.clone(), intro }))?;
        let began = self.alice.begin().await?;
        let done = |frame: &FromRelay<'_>| matches!(frame, FromRelay::Done(_));
        let (numbers, beside) = tokio::join!(self.alice.heard(done), self.carol.ping());
        let (took, bytes) = self.alice.took(began)?;
        let next = self.alice.ping().await?;
        self.alice.say(&ToRelay::Remove(FRESH))?;
        self.alice.heard(done).await?;
        Ok(vec![took, next, beside?, bytes, order(&numbers?)])
    }

    /// To the answer of a ping that goes in the same record.
    async fn send(&mut self, handle: Handle) -> Result<Vec<f64>> {
        self.sent += 1;
        let mut envelope = [0x5a; MIN_ENVELOPE];
        envelope[..8].copy_from_slice(&self.sent.to_be_bytes());
        let mark = WorkMark::default();
        self.alice.say(&ToRelay::Send(Send { handle, ttl: 0, mark, envelope: &envelope }))?;
        self.alice.say(&ToRelay::Ping)?;
        let began = self.alice.begin().await?;
        let (numbers, beside) = tokio::join!(self.alice.pong(), self.carol.ping());
        let (took, bytes) = self.alice.took(began)?;
        let next = self.alice.ping().await?;
        // What ended meanwhile comes with it, whatever this one is.
        let bytes = if bytes > 600.0 { 0.0 } else { bytes };
        Ok(vec![took, next, beside?, bytes, order(&numbers?)])
    }

    async fn login(&mut self, name: &ams_wire::username::Username) -> Result<Vec<f64>> {
        let mut guest = Client::hello(self.place, &DhSecret::generate()).await?;
        let ke1 = ClientLogin::start(Password::new("a guess at it".to_owned())?)?.1;
        // At any moment of a tick.
        tokio::time::sleep(Duration::from_micros(self.seed.below(10_000))).await;
        guest.say(&ToRelay::LoginStart(LoginStart { user: name.clone(), ke1 }))?;
        let began = guest.begin().await?;
        let answered = |frame: &FromRelay<'_>| matches!(frame, FromRelay::LoginResponse(_));
        let (numbers, beside) = tokio::join!(guest.heard(answered), self.carol.ping());
        let mut numbers = numbers?;
        let first = self.tick(&guest, began)?;
        guest.say(&ToRelay::LoginFinish(LoginFinish { ke3: [1; 64] }))?;
        let began = guest.begin().await?;
        let refused = |frame: &FromRelay<'_>| matches!(frame, FromRelay::Refused);
        numbers.extend(guest.heard(refused).await?);
        let second = self.tick(&guest, began)?;
        let bytes = first.2 + second.2;
        Ok(vec![first.0, second.0, beside?, first.1, second.1, bytes, order(&numbers)])
    }

    /// When within a tick the last bytes came, how long after `began`, and how many they were.
    fn tick(&mut self, guest: &Client, began: Instant) -> Result<(f64, f64, f64)> {
        let (took, bytes) = guest.took(began)?;
        let came = began + Duration::from_nanos((took * 1e3) as u64);
        let since = *self.first.get_or_insert(came);
        let since = came.saturating_duration_since(since).as_secs_f64() * 1e6;
        Ok(((since + TICK / 2.0).rem_euclid(TICK) - TICK / 2.0, took, bytes))
    }
}

/// What trials say.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What shows a difference.
    pub(crate) differs: Vec<String>,
    /// What shows neither a difference nor that there is none.
    pub(crate) undecided: Vec<String>,
    pub(crate) table: String,
}

/// Looks at the trials in every way.
pub(crate) fn judge(kind: Kind, trials: &[Trial]) -> Verdict {
    let mut verdict = Verdict::default();
    for (place, name) in kind.features().iter().enumerate() {
        let of = |class: bool| -> Vec<f64> {
            let of_class = trials.iter().filter(|trial| trial.0 == class);
            of_class.filter_map(|trial| trial.1.get(place).copied()).collect()
        };
        let (one, other) = (of(true), of(false));
        let raw = statistics::welch(&one, &other);
        let cropped = statistics::cropped(&one, &other);
        let t = [raw.map(f64::abs), cropped].into_iter().flatten().fold(0.0, f64::max);
        if t >= MOST_T {
            verdict.differs.push(format!("{name}: |t| {t:.1}"));
        }
        let medians = [statistics::median(&one), statistics::median(&other)];
        let [Some((one, _)), Some((other, _))] = medians.map(|median| median) else {
            verdict.undecided.push(format!("{name}: too few trials"));
            continue;
        };
        let (raw, cropped) = (raw.unwrap_or(0.0), cropped.unwrap_or(0.0));
        let mut line = format!("{name:<12} {one:>10.2} {other:>10.2} {raw:>7.2} {cropped:>7.2}");
        if place < COMPARED
            && let Some(difference) = statistics::median_difference(&of(true), &of(false))
        {
            let text = format!("{:+.2} ±{:.2}", difference.of, difference.error);
            let _ = write!(line, "   {text}");
            if difference.is_beyond() {
                verdict.differs.push(format!("{name}: medians {text} µs"));
            } else if !difference.is_within() {
                verdict.undecided.push(format!("{name}: medians {text} µs"));
            }
        }
        let _ = writeln!(verdict.table, "  {line}");
    }
    let (auc, error) = statistics::auc(trials).unwrap_or((0.5, 0.5));
    let _ = writeln!(verdict.table, "  AUC of a guesser who sees all of it: {auc:.4} ±{error:.4}");
    if auc >= MOST_AUC {
        let is_chance = auc - 0.5 < MOST_T * error;
        let found = if is_chance { &mut verdict.undecided } else { &mut verdict.differs };
        found.push(format!("AUC {auc:.3}"));
    }
    verdict
}

/// Whether trials with that noise would have shown a leak of [`LEAK`].
pub(crate) fn would_be_seen(kind: Kind, trials: &[Trial]) -> bool {
    let mut leaking = trials.to_vec();
    for (class, features) in &mut leaking {
        if let Some(first) = features.first_mut().filter(|_| *class) {
            *first += LEAK;
        }
    }
    !judge(kind, &leaking).differs.is_empty()
}

pub(crate) const HEAD: &str =
    "               somebody     nobody   raw t  cropped   medians differ by";
