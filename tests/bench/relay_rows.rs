//! The relay's rows, each beside the floor's server under the same load.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::client::{Account, AmsLink};
use crate::floor::{Floor, FloorLink, Records};
use crate::load::{Flow, Talk as _, burst, flow, round_trips};
use crate::relay::{Pair, Relay, all};
use crate::table::{Figures, Table, count, micros, millis};

/// Pairs of a sender and a receiver.
const PAIRS: u32 = 50;
/// In flight in each pair.
const FLOOD: usize = 128;
/// How often each is measured, in turn with the floor.
const ROUNDS: usize = 3;
const LENGTH: Duration = Duration::from_secs(2);
const TRIPS: usize = 5_000;
const BURST: usize = 4_000;
const RECONNECTS: usize = 4_000;
const STARTS: usize = 20;
/// Links before memory is first looked at, and those that are measured.
const FIRST_LINKS: u32 = 200;
const LINKS: u32 = 10_000;

/// Wire sizes: what an envelope with so much text has, and the text alone.
#[derive(Clone, Copy)]
struct Size {
    text: usize,
    name: &'static str,
    envelope: usize,
}

/// What the floor forwards.
#[derive(Clone, Copy)]
struct Form {
    bytes: usize,
    records: Records,
}

impl Size {
    fn forms(self) -> [Form; 3] {
        [
            Form { bytes: self.text, records: Records::Single },
            Form { bytes: self.text, records: Records::Shared },
            Form { bytes: self.envelope, records: Records::Shared },
        ]
    }
}

impl Form {
    fn name(self) -> String {
        let records = match self.records {
            Records::Single => "one a record",
            Records::Shared => "many a record",
        };
        format!("floor {} B, {records}", self.bytes)
    }
}

const SHORT: Size = Size { text: 64, name: "64 B", envelope: 473 };
const LONG: Size = Size { text: 1024, name: "1 KiB", envelope: 1497 };

/// Measures the rows that are wanted.
pub(crate) fn measure(table: &mut Table, wants: impl Fn(&str) -> bool) -> Result<()> {
    if ["flood", "lone", "trip", "burst", "reconnect"].into_iter().any(&wants) {
        let scratch = tempfile::tempdir()?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let bench = runtime.block_on(Bench::start(scratch.path()))?;
        if wants("flood") {
            table.note(
                "An envelope is padded: 64 B of text are 473 B on the wire, 1 KiB are 1,497 B. The floor \
                 forwards messages of the text's size, one in a TLS record as most programs do or as \
                 many as fit as AMS does, and messages of the envelope's size.",
            );
            bench.traffic(&runtime, table, ("flood", FLOOD), SHORT, "<= 1.2 µs")?;
            bench.traffic(&runtime, table, ("flood", FLOOD), LONG, "<= 2.5 µs")?;
        }
        if wants("lone") {
            bench.traffic(&runtime, table, ("lone", 1), SHORT, "<= 8.5 µs")?;
        }
        if wants("trip") {
            bench.trip(table)?;
        }
        if wants("burst") {
            runtime.block_on(bench.burst(table))?;
        }
        if wants("reconnect") {
            runtime.block_on(bench.reconnect(table))?;
        }
    }
    if wants("start") {
        start(table)?;
    }
    if wants("memory") {
        memory(table)?;
    }
    Ok(())
}

/// A relay with pairs on it, and a floor.
struct Bench {
    relay: Relay,
    floor: Floor,
    accounts: Vec<Account>,
    pairs: Vec<Pair>,
}

impl Bench {
    async fn start(scratch: &Path) -> Result<Self> {
        eprintln!("{PAIRS} pairs of accounts");
        let (floor, mut relay) = servers(scratch)?;
        let accounts = relay.register(2 * PAIRS).await?;
        let pairs = relay.pair_up(&accounts).await?;
        Ok(Self { relay, floor, accounts, pairs })
    }

