//! A link as a value: what a daemon and a relay say to each other passes through here, and can be
//! delayed, held back in one or both directions, cut, and falsified.
//!
//! A wire knows the keys of both ends and is a relay to the daemon and the daemon to the relay. So it
//! sees frames, as no wire does, and can play a relay that lies.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::envelope;
use ams_link::receiver::Frame;
use ams_link::{Link, Receiver, Sender, handshake};
use ams_tests::seed::Seed;
use ams_wire::from_relay::{Deliver, FromRelay, Presence};
use ams_wire::id::{EnvelopeId, Handle, WorkMark};
use ams_wire::to_relay::{Send, Stored, ToRelay};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// For the handshakes at both ends.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// How things pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// From the daemon to the relay; where it is not open, what is said waits.
    pub(crate) up_is_open: bool,
    /// From the relay to the daemon.
    pub(crate) down_is_open: bool,
    /// What each record takes.
    pub(crate) latency: Duration,
    /// How much of what the relay says is wrong, in percent of what could be; 0: it is honest.
    pub(crate) lies: u64,
}

/// Looks at an envelope, and the handle that it is sent or delivered under.
pub(crate) type Sees = Arc<dyn Fn(Handle, &[u8]) + std::marker::Send + Sync>;

/// What a wire needs of those at its ends.
#[derive(Clone)]
pub(crate) struct Ends {
    /// The relay's secret.
    pub(crate) relay: [u8; 32],
    /// The device's secret.
    pub(crate) device: [u8; 32],
    /// Sees every envelope that the daemon sends.
    pub(crate) sees: Sees,
    /// Sees every envelope that the relay is told is stored.
    pub(crate) stored: Sees,
    /// The control: the relay is told so before the daemon has the envelope.
    pub(crate) is_eager: bool,
}

/// Ends a wire, or changes how things pass.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// Both ends see their connection end.
    pub(crate) cut: CancellationToken,
    /// How things pass.
    pub(crate) way: watch::Sender<Way>,
    /// What a client says that is not the daemon's.
    forged: Arc<Forged>,
}

/// Envelopes that somebody sends who has no right to them, each under a handle.
#[derive(Debug, Default)]
struct Forged {
    envelopes: Mutex<VecDeque<(Handle, Vec<u8>)>>,
    told: Notify,
}

impl Wire {
    /// That nothing passes on yet.
    pub(crate) fn new(way: Way) -> Self {
        let (cut, way) = (CancellationToken::new(), watch::Sender::new(way));
        Self { cut, way, forged: Arc::default() }
    }

    /// Between the two streams, in a task of its own.
    pub(crate) fn open(
        daemon: DuplexStream,
        relay: DuplexStream,
        ends: Ends,
        way: Way,
        chance: Seed,
    ) -> Self {
        let wire = Self::new(way);
        let (cut, way, forged) = (wire.cut.clone(), wire.way.subscribe(), wire.forged.clone());
        tokio::spawn(async move {
            cut.run_until_cancelled(carry(daemon, relay, ends, (way, forged), chance)).await;
        });
        wire
    }

    /// The device at its lower end sends this too, without its daemon.
    pub(crate) fn forge(&self, handle: Handle, envelope: Vec<u8>) {
        self.forged.envelopes.lock().unwrap().push_back((handle, envelope));
        self.forged.told.notify_one();
    }

    /// Whether nobody is at its ends any more.
    pub(crate) fn is_over(&self) -> bool {
        self.cut.is_cancelled() || self.way.is_closed()
    }
}

async fn carry(
    daemon: DuplexStream,
    relay: DuplexStream,
    ends: Ends,
    (mut way, forged): (watch::Receiver<Way>, Arc<Forged>),
    chance: Seed,
) {
    let relay_secret = DhSecret::from_bytes(&ends.relay);
    if way.wait_for(|way| way.up_is_open && way.down_is_open).await.is_err() {
        return;
    }
    let below = handshake::accept(daemon, &relay_secret, HANDSHAKE).await;
    let Ok(Link { sender: to_daemon, receiver: from_daemon, remote, .. }) = below else { return };
    let device = DhSecret::from_bytes(&ends.device);
    assert_eq!(remote.as_bytes(), device.public().as_bytes(), "somebody else's device");
    let key = DhPublic::from_bytes(*relay_secret.public().as_bytes()).unwrap();
    let above = handshake::connect(relay, &device, &key, HANDSHAKE).await;
    let Ok(Link { sender: to_relay, receiver: from_relay, .. }) = above else { return };
    let shared = Arc::new(Shared {
        tales: Mutex::new(Tales { chance, ..Tales::default() }),
        told: Notify::new(),
        delivered: Notify::new(),
        sees: ends.sees,
        stored: ends.stored,
        is_eager: ends.is_eager,
    });
    let (from, to, mark) = (from_daemon, to_relay, WorkMark::default());
    let up = Up { from, to, way: way.clone(), shared: shared.clone(), forged, mark };
    let down = Down { from: from_relay, to: to_daemon, way, shared };
    // Whoever closes is gone.
    tokio::select! {
        biased;
        _ = up.run() => {}
        _ = down.run() => {}
    }
}

