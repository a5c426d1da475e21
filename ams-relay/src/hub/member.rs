//! What belongs to one name while somebody needs it: its link's mailbox, what leads to it and from
//! it. There is a member for every name that is written to; whether it has an account is not known
//! here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use ams_wire::from_relay::Bye;
use ams_wire::id::{EnvelopeId, Handle, WorkMark};
use ams_wire::username::Username;

use super::lane::Lane;
use super::lights::Light;
use super::{Bounds, lock};

/// Why a link has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Saying this.
    Bye(Bye),
    /// Without a word: too much waits for it, or the account was locked.
    Silent,
}

/// One name.
#[derive(Debug)]
pub(crate) struct Member {
    // Set once.
    name: Username,
    /// Held by the link that is this member's.
    pub(super) seat: Arc<tokio::sync::Mutex<()>>,
    // Shared, behind short locks.
    mailbox: Mutex<Mailbox>,
    outgoing: Mutex<Outgoing>,
    /// Highest work mark of an enrolment that passed here. It goes with the member; a link writes it
    /// down before it leaves its seat.
    mark: Mutex<Option<(u64, WorkMark)>>,
    // Counters.
    pub(super) arrivals: AtomicU64,
    /// Wakes those who wait for the seat.
    pub(super) arrived: tokio::sync::Notify,
    /// What this member sent to people who are not online.
    held_messages: AtomicUsize,
    held_bytes: AtomicUsize,
    /// Bytes that wait for this member's link or were delivered and not stored.
    load: AtomicUsize,
}

#[derive(Debug, Default)]
struct Mailbox {
    is_seated: bool,
    waker: Option<Waker>,
    notices: Notices,
    /// Lanes that lead here.
    incoming: Vec<Arc<Lane>>,
    /// Who is online and has a row that points at one of this member's handles.
    lights: HashMap<Handle, Light>,
}

/// What the member's link should look at.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// Lanes on which something waits.
    pub(crate) ready: Vec<Arc<Lane>>,
    /// Envelopes of this member that ended.
    pub(crate) failed: Vec<EnvelopeId>,
    /// Rows that somebody else changed.
    pub(crate) rows: Vec<Handle>,
    /// The introductions to this member changed.
    pub(crate) requests: bool,
    /// Handles whose light changed.
    pub(crate) lights: Vec<Handle>,
    /// The link has to end.
    pub(crate) ending: Option<Ending>,
}

impl Notices {
    fn is_empty(&self) -> bool {
        self.ready.is_empty()
            && self.failed.is_empty()
            && self.rows.is_empty()
            && !self.requests
            && self.lights.is_empty()
            && self.ending.is_none()
    }
}

#[derive(Debug, Default)]
struct Outgoing {
    lanes: HashMap<Handle, Arc<Lane>>,
    /// For everything that has no row which lets it pass.
    nowhere: Option<Arc<Lane>>,
}

impl Member {
    pub(super) fn new(name: Username) -> Self {
        Self {
            name,
            seat: Arc::default(),
            mailbox: Mutex::default(),
            outgoing: Mutex::default(),
            mark: Mutex::default(),
            arrivals: AtomicU64::new(0),
            arrived: tokio::sync::Notify::new(),
            held_messages: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            load: AtomicUsize::new(0),
        }
    }

    /// Gives up its lanes, and whatever waits on them.
    pub(super) fn let_go(&self) {
        let mailbox = std::mem::take(&mut *lock(&self.mailbox));
        let outgoing = std::mem::take(&mut *lock(&self.outgoing));
        drop((mailbox, outgoing));
    }

    pub(crate) fn name(&self) -> &Username {
        &self.name
    }

    // The link.

    /// The link that has the seat begins: everything that leads here is to be looked at.
    pub(super) fn sit_down(&self) {
        let mut mailbox = lock(&self.mailbox);
        mailbox.is_seated = true;
        mailbox.notices = Notices { ready: mailbox.incoming.clone(), ..Notices::default() };
    }

    /// It ends. Gives what leads here, which is to be told.
    pub(super) fn stand_up(&self) -> Vec<Arc<Lane>> {
        let (incoming, notices) = {
            let mut mailbox = lock(&self.mailbox);
            mailbox.is_seated = false;
            mailbox.waker = None;
            (mailbox.incoming.clone(), std::mem::take(&mut mailbox.notices))
        };
        drop(notices);
        incoming
    }

    pub(super) fn is_seated(&self) -> bool {
        lock(&self.mailbox).is_seated
    }

