//! The loop of a living link. One task owns both directions.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use ams_link::keepalive::{Due, Keepalive};
use ams_link::receiver::{Batch, ReceiveError};
use ams_link::sender::SendError;
use ams_link::stream::BoxedStream;
use ams_link::{Link, Receiver, Sender};
use ams_rpc::types::LinkState;
use ams_wire::id::{Handle, RoutingId};
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_relay::{Attach, ClientHello, ToRelay};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::handled::Handled;
use super::lane::{Committed, Desk, Lane};
use super::outgoing::{MOST_UNANSWERED, may_send};
use super::sent::Sent;
use super::{Actor, Answer, End};
use crate::relay::event::{LinkEvent, LinkHandle, Mailbox};
use crate::relay::row::{self, RelayId};

/// From the end of the handshake to the relay's word that the device is online.
const ATTACH: Duration = Duration::from_secs(20);
/// A write that stalls for so long ends the link.
const STALL: Duration = Duration::from_secs(5);
/// For the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How far the link has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// The relay's `Hello` comes first.
    Hello,
    /// Then its answer to `Attach`.
    Attaching,
    /// Then what it has of this account; the rows so far.
    Snapshot(BTreeSet<Handle>),
    /// All of that is on its way to the disk.
    Settling,
    /// Envelopes may go.
    Up,
}

/// A control frame that the relay did not answer yet.
pub(super) enum Unanswered {
    Chore(u64),
    Call(oneshot::Sender<Answer>),
    Visible,
    Await,
}

pub(super) struct Served<'a> {
    // Set once.
    pub(super) actor: &'a mut Actor,
    pub(super) relay: RelayId,
    pub(super) handshake_hash: [u8; 32],
    attach_by: Instant,
    // Owned by run.
    pub(super) tx: Sender<WriteHalf<BoxedStream>>,
    rx: Receiver<ReadHalf<BoxedStream>>,
    timer: Pin<Box<Sleep>>,
    keepalive: Keepalive,
    pub(super) phase: Phase,
    pub(super) window: Duration,
    pub(super) lane: Lane,
    pub(super) sent: Sent,
    pub(super) unanswered: VecDeque<Unanswered>,
    handled: Handled,
    /// The visibility that the relay was told last.
    pub(super) told_visible: bool,
    /// The contact links that the relay was told last.
    pub(super) told_links: Vec<RoutingId>,
    /// When to tell the visibility again.
    pub(super) visible_again: Option<Instant>,
    handle: LinkHandle,
    pub(super) parcels: Mailbox,
    /// For the router, once the frames of one read are through.
    pub(super) events: Vec<LinkEvent>,
}

impl<'a> Served<'a> {
    /// Says who we are and asks to be online, in one record.
    pub(super) async fn open(actor: &'a mut Actor, link: Link<BoxedStream>) -> Result<Self, End> {
        let Link { sender: tx, receiver: rx, handshake_hash, .. } = link;
        let relay = actor.relay;
        let mark = actor.deps.store.read(move |db| row::mark(db, relay)).await?;
        let visible = actor.settings.borrow_and_update().visible;
        let now = Instant::now();
        let attach_by = now.checked_add(ATTACH).unwrap_or(now);
        let lane = Lane::new(Desk::new(actor.deps.clone(), relay, actor.row.clone()));
        let keepalive = Keepalive::new(now, actor.deps.outside.chance.clone());
        let (handle, parcels) = LinkHandle::pair();
        let mut served = Self {
            actor,
            relay,
            handshake_hash,
            attach_by,
            tx,
            rx,
            timer: Box::pin(sleep_until(attach_by)),
            keepalive,
            phase: Phase::Hello,
            window: Duration::ZERO,
            lane,
            sent: Sent::default(),
            unanswered: VecDeque::new(),
            handled: Handled::default(),
            told_visible: visible,
            told_links: Vec::new(),
            visible_again: None,
            handle,
            parcels,
            events: Vec::new(),
        };
        served.push(&ToRelay::Hello(ClientHello { versions: vec![PROTOCOL_VERSION] }))?;
        served.push(&ToRelay::Attach(Attach { mark, visible }))?;
        Ok(served)
    }

    /// Until the link ends.
    pub(super) async fn run(mut self) -> End {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        // Also before it was up: who is online was told from the snapshot on.
        let was_online = !self.is_attaching();
        if end == End::Stopped && self.tell_stored().is_ok() && self.push(&ToRelay::Bye).is_ok() {
            // Whether the relay takes the goodbye is its own affair.
            let _ = timeout(GOODBYE, self.tx.close()).await;
        } else {
            drop(self.tx);
        }
        drop(self.rx);
        self.actor.pacing.link_ended();
        if let Some(Committed { accepted: of, .. }) = self.lane.finish().await {
            self.events.push(LinkEvent::Handled { relay: self.relay, of });
        }
        if was_online {
            let reason = end.reason().to_owned();
            self.events.push(LinkEvent::Down { relay: self.relay, reason });
        }
        for event in self.events {
            // An error means that the router ends too.
            let _ = self.actor.deps.events.send(event).await;
        }
        end
    }