struct Shared {
    tales: Mutex<Tales>,
    /// There is something to be said that the relay did not say.
    told: Notify,
    /// The daemon was given an envelope.
    delivered: Notify,
    sees: Sees,
    stored: Sees,
    is_eager: bool,
}

impl Shared {
    /// So many of what the daemon saw are called stored.
    fn look_at_stored(&self, count: u64) {
        let stored = self.tales.lock().unwrap().take_stored(count);
        for (handle, envelope) in stored {
            (self.stored)(handle, &envelope);
        }
    }
}

/// What was falsified, so that the counts of both ends still fit.
struct Tales {
    chance: Seed,
    /// `Failed`s that the relay did not say.
    failed: VecDeque<EnvelopeId>,
    /// Envelopes that come later than they should, or once more.
    late: VecDeque<(Handle, Vec<u8>)>,
    /// How many `Deliver`s the relay has said.
    said: u64,
    /// For each that the daemon saw: how many the relay had said then.
    seen: Vec<u64>,
    /// The newest of these: those that the daemon has not called stored.
    unstored: VecDeque<(Handle, Vec<u8>)>,
    handles: Vec<Handle>,
    /// For each `Send` that the relay saw: how many the daemon had said then.
    sent: Vec<u64>,
}

impl Default for Tales {
    fn default() -> Self {
        Self {
            chance: Seed::new(0),
            failed: VecDeque::new(),
            late: VecDeque::new(),
            said: 0,
            seen: Vec::new(),
            unstored: VecDeque::new(),
            handles: Vec::new(),
            sent: Vec::new(),
        }
    }
}

impl Tales {
    fn happens(&mut self, percent: u64) -> bool {
        percent > 0 && self.chance.below(100) < percent
    }

    /// One more `Send` goes to the relay; the daemon's own, or one that it knows nothing of.
    fn send(&mut self, own: bool) {
        let before = self.sent.last().copied().unwrap_or(0);
        self.sent.push(before + u64::from(own));
    }

    /// The daemon sees one more.
    fn see(&mut self, handle: Handle, envelope: &[u8]) {
        self.seen.push(self.said);
        self.unstored.push_back((handle, envelope.to_vec()));
    }

    /// Those of the first `count` that were not called stored before.
    fn take_stored(&mut self, count: u64) -> Vec<(Handle, Vec<u8>)> {
        let before = self.seen.len() - self.unstored.len();
        let more = usize::try_from(count).unwrap().saturating_sub(before);
        self.unstored.drain(..more.min(self.unstored.len())).collect()
    }

    /// What the daemon is told of a count of the relay's.
    fn accepted(&self, count: u64) -> u64 {
        let count = usize::try_from(count).unwrap();
        count.checked_sub(1).map_or(0, |last| self.sent[last])
    }

    /// What the relay is told of a count of the daemon's.
    fn stored(&self, count: u64) -> u64 {
        let count = usize::try_from(count).unwrap();
        match count {
            0 => 0,
            // What was swallowed at the end counts as handled.
            all if all >= self.seen.len() => self.said,
            some => self.seen[some - 1],
        }
    }
}

/// One direction stands still until it is open, and then takes its time.
pub(crate) async fn passes(
    way: &mut watch::Receiver<Way>,
    open: impl Fn(&Way) -> bool,
) -> Option<Way> {
    let latency = way.borrow().latency;
    sleep(latency).await;
    way.wait_for(open).await.ok().map(|way| *way)
}

struct Up {
    from: Receiver<ReadHalf<DuplexStream>>,
    to: Sender<WriteHalf<DuplexStream>>,
    way: watch::Receiver<Way>,
    shared: Arc<Shared>,
    forged: Arc<Forged>,
    /// The newest that the daemon said.
    mark: WorkMark,
}

