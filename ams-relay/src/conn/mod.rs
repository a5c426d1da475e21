//! One client's link, from its attach to its end. One task owns the socket both ways.
//!
//! 1. [`attach`] takes the account's seat in the hub and shows the client its rows and requests.
//! 2. [`Conn::run`]: reads a batch of frames; `send` puts its envelopes on their lanes and wakes
//!    each recipient once; `control` does what concerns contacts, one frame after the other, and
//!    answers from the request and the account's own rows alone.
//! 3. It takes what waits on the lanes that lead here, as much as the socket has room for, and
//!    writes it in as few records as possible.
//! 4. At the end it writes down the work mark and leaves the seat, which gives back what the client
//!    did not store.

pub(crate) mod attach;
mod control;
mod desk;
mod presence;
mod rows;
mod send;

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ams_crypto::opaque::RelayLogin;
use ams_link::keepalive::{Due, Keepalive};
use ams_link::receiver::{Batch, Weight};
use ams_link::{Receiver, Sender, Stream};
use ams_wire::from_relay::{Bye, Deliver, FromRelay, Row};
use ams_wire::id::{Handle, WorkMark};
use ams_wire::to_relay::ToRelay;
use bytes::{Buf, Bytes};
use tokio::time::{Instant, Sleep};

use crate::accounts::AccountsError;
use crate::accounts::row::ContactRow;
use crate::hub::lane::Lane;
use crate::hub::member::{Ending, Notices};
use crate::hub::seat::Seat;
use crate::limits::Bucket;
use control::{Effect, Task};
pub(crate) use desk::Desk;
use rows::Rows;
use send::Staged;

/// How long the count of accepted envelopes may wait for company in its record. Alone it costs as
/// much as the envelope itself, and it decides nothing but when the sender may say `sent`: where the
/// recipient is online, its receipt comes earlier. So late, it also tells nobody how long anything
/// took.
const ACCEPTED_DELAY: Duration = Duration::from_millis(20);
/// Bytes waiting to be written at which nothing more is gathered.
const FULL: usize = 64 * 1024;
/// For a client that reads, to read what it is told last.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The client left, or its stream was cut.
    #[error("the client left")]
    Left,
    /// The client sent what no client sends.
    #[error("the client broke the protocol")]
    Protocol,
    /// The client did not read, or was silent for too long.
    #[error("the client was silent")]
    Silent,
    /// It had to go.
    #[error("the link was ended")]
    Ended(Ending),
    /// The store failed; the client asks again on another link.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// One client's link.
pub(crate) struct Conn<S: Stream> {
    // Set once.
    desk: Arc<Desk>,
    enrolment: u64,
    handshake_hash: [u8; 32],
    // Owned by run: the socket.
    tx: Sender<S::Write>,
    rx: Receiver<S::Read>,
    keepalive: Keepalive,
    timer: Pin<Box<Sleep>>,
    frames: Bucket,
    /// Control frames for which the store is asked.
    control_frames: Bucket,
    bytes: Bucket,
    /// Nothing is read before.
    pause: Option<Instant>,
    // Owned by run: what came and is not done.
    batch: Option<Batch>,
    task: Option<Task>,
    login: Option<Box<RelayLogin>>,
    // Owned by run: the account.
    seat: Seat,
    rows: Rows,
    /// As its contacts are told now, and as it wants to be.
    is_visible: bool,
    wants_visible: bool,
    mark: WorkMark,
    /// The mark that is on disk.
    written_mark: Option<WorkMark>,
    // Owned by run: what this client sends.
    staged: Staged,
    accepted: u64,
    accepted_told: u64,
    accepted_due: Option<Instant>,
    // Owned by run: what this client receives.
    stored: u64,
    ready: VecDeque<Arc<Lane>>,
    notices: Notices,
    /// Rows that others changed and that are to be read again.
    changed_rows: HashSet<Handle>,
    requests_changed: bool,
    requests_told: Vec<[u8; 32]>,
    redeemed_told: Vec<[u8; 32]>,
    presence: presence::Told,
}

enum Event {
    Notices,
    Done(Result<Effect, AccountsError>),
    Room,
    Batch(Batch),
    Timer,
}

impl<S: Stream> Conn<S> {
    /// Runs until the link ends.
    pub(crate) async fn run(mut self: Box<Self>) -> End {
        let end = self.serve().await;
        self.darken_all();
        self.leave(end).await
    }

    /// Says goodbye where there is one to say, and leaves the seat.
    async fn leave(mut self: Box<Self>, end: End) -> End {
        if let End::Ended(Ending::Bye(reason)) = end {
            self.say(&FromRelay::Bye(reason));
        }
        self.write_mark().await;
        // Before the goodbye: a newer link may be waiting for the seat, and this client not read.
        let Self { seat, mut tx, .. } = *self;
        drop(seat);
        let _ = tokio::time::timeout(GOODBYE, tx.flush()).await;
        end
    }

