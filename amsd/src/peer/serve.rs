//! The loop of a living direct link. One task owns both directions.
//!
//! `Hello` each way, then what each side owes: approvals, an introduction, its receipt state. Only
//! when the contact's was handled may anything be sealed, so that an old copy of a profile learns
//! what it lost before it uses a counter twice.

use std::pin::Pin;
use std::time::Duration;

use ams_crypto::introduction;
use ams_link::keepalive::{Due, Keepalive};
use ams_link::receiver::{Batch, Frame, ReceiveError};
use ams_link::sender::SendError;
use ams_link::stream::BoxedStream;
use ams_link::{Link, Receiver, Sender};
use ams_rpc::types::LinkState;
use ams_wire::id::{Blob, IntroId};
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_peer::{PeerHello, ToPeer};
use bytes::Bytes;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::actor::{Actor, End, View};
use super::incoming::Incoming;
use super::lane::{Committed, Desk, Item, Lane};
use super::row::{self, HANDLE};
use crate::contacts::ask::Asked;
use crate::contacts::snapshot;
use crate::relay::actor::sent::Sent;
use crate::relay::{LinkEvent, LinkHandle, Mailbox, Parcel};
use crate::session::receipt::{self, Beside};
use crate::session::row::roots;
use crate::store::{Read, StoreError};

/// From the end of the handshake to the contact's receipt state.
const OPENING: Duration = Duration::from_secs(20);
/// A write that stalls for so long ends the link.
const STALL: Duration = Duration::from_secs(5);
/// For the goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Links that both sides dialled within this time are one too many; a later one is a new one.
const AT_ONCE: Duration = Duration::from_secs(20);
/// While an envelope is without the contact's word, it is asked for a sign of life after each such
/// silence; the link ends with the third.
const UNCONFIRMED: Duration = Duration::from_millis(4500);
/// How long an envelope may be without its receipt: longer than any silence that ends the link.
const WINDOW: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The contact's `Hello` comes first.
    Hello,
    /// Then what it owes.
    Opening,
    /// Envelopes may go.
    Up,
}

pub(super) struct Served<'a> {
    // Set once.
    actor: &'a mut Actor,
    view: View,
    dialled: bool,
    since: Instant,
    // Owned by run.
    tx: Sender<WriteHalf<BoxedStream>>,
    rx: Receiver<ReadHalf<BoxedStream>>,
    early: Vec<Frame>,
    timer: Pin<Box<Sleep>>,
    keepalive: Keepalive,
    /// The same, sooner: while envelopes are without the contact's word.
    asking: Option<Keepalive>,
    phase: Phase,
    /// The contact keeps our introduction, and says nothing more for now.
    noted: bool,
    lane: Lane,
    sent: Sent,
    handled: u64,
    handle: LinkHandle,
    parcels: Mailbox,
    /// The contact asked for a sign of life. One answers all that it asked until then.
    owes_pong: bool,
    /// Approvals and the introduction that were told on this link.
    told: Vec<IntroId>,
    /// For the router.
    events: Vec<LinkEvent>,
}