    async fn floor_pairs(&self, form: Form) -> Result<Vec<(FloorLink, FloorLink)>> {
        let mut pairs = Vec::new();
        for number in 0..PAIRS {
            pairs.push(self.floor.pair(number, form.bytes, form.records).await?);
        }
        Ok(pairs)
    }

    /// One row for each form in which the floor gets its messages.
    fn traffic(
        &self,
        runtime: &Runtime,
        table: &mut Table,
        (what, in_flight): (&str, usize),
        size: Size,
        goal: &str,
    ) -> Result<()> {
        let what = format!("relay CPU per message, {what} {}", size.name);
        eprintln!("{what}");
        let figures = || Figures::new("µs", 2);
        let mut forms = size.forms().map(|form| (form, figures()));
        let mut ours = figures();
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            runtime.block_on(async {
                for (form, figures) in &mut forms {
                    let links = self.floor_pairs(*form).await?;
                    let flow = flow(links, in_flight, LENGTH, &self.floor.server).await?;
                    figures.add(per_message(flow));
                    rates[1].push(per_second(flow));
                }
                let links = self.relay.connect(&self.pairs, size.envelope).await?;
                let flow = flow(links, in_flight, LENGTH, &self.relay.server).await?;
                ours.add(per_message(flow));
                rates[0].push(per_second(flow));
                Ok::<_, anyhow::Error>(())
            })?;
        }
        for (form, floor) in &forms {
            table.row(&format!("{what}; {}", form.name()), goal, &ours, Some(floor));
        }
        eprintln!("   messages per second: AMS {:.0?}, floor {:.0?}", rates[0], rates[1]);
        Ok(())
    }

    /// On one thread, so that the clients' own hops between threads are not in it.
    fn trip(&self, table: &mut Table) -> Result<()> {
        eprintln!("round trips");
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let figures = || Figures::new("µs", 0);
        let (mut ours, mut floor) = (figures(), figures());
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                let pair = self.floor.pair(0, SHORT.text, Records::Shared).await?;
                floor.add(middle(&round_trips(pair, TRIPS).await?)?);
                let pairs = self.pairs.get(..1).unwrap_or_default();
                let pair = self.relay.connect(pairs, SHORT.envelope).await?.pop();
                ours.add(middle(&round_trips(pair.context("no pair")?, TRIPS).await?)?);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        table.row("round trip over two hops, p50, 64 B", "<= 115 µs", &ours, Some(&floor));
        Ok(())
    }

    async fn burst(&self, table: &mut Table) -> Result<()> {
        eprintln!("senders that do not wait");
        let links = self.relay.connect(&self.pairs, SHORT.envelope).await?;
        let sent = u64::from(PAIRS) * u64::try_from(BURST)?;
        let (arrived, took) = burst(links, BURST).await?;
        let words = format!(
            "{} of {sent} lost, {:.0} messages/s",
            sent - arrived,
            count(arrived) / took.as_secs_f64()
        );
        table.words("senders that do not wait, 64 B", "nothing lost", words);
        Ok(())
    }

    async fn reconnect(&self, table: &mut Table) -> Result<()> {
        eprintln!("reconnects");
        let figures = || Figures::new("ms", 3);
        let (mut ours, mut floor) = (figures(), figures());
        let each = count(u64::try_from(RECONNECTS)?);
        for _ in 0..ROUNDS {
            let before = self.floor.server.cpu()?;
            let connector = &self.floor;
            for number in 0..RECONNECTS {
                drop(connector.alone(u32::try_from(number)?).await?);
            }
            floor.add(millis(self.floor.server.cpu()? - before) / each);
            let before = self.relay.server.cpu()?;
            for account in self.accounts.iter().cycle().take(RECONNECTS) {
                AmsLink::attach(account, self.relay.place(), 0).await?.finish().await?;
            }
            ours.add(millis(self.relay.server.cpu()? - before) / each);
        }
        let what = "relay CPU per reconnect of an enrolled device";
        table.row(what, "<= 0.20 ms", &ours, Some(&floor));
        Ok(())
    }
}

