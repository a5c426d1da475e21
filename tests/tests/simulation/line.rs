//! A direct link as a value: what two daemons say to each other without a relay passes through here.
//!
//! As a [`wire`](super::wire) it knows the keys of both ends and is each daemon to the other. What
//! one of them would not answer it does not answer either.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ams_crypto::device::DEVICE_RECORD;
use ams_crypto::dh::{DhPublic, DhSecret};
use ams_link::peer::{self, Greeting};
use ams_link::receiver::Frame;
use ams_link::{Link, Receiver, Sender};
use ams_wire::to_peer::ToPeer;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};

use super::wire::{HANDSHAKE, Way, Wire, passes};

/// A person's device on direct links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Device {
    /// Its secret.
    pub(crate) secret: [u8; 32],
    /// Its owner's word that it is that one's.
    pub(crate) record: [u8; DEVICE_RECORD],
}

impl Device {
    fn key(&self) -> DhSecret {
        DhSecret::from_bytes(&self.secret)
    }
}

/// Looks at an envelope of that person's, on its way to the other one.
pub(crate) type SeesBetween = Arc<dyn Fn(usize, usize, &[u8]) + std::marker::Send + Sync>;

/// What a line needs of those at its ends.
#[derive(Clone)]
pub(crate) struct Two {
    /// Who dialled, and who answers.
    pub(crate) people: [usize; 2],
    /// Their devices.
    pub(crate) devices: [Device; 2],
    /// Sees every envelope with its sender and its recipient.
    pub(crate) sees: SeesBetween,
    /// Sees every envelope that its recipient calls handled.
    pub(crate) handled: SeesBetween,
    /// The control: senders are told so before their contacts have the envelope.
    pub(crate) is_eager: bool,
}

/// How many frames pass before the line breaks; `None`: it does not.
pub(crate) type Fuse = Arc<Mutex<Option<u32>>>;

/// One direct link between two people.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Ends it, or changes how things pass: up from who dialled.
    pub(crate) wire: Wire,
    /// When it breaks by itself.
    pub(crate) fuse: Fuse,
}

impl Line {
    /// Between the two streams, in a task of its own.
    pub(crate) fn open(
        streams: [DuplexStream; 2],
        two: Two,
        way: Way,
        frames: Option<u32>,
    ) -> Self {
        let line = Self { wire: Wire::new(way), fuse: Arc::new(Mutex::new(frames)) };
        let (cut, way) = (line.wire.cut.clone(), line.wire.way.subscribe());
        let carried = carry(streams, two, way, line.fuse.clone());
        tokio::spawn(async move {
            cut.run_until_cancelled(carried).await;
        });
        line
    }
}

/// Both handshakes, as far as those at the ends go along; then everything that is said.
async fn carry(
    [dialling, answering]: [DuplexStream; 2],
    two: Two,
    mut way: watch::Receiver<Way>,
    fuse: Fuse,
) -> Option<()> {
    way.wait_for(|way| way.up_is_open && way.down_is_open).await.ok()?;
    let [dialler, answerer] = [two.devices[0].key(), two.devices[1].key()];
    let (below, above) = match peer::greet(dialling, true, HANDSHAKE).await.ok()? {
        Greeting::Known(known) => {
            let named = known.read(&answerer).ok()?;
            assert_eq!(named.link().as_bytes(), dialler.public().as_bytes(), "another device");
            let key = DhPublic::from_bytes(*answerer.public().as_bytes()).unwrap();
            let above = peer::connect(answering, &dialler, &key, HANDSHAKE).await.ok()?;
            passes(&mut way, |way| way.down_is_open).await?;
            (named.answer(HANDSHAKE).await.ok()?, above)
        }
        Greeting::First(first) => {
            let met = peer::meet(answering, &dialler, HANDSHAKE).await.ok()?;
            passes(&mut way, |way| way.down_is_open).await?;
            let answer = first.answer(&answerer, &two.devices[1].record).ok()?;
            // Whoever only looks goes away here.
            let (below, _) = answer.exchange(HANDSHAKE).await.ok()?.finish().ok()?;
            passes(&mut way, |way| way.up_is_open).await?;
            (below, met.go_on(&two.devices[0].record, HANDSHAKE).await.ok()?)
        }
    };
    let shared = Arc::new(Shared {
        ways: [Mutex::default(), Mutex::default()],
        told: [Notify::new(), Notify::new()],
        two,
        fuse,
    });
    let (up, down) = (below, above);
    let Link { sender: to_dialler, receiver: from_dialler, .. } = up;
    let Link { sender: to_answerer, receiver: from_answerer, .. } = down;
    let direction = |from, to, speaker, is_open: IsOpen| {
        let (way, shared) = (way.clone(), shared.clone());
        Direction { from, to, speaker, way, is_open, shared }
    };
    let up = direction(from_dialler, to_answerer, 0, |way| way.up_is_open);
    let down = direction(from_answerer, to_dialler, 1, |way| way.down_is_open);
    // Whoever closes is gone.
    tokio::select! {
        biased;
        _ = up.run() => {}
        _ = down.run() => {}
    }
    Some(())
}