    async fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.work() {
                return end;
            }
            let event = match poll_fn(|context| self.poll_event(context)).await {
                Ok(event) => event,
                Err(end) => return end,
            };
            let handled = match event {
                Event::Notices => self.take_notices(),
                Event::Done(effect) => self.take_effect(effect),
                Event::Batch(batch) => {
                    self.batch = Some(batch);
                    Ok(())
                }
                Event::Timer => self.take_time(Instant::now()),
                Event::Room => Ok(()),
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    /// Everything that can be done without waiting.
    fn work(&mut self) -> Result<(), End> {
        self.take_frames()?;
        self.start_reading_again();
        self.deliver();
        Ok(())
    }

    /// Waits. The order says what is gathered before it is written: what others left, then this
    /// client's answers; and a client that does not read is not read from either.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, End>> {
        if self.seat.poll_notices(context, &mut self.notices) {
            return Poll::Ready(Ok(Event::Notices));
        }
        if self.tx.is_pending() {
            self.tell_accepted();
            match self.tx.poll_flush(context) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Left)),
                // There is room again for what waits on the lanes.
                Poll::Ready(Ok(())) if self.has_more() => return Poll::Ready(Ok(Event::Room)),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if let Some(task) = &mut self.task {
            if let Poll::Ready(effect) = task.as_mut().poll(context) {
                self.task = None;
                return Poll::Ready(Ok(Event::Done(effect)));
            }
        } else if self.batch.is_none()
            && self.pause.is_none()
            && !self.tx.is_full()
            && let Poll::Ready(batch) = self.rx.poll_receive(context)
        {
            use ams_link::receiver::ReceiveError::{Cut, Io, Malformed, Rejected};
            return Poll::Ready(batch.map(Event::Batch).map_err(|error| match error {
                Cut | Io(_) => End::Left,
                Rejected | Malformed => End::Protocol,
            }));
        }
        let wanted = self.next_time();
        if wanted < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(wanted);
        }
        self.timer.as_mut().poll(context).map(|()| Ok(Event::Timer))
    }

    /// Whether [`Conn::work`] would find something to do once there is room to write.
    fn has_more(&self) -> bool {
        !self.ready.is_empty() || !self.changed_rows.is_empty() || self.requests_changed
    }

    fn next_time(&self) -> Instant {
        let stall =
            self.tx.stalled_since().and_then(|at| at.checked_add(self.desk.limits.write_stall));
        let unstored = self.seat.due().map(|second| self.desk.hub.instant(second));
        [self.accepted_due, self.pause, self.presence.due(), stall, unstored]
            .into_iter()
            .flatten()
            .fold(self.keepalive.deadline(), Instant::min)
    }

    fn take_time(&mut self, now: Instant) -> Result<(), End> {
        let stalled = self.tx.stalled_since();
        if stalled
            .is_some_and(|at| now.saturating_duration_since(at) >= self.desk.limits.write_stall)
        {
            return Err(End::Silent);
        }
        match self.keepalive.due(now) {
            Due::Nothing => {}
            Due::Ping => self.say(&FromRelay::Ping),
            Due::Dead => return Err(End::Silent),
        }
        if self.accepted_due.is_some_and(|due| due <= now) {
            self.tell_accepted();
        }
        if self.pause.is_some_and(|until| until <= now) {
            self.pause = None;
        }
        self.tell_presence(now);
        if let Some(second) = self.seat.due().filter(|second| self.desk.hub.instant(*second) <= now)
        {
            self.seat.expire(second);
        }
        Ok(())
    }

    /// Does what the batch says, up to a frame whose answer has to be waited for.
    fn take_frames(&mut self) -> Result<(), End> {
        if self.task.is_some() {
            return Ok(());
        }
        let Some(mut batch) = self.batch.take() else { return Ok(()) };
        let now = Instant::now();
        self.keepalive.heard(now);
        // Whatever is in them, records cost what reading them does.
        let Weight { bytes, empty_records: mut frames } = batch.weigh();
        let mut control_frames = 0_u32;
        let before = self.mark;
        let mut result = Ok(());
        while self.task.is_none()
            && let Some(frame) = batch.next()
        {
            frames = frames.saturating_add(1);
            result = self.take_frame(frame.number, frame.body, now);
            if result.is_err() {
                break;
            }
            if self.task.is_some() {
                control_frames = 1;
                self.batch = Some(batch);
                break;
            }
        }
        self.send_staged();
        if self.mark != before {
            self.seat.member().raise_mark(self.enrolment, self.mark);
        }
        let desk = &self.desk;
        let owed = [
            self.frames.owe(desk.frames, now, frames),
            self.control_frames.owe(desk.control_frames, now, control_frames),
            self.bytes.owe(desk.bytes, now, bytes),
        ];
        self.pause = owed.into_iter().flatten().max();
        // A client that never stops must not keep the clock from being looked at.
        if result.is_ok() && self.next_time() <= now {
            result = self.take_time(now);
        }
        result
    }

    fn take_frame(&mut self, number: u8, mut body: Bytes, now: Instant) -> Result<(), End> {
        let frame = ToRelay::decode(number, &body).map_err(|_| End::Protocol)?;
        // A type of a later version is skipped.
        let Some(frame) = frame else { return Ok(()) };
        match frame {
            ToRelay::Send(send) => {
                let (handle, ttl, mark) = (send.handle, send.ttl, send.mark);
                body.advance(ams_wire::limits::SEND_HEADER);
                self.mark = self.mark.later(mark);
                self.stage(handle, ttl, body, now);
            }
            ToRelay::Stored(stored) => {
                self.mark = self.mark.later(stored.mark);
                let more = stored.count.checked_sub(self.stored).ok_or(End::Protocol)?;
                let more = usize::try_from(more).map_err(|_| End::Protocol)?;
                if !self.seat.stored(more) {
                    return Err(End::Protocol);
                }
                self.stored = stored.count;
            }
            ToRelay::Ping => self.say(&FromRelay::Pong),
            ToRelay::Pong => {}
            ToRelay::Bye => return Err(End::Left),
            // Those of the gate.
            ToRelay::Hello(_)
            | ToRelay::JoinStart(_)
            | ToRelay::JoinFinish(_)
            | ToRelay::LoginStart(_)
            | ToRelay::LoginFinish(_)
            | ToRelay::Attach(_) => return Err(End::Protocol),
            control => self.take_control(control, now)?,
        }
        Ok(())
    }

    fn take_notices(&mut self) -> Result<(), End> {
        if let Some(ending) = self.notices.ending.take() {
            return Err(End::Ended(ending));
        }
        self.ready.extend(self.notices.ready.drain(..));
        for id in std::mem::take(&mut self.notices.failed) {
            self.say(&FromRelay::Failed(id));
        }
        self.changed_rows.extend(self.notices.rows.drain(..));
        self.requests_changed |= std::mem::take(&mut self.notices.requests);
        for handle in std::mem::take(&mut self.notices.lights) {
            self.presence_changed(handle);
        }
        Ok(())
    }

    /// Takes what waits for this client, as much as there is room for.
    fn deliver(&mut self) {
        while let Some(lane) = self.ready.pop_front() {
            let room = FULL.saturating_sub(self.tx.pending());
            if room == 0 {
                self.ready.push_front(lane);
                break;
            }
            let (rows, tx) = (&self.rows, &mut self.tx);
            let more = self.seat.take(
                &lane,
                |to| rows.passes(&to, &lane),
                room,
                |handle, envelope| {
                    // The sizes of envelopes were checked when they came in.
                    let pushed = tx.push(&FromRelay::Deliver(Deliver { handle, envelope }));
                    debug_assert!(pushed.is_ok());
                },
            );
            if more {
                self.ready.push_back(lane);
            }
        }
    }

    fn tell_accepted(&mut self) {
        self.accepted_due = None;
        if self.accepted > self.accepted_told {
            self.accepted_told = self.accepted;
            self.say(&FromRelay::Accepted(self.accepted));
        }
    }

    /// A row that somebody else changed, or that this client did.
    fn put_row(&mut self, handle: Handle, row: Option<&ContactRow>) {
        let change = self.rows.put(handle, row);
        if change.before == change.after {
            return;
        }
        self.seat.lead(&handle, change.after.as_ref().map(|(_, to)| *to));
        if self.is_visible {
            if let Some((peer, to)) = &change.before {
                self.seat.darken(handle, peer, *to);
            }
            if let Some((peer, to)) = &change.after {
                self.seat.light(handle, peer, *to);
            }
        }
        self.presence_changed(handle);
        // What was held for a row that was not there, or was blocked, may pass now.
        self.ready = self.seat.incoming().into();
    }

    fn tell_row(&mut self, handle: Handle, row: &ContactRow) {
        self.say(&FromRelay::Row(shown(handle, row)));
    }

    fn say(&mut self, frame: &FromRelay<'_>) {
        // All that is said here is bounded far below a record; a frame that were not could only be
        // left out.
        let pushed = self.tx.push(frame);
        debug_assert!(pushed.is_ok(), "a frame of the relay is over its bound");
    }

    fn darken_all(&mut self) {
        if self.is_visible {
            for (own, peer, to) in self.rows.open() {
                self.seat.darken(*own, peer, to);
            }
        }
    }

    async fn write_mark(&mut self) {
        if self.written_mark == Some(self.mark) {
            return;
        }
        let name = self.seat.member().name();
        if let Err(error) = self.desk.accounts.mark(name, self.enrolment, self.mark).await {
            tracing::warn!(%error, "a work mark was not written");
        }
    }
}

/// A row as its owner may see it.
fn shown(handle: Handle, row: &ContactRow) -> Row {
    Row { handle, peer: row.peer.clone(), state: row.shown(), approval: row.approval.clone() }
}

/// The reason that is said to a link whose account is gone.
const GONE: Ending = Ending::Bye(Bye::Replaced);