/// From the start of the process to the end of an enrolled device's attach.
fn start(table: &mut Table) -> Result<()> {
    eprintln!("starts");
    let scratch = tempfile::tempdir()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (floor, mut relay) = servers(scratch.path())?;
    let mut accounts = runtime.block_on(relay.register(1))?;
    let account = accounts.pop().context("no account")?;
    let (floor_folder, relay_folder) = (scratch.path().join("floor"), scratch.path().join("relay"));
    relay.server.stop()?;
    floor.server.stop()?;
    let figures = || Figures::new("ms", 1);
    let (mut ours, mut floors) = (figures(), figures());
    for _ in 0..STARTS {
        let began = Instant::now();
        let floor = Floor::start_again(&floor_folder)?;
        let link = runtime.block_on(floor.alone(0))?;
        floors.add(millis(began.elapsed()));
        drop(link);
        floor.server.stop()?;

        let began = Instant::now();
        let relay = Relay::start(&relay_folder)?;
        let link = runtime.block_on(AmsLink::attach(&account, relay.place(), 0))?;
        ours.add(millis(began.elapsed()));
        runtime.block_on(link.finish())?;
        relay.server.stop()?;
    }
    table.row("start to first login served", "<= 4 ms", &ours, Some(&floors));
    Ok(())
}

fn memory(table: &mut Table) -> Result<()> {
    eprintln!("{LINKS} idle links");
    let scratch = tempfile::tempdir()?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (floor, mut relay) = servers(scratch.path())?;
    let floor = Arc::new(floor);
    let figures = |kib| Figures::of("KiB", 1, kib);

    let floors = runtime.block_on(async {
        let connect = |number| {
            let floor = Arc::clone(&floor);
            async move { floor.alone(number).await }
        };
        let first = all(0..FIRST_LINKS, connect).await?;
        let before = floor.server.memory()?;
        let links = all(FIRST_LINKS..FIRST_LINKS + LINKS, connect).await?;
        let growth = floor.server.memory()? - before;
        drop((first, links));
        Ok::<_, anyhow::Error>(growth / f64::from(LINKS))
    })?;

    let (ours, total) = runtime.block_on(async {
        let accounts = relay.register(FIRST_LINKS + LINKS).await?;
        // Memory of the registrations is not the links': a fresh process.
        let folder = relay.folder().to_owned();
        relay.server.stop()?;
        let relay = Relay::start(&folder)?;
        let place = relay.place();
        let (first, rest) = accounts.split_at(usize::try_from(FIRST_LINKS)?);
        let connect = |account: Account| async move { AmsLink::attach(&account, place, 0).await };
        let mut idle = JoinSet::new();
        for link in all(first.iter().cloned(), connect).await? {
            idle.spawn(link.stay());
        }
        let before = relay.server.memory()?;
        for link in all(rest.iter().cloned(), connect).await? {
            idle.spawn(link.stay());
        }
        let after = relay.server.memory()?;
        let lost = std::iter::from_fn(|| idle.try_join_next()).count();
        anyhow::ensure!(lost == 0, "{lost} links were lost");
        idle.shutdown().await;
        Ok::<_, anyhow::Error>(((after - before) / f64::from(LINKS), after / 1024.0))
    })?;
    eprintln!("   the relay's memory with all links: {total:.0} MiB");
    let what = "memory per idle logged-in link (10,000)";
    table.row(what, "<= 6 KiB", &figures(ours), Some(&figures(floors)));
    Ok(())
}

/// A floor and a relay in folders of their own.
fn servers(scratch: &Path) -> Result<(Floor, Relay)> {
    let floor = scratch.join("floor");
    std::fs::create_dir_all(&floor)?;
    Ok((Floor::start(&floor)?, Relay::start(&scratch.join("relay"))?))
}

fn per_message(flow: Flow) -> f64 {
    micros(flow.server) / count(flow.messages)
}

fn per_second(flow: Flow) -> f64 {
    count(flow.messages) / flow.time.as_secs_f64()
}

fn middle(sorted: &[Duration]) -> Result<f64> {
    sorted.get(sorted.len() / 2).copied().map(micros).context("no round trips")
}
