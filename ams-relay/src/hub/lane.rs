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
/// Envelopes on a lane, and again at a link that has not stored them, that may be slices of what they
/// were read with. A slice of 512 bytes can pin 64 KiB, so what comes behind these is copied.
const MAX_SLICES: usize = 64;

/// An envelope that is on its way.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: EnvelopeId,
    /// When trying ends, in seconds of the hub.
    pub(crate) deadline: u32,
    pub(crate) envelope: Bytes,
    /// Which link of its sender's sent it last.
    link: u64,
    /// The envelope pins nothing but itself.
    is_copy: bool,
}

impl Held {
    /// One that came just now, over that link of its sender's, as a slice of what it was read with.
    pub(crate) fn new(id: EnvelopeId, deadline: u32, envelope: Bytes, link: u64) -> Self {
        Self { id, deadline, envelope, link, is_copy: false }
    }

    /// What it counts for.
    pub(crate) fn cost(&self) -> usize {
        self.envelope.len().saturating_add(OVERHEAD)
    }

    fn unpin(&mut self) {
        if !std::mem::replace(&mut self.is_copy, true) {
            self.envelope = Bytes::copy_from_slice(&self.envelope);
        }
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
    /// Bytes of them, and of all that the sender has under way to people who are not online.
    most_bytes: usize,
    // Shared, behind a short lock.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The recipient's handle, while the sender's own row lets traffic pass.
    to: Option<Handle>,
    waiting: VecDeque<Held>,
    waiting_bytes: usize,
    /// What was refused for a bound: all of it is later than what waits, its bytes are gone, and it
    /// fails at its time like everything else.
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

impl State {
    /// What waits under that id was sent again, over `link`. It goes behind what that link sent
    /// before it and stands behind it: that had ended meanwhile. Otherwise it keeps its place. `false`
    /// where nothing waits under that id.
    fn sent_again(&mut self, id: &EnvelopeId, link: u64) -> bool {
        let Some(at) = self.waiting.iter().rposition(|held| held.id == *id) else { return false };
        let is_passed = self.waiting.range(at..).skip(1).any(|held| held.link == link);
        if let Some(held) = self.waiting.get_mut(at) {
            held.link = link;
        }
        if is_passed {
            let moved = self.waiting.remove(at);
            self.waiting.extend(moved);
        }
        true
    }

    /// Something ends at this second; gives it if the wheel would look later.
    fn alarm_at(&mut self, second: u32) -> Option<u32> {
        let alarm = (second < self.alarm.unwrap_or(u32::MAX)).then_some(second);
        self.alarm = alarm.or(self.alarm);
        alarm
    }
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
    Parked(Shed),
}

impl Lane {
    pub(super) fn new(
        sender: Arc<Member>,
        handle: Handle,
        recipient: Option<Arc<Member>>,
        to: Option<Handle>,
        is_parked: bool,
        bounds: &Bounds,
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
        Arc::new(Self {
            sender,
            handle,
            recipient,
            most_held: bounds.contact_messages,
            most_bytes: bounds.sender_bytes,
            state: Mutex::new(state),
        })
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
    /// dropped; the first deadline holds in any case. `is_out` says, when so many bytes of these
    /// were taken, whether memory has no room for more.
    pub(super) fn push(
        &self,
        envelopes: &mut Vec<Held>,
        bounds: &Bounds,
        is_out: impl Fn(usize) -> bool,
    ) -> Option<Pushed> {
        let state = &mut *lock(&self.state);
        if state.is_closed {
            return None;
        }
        let (mut bytes, mut messages) = (0_usize, 0_usize);
        let mut earliest = u32::MAX;
        for mut held in envelopes.drain(..) {
            let is_full =
                state.is_parked && (state.waiting.len() >= self.most_held || is_out(bytes));
            if !state.ids.insert(held.id) {
                // On its sender's next link everything without a receipt comes in its order.
                if state.sent_again(&held.id, held.link) {
                    continue;
                }
                // Sent again, and refused the first time: taken after all if there is room now and
                // nothing was refused before it, or what is sent after it would pass it.
                let refused = state.refused.iter().position(|(id, _)| *id == held.id);
                let may = |at: &usize| !is_full && (*at == 0 || !state.is_parked);
                let again = refused.filter(may).and_then(|at| state.refused.remove(at));
                let Some((_, deadline)) = again else { continue };
                self.sender.uncount(1, 0);
                held.deadline = deadline;
            } else if is_full || (state.is_parked && !state.refused.is_empty()) {
                self.sender.count(1, 0);
                earliest = earliest.min(held.deadline);
                state.refused.push_back((held.id, held.deadline));
                continue;
            }
            earliest = earliest.min(held.deadline);
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
        let alarm = state.alarm_at(earliest);
        let wakes = messages > 0 && !std::mem::replace(&mut state.is_ready, true);
        Some(Pushed { bytes, messages, wakes, alarm })
    }

    /// Moves what waits and is not due at `now`, up to about `room` bytes, to the end of `out`, if
    /// `passes` allows it for the recipient's handle.
    pub(super) fn take(
        &self,
        passes: impl FnOnce(Handle) -> bool,
        room: usize,
        now: u32,
        out: &mut VecDeque<Held>,
    ) -> Taken {
        let state = &mut *lock(&self.state);
        let Some(handle) = state.to.filter(|to| passes(*to)) else {
            return self.turn_away(state);
        };
        self.unpark(state);
        let (mut bytes, mut messages) = (0_usize, 0_usize);
        let mut late = Vec::new();
        while bytes < room
            && let Some(mut held) = state.waiting.pop_front()
        {
            if held.deadline <= now {
                late.push(held);
                continue;
            }
            if out.len() >= MAX_SLICES {
                held.unpin();
            }
            state.waiting_bytes = state.waiting_bytes.saturating_sub(held.cost());
            bytes = bytes.saturating_add(held.envelope.len());
            messages = messages.saturating_add(1);
            out.push_back(held);
        }
        let more = !state.waiting.is_empty();
        state.is_ready = more;
        // The wheel ends these, and is about to.
        for held in late.into_iter().rev() {
            state.waiting.push_front(held);
        }
        if messages == 0 { Taken::Nothing } else { Taken::Some { handle, messages, more } }
    }

    /// The recipient stored these, or they ended at its link.
    pub(super) fn ended(&self, ids: impl Iterator<Item = EnvelopeId>) {
        let state = &mut *lock(&self.state);
        for id in ids {
            state.ids.remove(&id);
        }
    }

    /// What a link took and did not store comes back, last first. Gives when the wheel should look
    /// here, if earlier than it will, and what was not kept: `is_out` says, when so many bytes are
    /// gone, whether there is still no room for what is left.
    pub(super) fn put_back(
        &self,
        envelopes: impl Iterator<Item = Held>,
        is_out: impl Fn(usize) -> bool,
    ) -> (Option<u32>, Shed) {
        let state = &mut *lock(&self.state);
        let mut earliest = u32::MAX;
        for mut held in envelopes {
            held.unpin();
            earliest = earliest.min(held.deadline);
            state.waiting_bytes = state.waiting_bytes.saturating_add(held.cost());
            if state.is_parked {
                self.sender.count(1, held.cost());
            } else if let Some(recipient) = &self.recipient {
                recipient.load(held.cost(), usize::MAX);
            }
            state.waiting.push_front(held);
        }
        (state.alarm_at(earliest), self.shed_of_absent(state, is_out))
    }

    /// The recipient is away. What is not kept, as of [`Lane::put_back`].
    pub(super) fn recipient_left(&self, is_out: impl Fn(usize) -> bool) -> Shed {
        let state = &mut *lock(&self.state);
        state.is_ready = true;
        self.park(state);
        self.shed_of_absent(state, is_out)
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
        if state.alarm.is_none_or(|alarm| alarm > now) {
            // Another entry of the wheel stands for this lane now; or it was closed. Would each one
            // that fires set the next, they would become more for ever.
            return Expired { failed: Vec::new(), bytes: 0, messages: 0, next: Next::Stale };
        }
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
        let next = state.alarm.map_or(Next::Closed, Next::At);
        Expired { failed, bytes, messages, next }
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
        // The one with which the sender's bound is reached is held, as it is in `push`.
        Taken::Parked(self.shed(state, |state, _| {
            let last = state.waiting.back().map_or(0, Held::cost);
            self.sender.held_bytes().saturating_sub(last) >= self.most_bytes
        }))
    }

    /// What was under way to somebody online is more than is held for one who is not. The sender's
    /// bound is none here: what a contact had not stored when its link was cut stays in its order,
    /// whatever its sender has under way to others.
    fn shed_of_absent(&self, state: &mut State, is_out: impl Fn(usize) -> bool) -> Shed {
        if !state.is_parked {
            return Shed::default();
        }
        self.shed(state, |_, shed| is_out(shed))
    }

    /// Refuses the newest of what waits on this parked lane, as long as it is too much.
    fn shed(&self, state: &mut State, too_much: impl Fn(&State, usize) -> bool) -> Shed {
        let mut shed = Shed::default();
        while (state.waiting.len() > self.most_held || too_much(state, shed.bytes))
            && let Some(held) = state.waiting.pop_back()
        {
            let cost = held.cost();
            shed.bytes = shed.bytes.saturating_add(cost);
            shed.messages = shed.messages.saturating_add(1);
            state.waiting_bytes = state.waiting_bytes.saturating_sub(cost);
            self.sender.uncount(0, cost);
            state.refused.push_front((held.id, held.deadline));
        }
        shed
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
    pub(super) next: Next,
}

/// When the wheel should look at a lane again.
pub(super) enum Next {
    /// At this second.
    At(u32),
    /// Never: it is closed now.
    Closed,
    /// Never by this entry: it was not the lane's alarm any more.
    Stale,
}

/// What was in memory and is not kept.
#[derive(Debug, Default)]
pub(super) struct Shed {
    pub(super) bytes: usize,
    pub(super) messages: usize,
}