    /// Waits for the next thing and does it.
    async fn turn(&mut self) -> Result<(), End> {
        self.take_parcels()?;
        self.lane.begin();
        self.set_timer();
        let up = matches!(self.phase, Phase::Up);
        let may_ask = up && self.unanswered.len() < MOST_UNANSWERED;
        // The end first. Then what waits is written, before more is made. Then what happens rarely,
        // so that a relay that always has something to be read cannot hold it up, and acknowledging
        // before reading. Parcels need no place before reading: every turn begins with them.
        tokio::select! {
            biased;
            () = self.actor.stop.cancelled() => Err(End::Stopped),
            flushed = self.tx.flush(), if self.tx.is_pending() => Ok(flushed?),
            () = self.timer.as_mut() => self.on_time(),
            done = self.lane.committed(), if self.lane.is_busy() => self.on_committed(done?).await,
            () = self.actor.pokes.chores.notified(), if up => self.look_at_chores().await,
            Some(call) = self.actor.calls.recv(), if may_ask => self.ask(call),
            Ok(()) = self.actor.settings.changed(), if up => self.tell_visible(),
            batch = self.rx.receive(), if self.lane.has_room() => self.on_batch(batch?).await,
            Some(parcels) = self.parcels.recv(), if may_send(up, &self.tx, &self.sent) => {
                self.send(parcels)
            }
        }
    }

    async fn on_batch(&mut self, batch: Batch) -> Result<(), End> {
        let now = Instant::now();
        self.keepalive.heard(now);
        self.parcels.hears(now);
        for frame in batch {
            self.on_frame(frame)?;
        }
        self.tell_chores()?;
        self.hand_on().await;
        Ok(())
    }

    /// What came is on disk: now it may be acknowledged.
    async fn on_committed(&mut self, done: Committed) -> Result<(), End> {
        if !done.accepted.is_empty() {
            self.handled.add(done.accepted.len(), done.mark, Instant::now());
            self.events.push(LinkEvent::Handled { relay: self.relay, of: done.accepted });
        }
        for number in done.done {
            self.actor.pacing.done(number);
        }
        if done.snapshot {
            self.come_up().await?;
        }
        self.tell_chores()?;
        self.hand_on().await;
        Ok(())
    }

    /// What is on disk need not be kept by the relay.
    pub(super) fn tell_stored(&mut self) -> Result<(), End> {
        self.handled.take().map_or(Ok(()), |stored| self.push(&ToRelay::Stored(stored)))
    }

    async fn come_up(&mut self) -> Result<(), End> {
        self.phase = Phase::Up;
        self.actor.backoff.alive();
        self.actor.reason = None;
        self.actor.show(LinkState::Up, None);
        self.events.push(LinkEvent::Up {
            relay: self.relay,
            nick: self.actor.row.nick.clone(),
            link: self.handle.clone(),
            window: self.window,
        });
        // It may have changed since `Attach`.
        self.tell_visible()?;
        self.look_at_chores().await
    }

    /// Gives the router what happened. While it has no room, nothing is read, so that the relay
    /// keeps what it has.
    async fn hand_on(&mut self) {
        for event in self.events.drain(..) {
            // An error means that the router ends, and this link soon too.
            let _ = self.actor.deps.events.send(event).await;
        }
    }

    fn set_timer(&mut self) {
        let stalled = self.tx.stalled_since().and_then(|since| since.checked_add(STALL));
        let attach = self.is_attaching().then_some(self.attach_by);
        let up = matches!(self.phase, Phase::Up);
        let may_tell = up && self.unanswered.len() < MOST_UNANSWERED;
        let rested = if may_tell { self.actor.pacing.wake() } else { None };
        let others = [stalled, attach, rested, self.visible_again, self.handled.due()];
        let wake = others.into_iter().flatten().fold(self.keepalive.deadline(), Instant::min);
        if self.timer.deadline() != wake {
            self.timer.as_mut().reset(wake);
        }
    }

    fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.tx.stalled_since().is_some_and(|since| now.duration_since(since) >= STALL) {
            return Err(End::lost("the relay takes nothing any more"));
        }
        if self.is_attaching() && now >= self.attach_by {
            return Err(End::lost("the relay did not answer in time"));
        }
        if self.handled.due().is_some_and(|at| at <= now) {
            self.tell_stored()?;
        }
        if self.visible_again.is_some_and(|at| at <= now) {
            self.visible_again = None;
            self.tell_visible()?;
        }
        match self.keepalive.due(now) {
            Due::Nothing => {}
            Due::Ping => self.push(&ToRelay::Ping)?,
            Due::Dead => return Err(End::lost("the relay fell silent")),
        }
        self.tell_chores()
    }

    fn is_attaching(&self) -> bool {
        matches!(self.phase, Phase::Hello | Phase::Attaching)
    }
}

impl From<SendError> for End {
    fn from(error: SendError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<ReceiveError> for End {
    fn from(error: ReceiveError) -> Self {
        Self::Lost(error.to_string())
    }
}