impl<'a> Served<'a> {
    /// A link that the handshake just made, or that came in with frames read already.
    pub(super) fn open(
        actor: &'a mut Actor,
        view: View,
        link: Link<BoxedStream>,
        early: Vec<Frame>,
        dialled: bool,
    ) -> Self {
        let Link { sender: tx, receiver: rx, .. } = link;
        let now = Instant::now();
        let lane = Lane::new(Desk::new(actor.deps.clone(), actor.way));
        let keepalive = Keepalive::new(now, actor.deps.outside.chance.clone());
        let (handle, parcels) = LinkHandle::pair();
        Self {
            actor,
            view,
            dialled,
            since: now,
            tx,
            rx,
            early,
            timer: Box::pin(sleep_until(now)),
            keepalive,
            asking: None,
            phase: Phase::Hello,
            noted: false,
            lane,
            sent: Sent::default(),
            handled: 0,
            handle,
            parcels,
            owes_pong: false,
            told: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Until the link ends.
    pub(super) async fn run(mut self) -> End {
        let end = match self.begin().await {
            Ok(()) => loop {
                if let Err(end) = self.turn().await {
                    break end;
                }
            },
            Err(end) => end,
        };
        let was_up = self.phase == Phase::Up;
        if matches!(end, End::Stopped) && self.push(&ToPeer::Bye).is_ok() {
            // Whether the contact takes the goodbye is its own affair.
            let _ = timeout(GOODBYE, self.tx.close()).await;
        } else {
            drop(self.tx);
        }
        drop(self.rx);
        let relay = self.actor.way;
        if let Some(done) = self.lane.finish().await {
            self.events.push(LinkEvent::Handled { relay, of: done.accepted });
        }
        if was_up {
            let (online, offline) = (Vec::new(), vec![HANDLE]);
            self.events.push(LinkEvent::Presence { relay, online, offline });
            let reason = match &end {
                End::Lost(reason) | End::Disk(reason) => reason.clone(),
                End::Replaced(_) => "the contact connected anew".to_owned(),
                _ => "disconnected".to_owned(),
            };
            // What is shown follows before the next link can come up: nothing goes this way.
            self.actor.show(LinkState::Connecting, Some(reason.clone()));
            self.events.push(LinkEvent::Down { relay, reason });
        }
        for event in self.events {
            // An error means that the router ends too.
            let _ = self.actor.deps.events.send(event).await;
        }
        end
    }

    /// Who dialled speaks first; and on a first meeting says at once what it wants.
    async fn begin(&mut self) -> Result<(), End> {
        if self.dialled {
            self.push(&hello())?;
            if !self.view.direct.noted {
                self.introduce()?;
            }
        }
        for frame in std::mem::take(&mut self.early) {
            self.on_frame(&frame)?;
        }
        self.answer_hello(Phase::Hello).await
    }

    /// The contact's first frame came, if it did not before.
    async fn answer_hello(&mut self, was: Phase) -> Result<(), End> {
        if was == Phase::Hello && self.phase == Phase::Opening {
            return self.say_what_is_owed().await;
        }
        Ok(())
    }

    /// Waits for the next thing and does it.
    async fn turn(&mut self) -> Result<(), End> {
        self.take_parcels()?;
        self.lane.begin();
        self.set_timer();
        let up = self.phase == Phase::Up;
        let may_send = up && !self.tx.is_full() && self.sent.has_room();
        // However much waits to be written: where both sides have more than the line takes, neither
        // would write if it did not read.
        let may_read = self.lane.has_room() && !self.noted;
        self.pong()?;
        // The end first. Then what waits is written, before more is made; then what happens rarely,
        // so that a contact that always has something to be read cannot hold it up.
        tokio::select! {
            biased;
            () = self.actor.stop.cancelled() => Err(End::Stopped),
            flushed = self.tx.flush(), if self.tx.is_pending() => Ok(flushed?),
            () = self.timer.as_mut() => self.on_time(),
            done = self.lane.committed(), if self.lane.is_busy() => self.on_committed(done?).await,
            link = self.actor.links.next() => self.on_incoming(link),
            () = self.actor.pokes.news.notified(), if self.phase != Phase::Hello => {
                self.tell_news().await
            }
            batch = self.rx.receive(), if may_read => self.on_batch(batch?).await,
            Some(parcels) = self.parcels.recv(), if may_send => self.send(parcels),
        }
    }

    /// The contact dialled, too, or anew.
    fn on_incoming(&mut self, link: Incoming) -> Result<(), End> {
        let at_once = Instant::now().duration_since(self.since) < AT_ONCE;
        if !(self.dialled && at_once && self.view.ours_wins()) {
            return Err(End::Replaced(Box::new(link)));
        }
        if self.phase != Phase::Up {
            // Taken, if ours comes to nothing.
            self.actor.held = Some(link);
        }
        Ok(())
    }

    async fn on_batch(&mut self, batch: Batch) -> Result<(), End> {
        self.heard(Instant::now());
        let was = self.phase;
        for frame in batch {
            self.on_frame(&frame)?;
        }
        self.answer_hello(was).await?;
        self.hand_on().await;
        Ok(())
    }

    fn on_frame(&mut self, frame: &Frame) -> Result<(), End> {
        let said = ToPeer::decode(frame.number, &frame.body).map_err(|_| nonsense())?;
        match said {
            // Of a version after this one.
            None | Some(ToPeer::Pong) => {}
            Some(ToPeer::Ping) => self.owes_pong = true,
            Some(ToPeer::Bye) if self.noted => {}
            Some(ToPeer::Bye) => return Err(End::Lost("the contact disconnected".to_owned())),
            Some(ToPeer::Hello(said)) if self.phase == Phase::Hello => {
                if !said.versions.contains(&PROTOCOL_VERSION) {
                    let why = "it speaks another version of AMS: one of the two needs an update";
                    return Err(End::Lost(why.to_owned()));
                }
                self.phase = Phase::Opening;
            }
            Some(ToPeer::Noted(id)) => {
                // A stranger's part ends here; what it was told goes to the disk first.
                self.noted = self.phase == Phase::Hello;
                self.lane.push(Item::Noted(id));
            }
            Some(_) if self.phase == Phase::Hello => return Err(nonsense()),
            Some(ToPeer::Introduce(intro)) => self.lane.push(Item::Introduce(intro)),
            Some(ToPeer::Approval(approval)) => self.lane.push(Item::Approval(approval)),
            Some(ToPeer::Opened(id)) => self.lane.push(Item::Opened(id)),
            Some(ToPeer::Settled(bare)) => {
                let bare = bare.map(|_| frame.body.clone());
                self.lane.push(Item::Settled(bare));
            }
            Some(ToPeer::Envelope(_)) => {
                self.lane.push(Item::Envelope(Bytes::copy_from_slice(&frame.body)));
            }
            Some(ToPeer::Handled(count)) => {
                let keys = self.sent.accepted(count).map_err(|_| nonsense())?;
                if self.sent.is_empty() {
                    self.asking = None;
                }
                if !keys.is_empty() {
                    self.events.push(LinkEvent::Taken { relay: self.actor.way, keys });
                }
            }
            Some(ToPeer::Hello(_)) => return Err(nonsense()),
        }
        Ok(())
    }

    /// What is on disk may be acknowledged.
    async fn on_committed(&mut self, done: Committed) -> Result<(), End> {
        if done.was_noted && self.phase == Phase::Hello {
            return Err(End::Noted);
        }
        for id in done.noted {
            self.push(&ToPeer::Noted(id))?;
        }
        for id in done.opened {
            self.push(&ToPeer::Opened(id))?;
        }
        if done.handled > 0 {
            self.handled = self.handled.saturating_add(done.handled);
            self.push(&ToPeer::Handled(self.handled))?;
        }
        if !done.accepted.is_empty() {
            let relay = self.actor.way;
            self.events.push(LinkEvent::Handled { relay, of: done.accepted });
        }
        if done.settled && self.phase == Phase::Opening {
            self.come_up().await?;
        }
        self.hand_on().await;
        Ok(())
    }

    async fn come_up(&mut self) -> Result<(), End> {
        self.phase = Phase::Up;
        self.actor.held = None;
        self.actor.backoff.alive();
        self.actor.show(LinkState::Up, None);
        let relay = self.actor.way;
        let nick = "direct".to_owned();
        let link = self.handle.clone();
        self.events.push(LinkEvent::Up { relay, nick, link, window: WINDOW });
        let (online, offline) = (vec![HANDLE], Vec::new());
        self.events.push(LinkEvent::Presence { relay, online, offline });
        let (me, now) = (self.actor.deps.me.clone(), self.actor.deps.outside.clock.now());
        let renewed: Result<(), StoreError> = self
            .actor
            .deps
            .store
            .write(move |txn| snapshot::refresh(txn, &me, relay, HANDLE, now))
            .await;
        Ok(renewed?)
    }

    /// The contact is known to be there: what it is to have comes before any envelope.
    async fn say_what_is_owed(&mut self) -> Result<(), End> {
        if !self.dialled {
            self.push(&hello())?;
        }
        self.tell_news().await?;
        let (me, contact) = (self.actor.deps.me.clone(), self.view.contact);
        let tell_read = self.actor.deps.settings.borrow().read_receipts;
        let bare = self.actor.deps.store.read(move |db| {
            let Some(known) = db.get::<crate::contacts::Contacts>(&contact)? else {
                return Ok(None);
            };
            let roots = roots(db, contact)?;
            receipt::bare(db, &me, &roots, &known, contact, tell_read, Beside::Nothing)
        });
        let bare: Result<_, StoreError> = bare.await;
        let bare = bare?;
        self.push(&ToPeer::Settled(bare.as_deref()))
    }

    /// Approvals and introductions that were not told on this link.
    async fn tell_news(&mut self) -> Result<(), End> {
        let way = self.actor.way;
        let news = self.actor.deps.store.read(move |db| {
            let asked = match db.get::<Asked>(&(way, HANDLE))? {
                Some(asked) => Some(asked.secrets()?.intro().to_vec()),
                None => None,
            };
            Ok::<_, StoreError>((row::approvals(db, way)?, asked))
        });
        let (approvals, asked) = news.await?;
        for (id, row) in approvals {
            if !self.told.contains(&id) {
                let approval = Blob::new(row.approval).ok_or_else(nonsense)?;
                self.push(&ToPeer::Approval(approval))?;
                self.told.push(id);
            }
        }
        self.view.asked = asked.map(|intro| (intro, false));
        self.introduce()
    }

    fn introduce(&mut self) -> Result<(), End> {
        let Some((intro, _)) = &self.view.asked else { return Ok(()) };
        let id = introduction::id(intro);
        if self.told.contains(&id) {
            return Ok(());
        }
        let intro = Blob::new(intro.clone()).ok_or_else(nonsense)?;
        self.told.push(id);
        self.push(&ToPeer::Introduce(intro))
    }

    fn pong(&mut self) -> Result<(), End> {
        if !self.owes_pong || self.tx.is_full() {
            return Ok(());
        }
        self.owes_pong = false;
        self.push(&ToPeer::Pong)
    }

    fn take_parcels(&mut self) -> Result<(), End> {
        while self.phase == Phase::Up && !self.tx.is_full() && self.sent.has_room() {
            let Some(parcels) = self.parcels.try_recv() else { break };
            self.send(parcels)?;
        }
        Ok(())
    }

    fn send(&mut self, parcels: Vec<Parcel>) -> Result<(), End> {
        for Parcel { envelope, key, .. } in parcels {
            self.push(&ToPeer::Envelope(&envelope))?;
            self.sent.push(key);
        }
        if !self.sent.is_empty() && self.asking.is_none() {
            let (now, chance) = (Instant::now(), self.actor.deps.outside.chance.clone());
            self.asking = Some(Keepalive::with_silence(now, UNCONFIRMED, chance));
        }
        Ok(())
    }

    /// Gives the router what happened. While it has no room, nothing is read.
    async fn hand_on(&mut self) {
        for event in self.events.drain(..) {
            // An error means that the router ends, and this link soon too.
            let _ = self.actor.deps.events.send(event).await;
        }
    }

    fn push(&mut self, frame: &ToPeer<'_>) -> Result<(), End> {
        let pushed = self.tx.push(frame);
        pushed.map_err(|_| End::Lost("a frame was too long to be sent".to_owned()))
    }

    fn opening_ends(&self) -> Option<Instant> {
        (self.phase != Phase::Up).then(|| self.since.checked_add(OPENING).unwrap_or(self.since))
    }

    fn set_timer(&mut self) {
        let stalled = self.tx.stalled_since().and_then(|since| since.checked_add(STALL));
        let others = [stalled, self.opening_ends()];
        let silence = self.silences().map(|silence| silence.deadline()).min();
        let wake = others.into_iter().chain([silence]).flatten().min().unwrap_or(self.since);
        if self.timer.deadline() != wake {
            self.timer.as_mut().reset(wake);
        }
    }

    fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.tx.stalled_since().is_some_and(|since| now.duration_since(since) >= STALL) {
            return Err(End::Lost("the contact takes nothing any more".to_owned()));
        }
        if self.opening_ends().is_some_and(|ends| now >= ends) {
            return Err(End::Lost("the contact did not answer in time".to_owned()));
        }
        if !self.lane.has_room() {
            // What is not read is nobody's silence.
            self.heard(now);
        }
        let due: Vec<Due> = self.silences().map(|silence| silence.due(now)).collect();
        if due.contains(&Due::Dead) {
            return Err(End::Lost("the contact fell silent".to_owned()));
        }
        if due.contains(&Due::Ping) { self.push(&ToPeer::Ping) } else { Ok(()) }
    }

    fn heard(&mut self, now: Instant) {
        self.parcels.hears(now);
        for silence in self.silences() {
            silence.heard(now);
        }
    }

    fn silences(&mut self) -> impl Iterator<Item = &mut Keepalive> {
        [Some(&mut self.keepalive), self.asking.as_mut()].into_iter().flatten()
    }
}

fn hello() -> ToPeer<'static> {
    ToPeer::Hello(PeerHello { versions: vec![PROTOCOL_VERSION] })
}

fn nonsense() -> End {
    End::Lost("the contact said something that makes no sense".to_owned())
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
