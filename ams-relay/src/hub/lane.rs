//! One direction of one pair: what a sender's handle has on its way. Only the sender's link pushes,
//! only the recipient's link takes; either may be away.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use ams_wire::id::{EnvelopeId, Handle};
use bytes::Bytes;

use super::member::Member;
use super::{Bounds, lock};
use crate::hash::RandomSet;

/// What an envelope in memory costs beside its bytes.
const OVERHEAD: usize = 128;
/// Envelopes that may wait as slices of the records they came in. A slice of 512 bytes can pin a
/// record of 64 KiB, so what waits behind these is copied.
const MAX_SLICES: usize = 64;

/// An envelope that is on its way.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: EnvelopeId,
    /// When trying ends, in seconds of the hub.
    pub(crate) deadline: u32,
    pub(crate) envelope: Bytes,
}

impl Held {
    /// What it counts for.
    pub(crate) fn cost(&self) -> usize {
        self.envelope.len().saturating_add(OVERHEAD)
    }

    fn unpin(&mut self) {
        self.envelope = Bytes::copy_from_slice(&self.envelope);
    }
}

/// A lane.
#[derive(Debug)]
pub(crate) struct Lane {
    // Set once.
    sender: Arc<Member>,
    handle: Handle,
    recipient: Option<Arc<Member>>,
    /// Envelopes that it keeps for somebody who is not online.
    most_held: usize,
    // Shared, behind a short lock.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The recipient's handle, while the sender's own row lets traffic pass.
    to: Option<Handle>,
    waiting: VecDeque<Held>,
    waiting_bytes: usize,
    /// What was refused for a bound of this lane: it fails at its time like everything else.
    refused: VecDeque<(EnvelopeId, u32)>,
    /// Everything that has not ended, here or at the recipient's link.
    ids: RandomSet<EnvelopeId>,
    /// Nobody takes from here: what waits counts for the sender.
    is_parked: bool,
    /// The recipient knows that something waits, or will find out by itself.
    is_ready: bool,
    /// Given up; pushing needs another lane.
    is_closed: bool,
    /// The earliest second for which the wheel will look here.
    alarm: Option<u32>,
}

/// What a push did.
pub(super) struct Pushed {
    pub(super) bytes: usize,
    pub(super) messages: usize,
    /// The recipient should be woken.
    pub(super) wakes: bool,
    /// The wheel should look here at this second.
    pub(super) alarm: Option<u32>,
}

/// What a recipient's link may do with a lane.
pub(super) enum Taken {
    /// Something, for this handle of its own; perhaps there is more.
    Some { handle: Handle, messages: usize, more: bool },
    /// Nothing waits.
    Nothing,
    /// Nothing may pass; this much is not kept any more.
    Parked { bytes: usize, messages: usize },
}

impl Lane {
    pub(super) fn new(
        sender: Arc<Member>,
        handle: Handle,
        recipient: Option<Arc<Member>>,
        to: Option<Handle>,
        is_parked: bool,
        most_held: usize,
    ) -> Arc<Self> {
        let state = State {
            to,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            refused: VecDeque::new(),
            ids: RandomSet::default(),
            is_parked,
            is_ready: is_parked,
            is_closed: false,
            alarm: None,
        };
        Arc::new(Self { sender, handle, recipient, most_held, state: Mutex::new(state) })
    }

    pub(crate) fn sender(&self) -> &Arc<Member> {
        &self.sender
    }

    /// The sender's handle.
    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    pub(crate) fn recipient(&self) -> Option<&Arc<Member>> {
        self.recipient.as_ref()
    }

    /// Takes the envelopes over; `None` when the lane is closed. One that is on its way already is
    /// dropped; the first deadline holds in any case.
    pub(super) fn push(&self, envelopes: &mut Vec<Held>, bounds: &Bounds) -> Option<Pushed> {
        let state = &mut *lock(&self.state);
        if state.is_closed {
            return None;
        }
        let (mut bytes, mut messages) = (0_usize, 0_usize);
        let mut earliest = u32::MAX;
        for mut held in envelopes.drain(..) {
            let is_full = state.is_parked && state.waiting.len() >= self.most_held;
            if !state.ids.insert(held.id) {
                // Sent again, and refused the first time: taken after all if there is room now, or
                // what is sent after it would pass it.
                let refused = state.refused.iter().position(|(id, _)| *id == held.id);
                let again = refused.filter(|_| !is_full).and_then(|at| state.refused.remove(at));
                let Some((_, deadline)) = again else { continue };
                self.sender.uncount(1, 0);
                held.deadline = deadline;
            }
            earliest = earliest.min(held.deadline);
            if is_full {
                self.sender.count(1, 0);
                state.refused.push_back((held.id, held.deadline));
                continue;
            }
            if state.is_parked {
                self.sender.count(1, held.cost());
            }
            if state.is_parked || state.waiting.len() >= MAX_SLICES {
                held.unpin();
            }
            messages = messages.saturating_add(1);
            bytes = bytes.saturating_add(held.cost());
            state.waiting.push_back(held);
        }
        state.waiting_bytes = state.waiting_bytes.saturating_add(bytes);
        if !state.is_parked
            && let Some(recipient) = &self.recipient
        {
            recipient.load(bytes, bounds.link_bytes);
        }
        let alarm = (earliest < state.alarm.unwrap_or(u32::MAX)).then_some(earliest);
        state.alarm = alarm.or(state.alarm);
        let wakes = messages > 0 && !std::mem::replace(&mut state.is_ready, true);
        Some(Pushed { bytes, messages, wakes, alarm })
    }