    /// Leaves a notice for the link and wakes it; without a link nobody wants it.
    pub(super) fn notice(&self, note: impl FnOnce(&mut Notices)) {
        let waker = {
            let mut mailbox = lock(&self.mailbox);
            if !mailbox.is_seated {
                return;
            }
            note(&mut mailbox.notices);
            mailbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Something waits on a lane that leads here.
    pub(crate) fn wake(&self, lane: Arc<Lane>) {
        self.notice(|notices| notices.ready.push(lane));
    }

    pub(super) fn end(&self, ending: Ending) {
        self.notice(|notices| notices.ending = notices.ending.or(Some(ending)));
    }

    /// Hands over what was left, into `empty`; registers for being woken if there is nothing.
    pub(super) fn poll_notices(&self, context: &Context<'_>, empty: &mut Notices) -> bool {
        let mut mailbox = lock(&self.mailbox);
        if !mailbox.notices.is_empty() {
            std::mem::swap(&mut mailbox.notices, empty);
            return true;
        }
        match &mut mailbox.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        false
    }

    /// Whether the link has to end; registers for being woken if not.
    pub(super) fn poll_ending(&self, context: &Context<'_>) -> Option<Ending> {
        let mut mailbox = lock(&self.mailbox);
        if mailbox.notices.ending.is_none() {
            mailbox.waker = Some(context.waker().clone());
        }
        mailbox.notices.ending
    }

    /// All lanes that lead here, after one of the member's own rows changed.
    pub(super) fn incoming(&self) -> Vec<Arc<Lane>> {
        lock(&self.mailbox).incoming.clone()
    }

    // What this member sends.

    pub(super) fn lane_to(
        self: &Arc<Self>,
        handle: Handle,
        recipient: &Arc<Self>,
        to: Handle,
        bounds: &Bounds,
    ) -> Arc<Lane> {
        let mut outgoing = lock(&self.outgoing);
        let found = outgoing.lanes.get(&handle).filter(|lane| {
            lane.recipient().is_some_and(|of| Arc::ptr_eq(of, recipient)) && !lane.is_closed()
        });
        if let Some(lane) = found {
            let lane = Arc::clone(lane);
            drop(outgoing);
            if lane.lead_to(Some(to)) {
                recipient.wake(Arc::clone(&lane));
            }
            return lane;
        }
        let mut mailbox = lock(&recipient.mailbox);
        let lane = Lane::new(
            Arc::clone(self),
            handle,
            Some(Arc::clone(recipient)),
            Some(to),
            !mailbox.is_seated,
            bounds,
        );
        mailbox.incoming.push(Arc::clone(&lane));
        drop(mailbox);
        outgoing.lanes.insert(handle, Arc::clone(&lane));
        lane
    }

    pub(super) fn lane_to_nowhere(self: &Arc<Self>, bounds: &Bounds) -> Arc<Lane> {
        let mut outgoing = lock(&self.outgoing);
        if let Some(lane) = outgoing.nowhere.as_ref().filter(|lane| !lane.is_closed()) {
            return Arc::clone(lane);
        }
        let lane = Lane::new(Arc::clone(self), Handle([0; Handle::LEN]), None, None, true, bounds);
        outgoing.nowhere = Some(Arc::clone(&lane));
        lane
    }

    /// The lane of a handle, if there is one.
    pub(super) fn existing_lane(&self, handle: &Handle) -> Option<Arc<Lane>> {
        lock(&self.outgoing).lanes.get(handle).map(Arc::clone)
    }

    /// A lane that was closed.
    pub(super) fn forget_lane(&self, lane: &Arc<Lane>) {
        let same = |other: &Arc<Lane>| Arc::ptr_eq(other, lane);
        let mut outgoing = lock(&self.outgoing);
        if outgoing.nowhere.as_ref().is_some_and(same) {
            outgoing.nowhere = None;
        }
        if outgoing.lanes.get(&lane.handle()).is_some_and(same) {
            outgoing.lanes.remove(&lane.handle());
        }
        drop(outgoing);
        if let Some(recipient) = lane.recipient() {
            lock(&recipient.mailbox).incoming.retain(|other| !same(other));
        }
    }

    /// Nothing of this member is delivered any more.
    pub(super) fn silence(&self) {
        let lanes: Vec<_> = lock(&self.outgoing).lanes.values().map(Arc::clone).collect();
        for lane in lanes {
            lane.lead_to(None);
        }
    }

    // Lights.

    pub(super) fn set_light(&self, handle: Handle, light: Light) {
        lock(&self.mailbox).lights.insert(handle, light);
        self.notice(|notices| notices.lights.push(handle));
    }

    pub(super) fn put_out(&self, handle: Handle, is_it: impl FnOnce(&Light) -> bool) {
        let mut mailbox = lock(&self.mailbox);
        if mailbox.lights.get(&handle).is_some_and(is_it) {
            mailbox.lights.remove(&handle);
            drop(mailbox);
            self.notice(|notices| notices.lights.push(handle));
        }
    }

    pub(super) fn sees(&self, handle: &Handle, is_it: impl FnOnce(&Light) -> bool) -> bool {
        lock(&self.mailbox).lights.get(handle).is_some_and(is_it)
    }

    // Counters.

    pub(super) fn count(&self, messages: usize, bytes: usize) {
        self.held_messages.fetch_add(messages, Ordering::Relaxed);
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn uncount(&self, messages: usize, bytes: usize) {
        self.held_messages.fetch_sub(messages, Ordering::Relaxed);
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self, bounds: &Bounds) -> bool {
        self.held_messages.load(Ordering::Relaxed) >= bounds.sender_messages
            || self.held_bytes() >= bounds.sender_bytes
    }

    /// More waits for the link; over `most` it is ended.
    pub(super) fn load(&self, bytes: usize, most: usize) {
        let before = self.load.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > most && before <= most {
            self.end(Ending::Silent);
        }
    }

    pub(super) fn unload(&self, bytes: usize) {
        self.load.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        (count(&self.held_messages), count(&self.held_bytes), count(&self.load))
    }

    // The work mark.

    /// The highest mark of an enrolment that passed here.
    pub(crate) fn mark(&self, enrolment: u64) -> Option<WorkMark> {
        lock(&self.mark).filter(|(of, _)| *of == enrolment).map(|(_, mark)| mark)
    }

    /// Another one passed.
    pub(crate) fn raise_mark(&self, enrolment: u64, mark: WorkMark) {
        let mut kept = lock(&self.mark);
        let newest = match *kept {
            Some((of, old)) if of == enrolment => old.later(mark),
            _ => mark,
        };
        *kept = Some((enrolment, newest));
    }
}