impl Up {
    async fn run(mut self) -> Option<()> {
        loop {
            let batch: Vec<Frame> = tokio::select! {
                biased;
                () = self.shared.delivered.notified(), if self.shared.is_eager => Vec::new(),
                batch = self.from.receive() => batch.ok()?.collect(),
                () = self.forged.told.notified() => Vec::new(),
            };
            for Frame { number, body } in &batch {
                if let Ok(Some(ToRelay::Stored(stored))) = ToRelay::decode(*number, body) {
                    self.shared.look_at_stored(stored.count);
                }
            }
            let way = passes(&mut self.way, |way| way.up_is_open).await?;
            if self.shared.is_eager {
                let count = self.shared.tales.lock().unwrap().said;
                self.to.push(&ToRelay::Stored(Stored { count, mark: self.mark })).unwrap();
            }
            for Frame { number, body } in &batch {
                let Some(said) = ToRelay::decode(*number, body).unwrap() else { continue };
                match said {
                    ToRelay::Attach(ref attach) => self.mark = attach.mark,
                    ToRelay::Send(send) => {
                        if send.mark != WorkMark::default() {
                            self.mark = send.mark;
                        }
                        (self.shared.sees)(send.handle, send.envelope);
                        let mut tales = self.shared.tales.lock().unwrap();
                        tales.send(true);
                        if tales.happens(way.lies) {
                            tales.failed.extend(envelope::id(send.envelope));
                            self.shared.told.notify_one();
                        }
                    }
                    ToRelay::Stored(Stored { mark, .. }) if self.shared.is_eager => {
                        // It was told before.
                        self.mark = mark;
                        continue;
                    }
                    ToRelay::Stored(Stored { count, mark }) => {
                        let count = self.shared.tales.lock().unwrap().stored(count);
                        self.to.push(&ToRelay::Stored(Stored { count, mark })).unwrap();
                        continue;
                    }
                    _ => {}
                }
                self.to.push(&said).unwrap();
            }
            self.say_what_is_forged();
            self.to.flush().await.ok()?;
        }
    }

    fn say_what_is_forged(&mut self) {
        let forged = std::mem::take(&mut *self.forged.envelopes.lock().unwrap());
        for (handle, envelope) in forged {
            self.shared.tales.lock().unwrap().send(false);
            let mark = WorkMark::default();
            let send = Send { handle, ttl: 0, mark, envelope: &envelope };
            self.to.push(&ToRelay::Send(send)).unwrap();
        }
    }
}

struct Down {
    from: Receiver<ReadHalf<DuplexStream>>,
    to: Sender<WriteHalf<DuplexStream>>,
    way: watch::Receiver<Way>,
    shared: Arc<Shared>,
}

impl Down {
    async fn run(mut self) -> Option<()> {
        loop {
            let batch: Vec<Frame> = tokio::select! {
                biased;
                batch = self.from.receive() => batch.ok()?.collect(),
                () = self.shared.told.notified() => Vec::new(),
            };
            let way = passes(&mut self.way, |way| way.down_is_open).await?;
            for Frame { number, body } in &batch {
                if let Some(said) = FromRelay::decode(*number, body).unwrap() {
                    self.say(&said, way.lies);
                }
            }
            self.say_what_was_not_said();
            self.to.flush().await.ok()?;
        }
    }

    fn say(&mut self, said: &FromRelay<'_>, lies: u64) {
        let mut tales = self.shared.tales.lock().unwrap();
        match said {
            FromRelay::Deliver(deliver) => {
                tales.said += 1;
                let kept = (deliver.handle, deliver.envelope.to_vec());
                if tales.happens(lies) {
                    // Swallowed, and it may come behind the next one.
                    if tales.happens(50) {
                        tales.late.push_back(kept);
                    }
                    return;
                }
                if tales.happens(lies) {
                    // Twice; the second time perhaps much later.
                    tales.late.push_back(kept);
                }
                tales.see(deliver.handle, deliver.envelope);
                if self.shared.is_eager {
                    // Nothing of this batch has left yet.
                    let all = tales.seen.len() as u64;
                    drop(tales);
                    self.shared.look_at_stored(all);
                    self.shared.delivered.notify_one();
                    tales = self.shared.tales.lock().unwrap();
                }
            }
            FromRelay::Row(row) => tales.handles.push(row.handle),
            FromRelay::Presence(news) => {
                tales.handles.extend(&news.online);
                if tales.happens(lies) {
                    let Presence { online, offline } = news.clone();
                    let turned = Presence { online: offline, offline: online };
                    drop(tales);
                    self.to.push(&FromRelay::Presence(turned)).unwrap();
                    return;
                }
            }
            FromRelay::Accepted(count) => {
                let count = tales.accepted(*count);
                drop(tales);
                self.to.push(&FromRelay::Accepted(count)).unwrap();
                return;
            }
            // It said so already.
            FromRelay::Failed(_) if tales.happens(lies) => return,
            _ => {}
        }
        let late = match said {
            FromRelay::Deliver(_) if tales.happens(50) => tales.late.pop_front(),
            _ => None,
        };
        if let Some((handle, envelope)) = &late {
            tales.see(*handle, envelope);
        }
        drop(tales);
        self.to.push(said).unwrap();
        if let Some((handle, envelope)) = late {
            let again = FromRelay::Deliver(Deliver { handle, envelope: &envelope });
            self.to.push(&again).unwrap();
        }
    }

    fn say_what_was_not_said(&mut self) {
        let failed = std::mem::take(&mut self.shared.tales.lock().unwrap().failed);
        for envelope in failed {
            self.to.push(&FromRelay::Failed(envelope)).unwrap();
        }
    }
}
