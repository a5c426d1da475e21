//! Many who mean no good, one after the other and some two hundred at a time, each from an address of
//! its own; and two honest people who write to each other meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ams_crypto::dh::DhSecret;
use ams_link::handshake;
use ams_link::sender::Outgoing;
use ams_wire::WireError;
use ams_wire::from_relay::FromRelay;
use ams_wire::id::WorkMark;
use ams_wire::limits::{MIN_ENVELOPE, PROTOCOL_VERSION};
use ams_wire::to_relay::{ClientHello, Send, Stored, ToRelay};
use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Client, Place, connect};
use crate::world::{AWAY, Served, World};

/// At the same time.
const CROWD: usize = 200;
/// How long one of them stays, milliseconds: least, and how much more at most.
const STAY: (u64, u64) = (50, 400);
/// Between two messages of the honest, and between two links of hers, in messages.
const PAUSE: Duration = Duration::from_millis(10);
const LINK: usize = 50;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Connections that were made, and those of them that the relay closed first.
    pub(crate) made: usize,
    pub(crate) closed: usize,
    /// Messages of the honest, each from sending to arriving, and her links, each from dialling to
    /// the end of the snapshot; microseconds, sorted.
    pub(crate) messages: Vec<f64>,
    pub(crate) links: Vec<f64>,
    /// Links that she did not get at the first try.
    pub(crate) refused: usize,
    /// Memory of the relay before and at most, MiB.
    pub(crate) memory: (f64, f64),
}

/// Lets `count` of them come, who live on `beside`: the honest must not wait for their own thread.
/// Fails if an honest message is lost.
pub(crate) async fn run(
    world: &World,
    relay: &mut Served,
    count: usize,
    beside: &Handle,
) -> Result<Report> {
    let place = relay.place;
    let mut report = Report::default();
    let mut bob = Client::attach(place, &world.away).await?;
    let mut alice = Client::attach(place, &world.alice).await?;
    let before = relay.memory()?;
    report.memory = (before, before);
    let closed = Arc::new(AtomicUsize::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let crowd = beside.spawn(crowd(place, count, Arc::clone(&closed), Arc::clone(&is_over)));
    let mut number = 0_u64;
    let mut stored = 0;
    while !is_over.load(Ordering::Relaxed) {
        if usize::try_from(number)? % LINK == LINK - 1 {
            alice = again(place, world, &mut report).await?;
        }
        number += 1;
        let mut envelope = [0x5a; MIN_ENVELOPE];
        envelope[..8].copy_from_slice(&number.to_be_bytes());
        let send = Send { handle: AWAY, ttl: 0, mark: WorkMark::default(), envelope: &envelope };
        alice.say(&ToRelay::Send(send))?;
        bob.look();
        let began = alice.begin().await?;
        bob.heard(|frame| matches!(frame, FromRelay::Deliver(_)))
            .await
            .context("a message is lost")?;
        report.messages.push(bob.took(began)?.0);
        stored += 1;
        bob.say(&ToRelay::Stored(Stored { count: stored, mark: WorkMark::default() }))?;
        bob.flush().await?;
        let memory = relay.memory()?;
        report.memory.1 = report.memory.1.max(memory);
        sleep(PAUSE).await;
    }
    report.made = crowd.await??;
    report.closed = closed.load(Ordering::Relaxed);
    anyhow::ensure!(relay.runs()?, "the relay ended");
    report.messages.sort_by(f64::total_cmp);
    report.links.sort_by(f64::total_cmp);
    Ok(report)
}

/// A new link of alice's; where the room for strangers is full, she comes again.
async fn again(place: Place, world: &World, report: &mut Report) -> Result<Client> {
    let began = Instant::now();
    for _ in 0..200 {
        match Client::attach(place, &world.alice).await {
            Ok(alice) => {
                report.links.push(began.elapsed().as_secs_f64() * 1e6);
                return Ok(alice);
            }
            Err(_) => {
                report.refused += 1;
                sleep(PAUSE).await;
            }
        }
    }
    anyhow::bail!("alice does not get in")
}

async fn crowd(
    place: Place,
    count: usize,
    closed: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
) -> Result<usize> {
    let mut tasks = JoinSet::new();
    let mut made = 0;
    for number in 0..count {
        while tasks.len() >= CROWD {
            tasks.join_next().await;
        }
        let closed = Arc::clone(&closed);
        made += 1;
        tasks.spawn(async move {
            // Whether the relay closes or they leave, an error is how it goes.
            let [_, a, b, c] = u32::try_from(number).unwrap_or(0).to_be_bytes();
            let from = [127, a.wrapping_add(1), b, c.clamp(1, 254)];
            let stay = STAY.0 + u64::try_from(number).unwrap_or(0) * 7 % STAY.1;
            let one = misbehave(place, number, from);
            if timeout(Duration::from_millis(stay), one).await.is_ok() {
                closed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    is_over.store(true, Ordering::Relaxed);
    Ok(made)
}

/// Ends when the relay closes; dropped when its time is over.
async fn misbehave(place: Place, number: usize, from: [u8; 4]) -> Result<()> {
    let mut stream = connect(place.at, Some(from)).await?;
    match number % 7 {
        // Says nothing.
        0 => {}
        // Half a handshake.
        1 => stream.write_all(&[1; 30]).await?,
        // Byte by byte.
        2 => {
            for _ in 0..49 {
                stream.write_all(&[1]).await?;
                sleep(Duration::from_millis(5)).await;
            }
        }
        // Nonsense.
        3 => stream.write_all(&[0xAA; 4096]).await?,
        // The right size and no key.
        4 => stream.write_all(&[1; 49]).await?,
        // A record far too long, and pings whose answers nobody reads.
        kind => {
            let key = DhSecret::generate();
            let link = handshake::connect(stream, &key, &place.key, Duration::from_secs(5)).await?;
            let (mut tx, mut rx) = (link.sender, link.receiver);
            tx.push(&ToRelay::Hello(ClientHello { versions: vec![PROTOCOL_VERSION] }))?;
            if kind == 5 {
                tx.push(&Long)?;
                tx.flush().await?;
                while rx.receive().await.is_ok() {}
                return Ok(());
            }
            loop {
                for _ in 0..1_000 {
                    tx.push(&ToRelay::Ping)?;
                }
                tx.flush().await?;
            }
        }
    }
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

/// A frame as long as one can be.
struct Long;

impl Outgoing for Long {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        out.extend_from_slice(&[0xEE, 0xF0, 0x00]);
        out.resize(out.len() + 0xF000, 0);
        Ok(())
    }
}