    /// Moves what waits, up to about `room` bytes, to the end of `out`, if `passes` allows it for
    /// the recipient's handle.
    pub(super) fn take(
        &self,
        passes: impl FnOnce(Handle) -> bool,
        room: usize,
        out: &mut VecDeque<Held>,
    ) -> Taken {
        let state = &mut *lock(&self.state);
        let Some(handle) = state.to.filter(|to| passes(*to)) else {
            return self.turn_away(state);
        };
        self.unpark(state);
        let (mut bytes, mut messages) = (0_usize, 0_usize);
        while bytes < room
            && let Some(held) = state.waiting.pop_front()
        {
            state.waiting_bytes = state.waiting_bytes.saturating_sub(held.cost());
            bytes = bytes.saturating_add(held.envelope.len());
            messages = messages.saturating_add(1);
            out.push_back(held);
        }
        let more = !state.waiting.is_empty();
        state.is_ready = more;
        if messages == 0 { Taken::Nothing } else { Taken::Some { handle, messages, more } }
    }

    /// The recipient stored these, or they ended at its link.
    pub(super) fn ended(&self, ids: impl Iterator<Item = EnvelopeId>) {
        let state = &mut *lock(&self.state);
        for id in ids {
            state.ids.remove(&id);
        }
    }

    /// What a link took and did not store comes back, last first.
    pub(super) fn put_back(&self, envelopes: impl Iterator<Item = Held>) {
        let state = &mut *lock(&self.state);
        for mut held in envelopes {
            held.unpin();
            state.waiting_bytes = state.waiting_bytes.saturating_add(held.cost());
            if state.is_parked {
                self.sender.count(1, held.cost());
            } else if let Some(recipient) = &self.recipient {
                recipient.load(held.cost(), usize::MAX);
            }
            state.waiting.push_front(held);
        }
    }

    /// The recipient is away.
    pub(super) fn recipient_left(&self) {
        let state = &mut *lock(&self.state);
        self.park(state);
        state.is_ready = true;
    }

    /// The sender's row changed: whether and where it lets traffic pass. Returns whether the
    /// recipient should be woken.
    pub(super) fn lead_to(&self, to: Option<Handle>) -> bool {
        let state = &mut *lock(&self.state);
        if state.to == to {
            return false;
        }
        state.to = to;
        state.is_ready = !state.waiting.is_empty();
        state.is_ready
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Ends what is due; gives what failed, and when to look again. Closes a lane that is empty.
    pub(super) fn expire(&self, now: u32) -> Expired {
        let state = &mut *lock(&self.state);
        let mut failed = Vec::new();
        let (mut bytes, mut messages) = (0_usize, 0_usize);
        let mut next = u32::MAX;
        state.waiting.retain(|held| {
            let is_due = held.deadline <= now;
            if is_due {
                bytes = bytes.saturating_add(held.cost());
                messages = messages.saturating_add(1);
                failed.push(held.id);
            } else {
                next = next.min(held.deadline);
            }
            !is_due
        });
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        if state.is_parked {
            self.sender.uncount(messages, bytes);
        } else if let Some(recipient) = &self.recipient {
            recipient.unload(bytes);
        }
        state.refused.retain(|(id, deadline)| {
            let is_due = *deadline <= now;
            if is_due {
                self.sender.uncount(1, 0);
                failed.push(*id);
            } else {
                next = next.min(*deadline);
            }
            !is_due
        });
        for id in &failed {
            state.ids.remove(id);
        }
        state.is_closed = state.ids.is_empty();
        // What is at the recipient's link is watched there; look again later whether it is through.
        let next = if next == u32::MAX { now.saturating_add(1) } else { next };
        state.alarm = (!state.is_closed).then_some(next);
        Expired { failed, bytes, messages, next: state.alarm }
    }

    fn park(&self, state: &mut State) {
        if std::mem::replace(&mut state.is_parked, true) {
            return;
        }
        for held in &mut state.waiting {
            held.unpin();
        }
        self.sender.count(state.waiting.len(), state.waiting_bytes);
        if let Some(recipient) = &self.recipient {
            recipient.unload(state.waiting_bytes);
        }
    }

    /// The recipient is online and does not let it pass. What is kept is as much as if nobody were
    /// there, or the sender could tell one from the other by when the bounds are reached.
    fn turn_away(&self, state: &mut State) -> Taken {
        self.park(state);
        let (mut bytes, mut messages) = (0_usize, 0_usize);
        let kept = self.most_held.min(state.waiting.len());
        for held in state.waiting.split_off(kept) {
            bytes = bytes.saturating_add(held.cost());
            messages = messages.saturating_add(1);
            state.refused.push_back((held.id, held.deadline));
        }
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        self.sender.uncount(0, bytes);
        Taken::Parked { bytes, messages }
    }

    fn unpark(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_parked, false) {
            return;
        }
        self.sender.uncount(state.waiting.len(), state.waiting_bytes);
        if let Some(recipient) = &self.recipient {
            // A hold that became deliverable is no reason to close the link it waits for.
            recipient.load(state.waiting_bytes, usize::MAX);
        }
    }
}

/// What ended on a lane.
pub(super) struct Expired {
    pub(super) failed: Vec<EnvelopeId>,
    pub(super) bytes: usize,
    pub(super) messages: usize,
    /// When to look again; never, once the lane is closed.
    pub(super) next: Option<u32>,
}