/// The envelopes of one who speaks, as the other one counts them.
#[derive(Default)]
struct Passed {
    /// How many there were.
    said: u64,
    /// The newest of these, those that are not called handled.
    unhandled: VecDeque<Vec<u8>>,
}

struct Shared {
    ways: [Mutex<Passed>; 2],
    /// The control: that one is told that everything is handled.
    told: [Notify; 2],
    two: Two,
    fuse: Fuse,
}

impl Shared {
    fn passes(&self, speaker: usize, envelope: &[u8]) {
        let [from, to] = [self.two.people[speaker], self.two.people[1 - speaker]];
        (self.two.sees)(from, to, envelope);
        let mut passed = self.ways[speaker].lock().unwrap();
        passed.said += 1;
        passed.unhandled.push_back(envelope.to_vec());
    }

    /// The first `count` of `speaker`'s are called handled.
    fn look_at_handled(&self, speaker: usize, count: u64) {
        let [from, to] = [self.two.people[speaker], self.two.people[1 - speaker]];
        let mut passed = self.ways[speaker].lock().unwrap();
        let before = passed.said - passed.unhandled.len() as u64;
        let more = usize::try_from(count.saturating_sub(before)).unwrap();
        let more = more.min(passed.unhandled.len());
        let handled: Vec<_> = passed.unhandled.drain(..more).collect();
        drop(passed);
        for envelope in handled {
            (self.two.handled)(from, to, &envelope);
        }
    }

    /// One frame more passes; `false`: it breaks here.
    fn holds(&self) -> bool {
        match &mut *self.fuse.lock().unwrap() {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

type IsOpen = fn(&Way) -> bool;

struct Direction {
    from: Receiver<ReadHalf<DuplexStream>>,
    to: Sender<WriteHalf<DuplexStream>>,
    /// 0: who dialled.
    speaker: usize,
    way: watch::Receiver<Way>,
    is_open: IsOpen,
    shared: Arc<Shared>,
}

impl Direction {
    async fn run(mut self) -> Option<()> {
        let (shared, is_eager) = (self.shared.clone(), self.shared.two.is_eager);
        let other = 1 - self.speaker;
        loop {
            let batch: Vec<Frame> = tokio::select! {
                biased;
                () = shared.told[other].notified(), if is_eager => Vec::new(),
                batch = self.from.receive() => batch.ok()?.collect(),
            };
            for Frame { number, body } in &batch {
                if let Ok(Some(ToPeer::Handled(count))) = ToPeer::decode(*number, body) {
                    shared.look_at_handled(other, count);
                }
            }
            passes(&mut self.way, self.is_open).await?;
            if is_eager {
                let said = shared.ways[other].lock().unwrap().said;
                self.to.push(&ToPeer::Handled(said)).unwrap();
            }
            for Frame { number, body } in &batch {
                if !shared.holds() {
                    let _ = self.to.flush().await;
                    return None;
                }
                match ToPeer::decode(*number, body).unwrap() {
                    None => {}
                    // It was told before.
                    Some(ToPeer::Handled(_)) if is_eager => {}
                    Some(said) => {
                        if let ToPeer::Envelope(envelope) = said {
                            shared.passes(self.speaker, envelope);
                        }
                        self.to.push(&said).unwrap();
                    }
                }
            }
            if is_eager && !batch.is_empty() {
                // Nothing of this batch has left yet.
                let said = shared.ways[self.speaker].lock().unwrap().said;
                shared.look_at_handled(self.speaker, said);
                shared.told[self.speaker].notify_one();
            }
            self.to.flush().await.ok()?;
        }
    }
}
