//! `amsctl ping`

use std::thread::sleep;
use std::time::{Duration, Instant};

use ams_rpc::Exit;
use ams_rpc::methods::contact;
use ams_rpc::types::{ContactPingParams, ContactPinged, Period};

use crate::failed::Failed;
use crate::patience::Limit;
use crate::session::Session;
use crate::text;

/// Between the beginnings of two pings.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// How long an answer that came directly is waited for.
const DIRECT: Duration = Duration::from_secs(60);

/// Measure the round trip to a contact's daemon, and say which way it takes. The contact is shown
/// nothing of it. Of several pings one answer is enough to exit 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl ping alice
  amsctl ping alice --count 5 --json
  amsctl ping alice --until-direct --timeout 30s && echo 'no relay in between'")]
pub struct Args {
    /// The contact's name.
    name: String,

    /// How many pings, a second apart, and what they came to in the end; default: one, and with
    /// --until-direct as many as it takes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    /// Dial the contact directly now, and go on until an answer came directly.
    #[arg(long)]
    until_direct: bool,

    /// How long to wait for each answer (5s), or with --until-direct for a direct one (1m); exit 12
    /// when none came.
    #[arg(long, value_name = "DUR")]
    timeout: Option<Period>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        if self.until_direct { self.until_direct(session) } else { self.some(session) }
    }

    /// One answer is enough. That one is lost, or the contact not reachable, ends nothing: it is what
    /// somebody wants to see who sends several.
    fn some(&self, session: &mut Session) -> Result<u8, Failed> {
        let timeout = self.timeout.map_or(ANSWER, |Period(length)| length);
        let mut trips = Trips::default();
        let mut exit = Exit::Done.code();
        let mut began = None;
        for _ in 0..self.count.unwrap_or(1) {
            pause_since(began);
            began = Some(Instant::now());
            match self.ping(session, timeout) {
                Ok(pinged) => {
                    show(session, &pinged, timeout)?;
                    trips.add(pinged.microseconds);
                    exit = pinged.exit;
                }
                Err(failed) if failed.exit == Exit::NotReachable.code() => {
                    exit = failed.report();
                    trips.add(None);
                }
                Err(failed) => return Err(failed),
            }
        }
        if self.count.is_some() && !session.json {
            text::print(&trips.summary(&text::line(&self.name)))?;
        }
        Ok(if trips.answered > 0 { Exit::Done.code() } else { exit })
    }

    /// An answer over another way, or none, is not what is waited for; that the contact cannot be
    /// reached may change.
    fn until_direct(&self, session: &mut Session) -> Result<u8, Failed> {
        let timeout = self.timeout.map_or(DIRECT, |Period(length)| length);
        let limit = Limit::new(Some(Period(timeout)));
        let mut away: Option<String> = None;
        let mut began = None;
        for _ in 0..self.count.unwrap_or(u32::MAX) {
            pause_since(began);
            began = Some(Instant::now());
            let left = limit.left().map_or(ANSWER, |Period(left)| left);
            if left.is_zero() {
                break;
            }
            match self.ping(session, left.min(ANSWER)) {
                Ok(pinged) => {
                    away = None;
                    show(session, &pinged, left.min(ANSWER))?;
                    if pinged.via.as_deref() == Some("direct") {
                        return Ok(Exit::Done.code());
                    }
                }
                Err(failed) if failed.exit == Exit::NotReachable.code() => {
                    // Once, and not every second.
                    if away != failed.message {
                        text::note(&format!("amsctl: {}", text::line(&reason(&failed))));
                    }
                    away = failed.message;
                }
                Err(failed) => return Err(failed),
            }
        }
        let name = text::line(&self.name);
        text::note(&format!(
            "amsctl: {name} did not answer directly\n  amsctl contact show {name} says why"
        ));
        Ok(Exit::NothingCame.code())
    }

    fn ping(&self, session: &mut Session, timeout: Duration) -> Result<ContactPinged, Failed> {
        let timeout = Some(Period(timeout));
        session.persist::<contact::Ping>(Limit::new(timeout), |timeout| ContactPingParams {
            name: self.name.clone(),
            timeout,
            hurry_direct: self.until_direct.then_some(true),
        })
    }
}

/// What several pings came to; times in microseconds.
#[derive(Default)]
struct Trips {
    sent: u64,
    answered: u64,
    shortest: Option<u64>,
    longest: u64,
    all: u64,
}

impl Trips {
    fn add(&mut self, took: Option<u64>) {
        self.sent = self.sent.saturating_add(1);
        let Some(took) = took else { return };
        self.answered = self.answered.saturating_add(1);
        self.shortest = Some(self.shortest.map_or(took, |shortest| shortest.min(took)));
        self.longest = self.longest.max(took);
        self.all = self.all.saturating_add(took);
    }

    fn summary(&self, name: &str) -> String {
        let counts = format!("{name}: {} sent, {} answered", self.sent, self.answered);
        match (self.shortest, self.all.checked_div(self.answered)) {
            (Some(shortest), Some(mean)) => {
                let times = [shortest, mean, self.longest].map(millis).join("/");
                format!("{counts}, min/avg/max {times} ms")
            }
            _ => counts,
        }
    }
}

fn millis(microseconds: u64) -> String {
    format!("{}.{:03}", microseconds / 1000, microseconds % 1000)
}

fn reason(failed: &Failed) -> String {
    failed.message.clone().unwrap_or_default()
}

/// The next one a second after this one began, however long that took.
fn pause_since(began: Option<Instant>) {
    if let Some(began) = began {
        sleep(PAUSE.saturating_sub(began.elapsed()));
    }
}

fn show(session: &Session, pinged: &ContactPinged, waited: Duration) -> Result<(), Failed> {
    if session.json {
        text::print_value(pinged)?;
        return Ok(());
    }
    let name = text::line(&pinged.name);
    match (&pinged.via, pinged.microseconds) {
        (Some(via), Some(microseconds)) => {
            text::print(&format!("{name}: {} ms, {}", millis(microseconds), text::line(via)))?;
        }
        _ => text::note(&format!("amsctl: {name} did not answer within {}", Period(waited))),
    }
    Ok(())
}
