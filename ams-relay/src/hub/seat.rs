//! The one link of a member: takes what leads to it, keeps what it has not stored, and gives that
//! back when it leaves.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use ams_wire::from_relay::Bye;
use ams_wire::id::{Handle, RoutingId};
use ams_wire::username::Username;
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::lane::{Held, Lane, Taken};
use super::member::{Ending, Member, Notices};
use super::{Hub, lock};

/// A member's seat. Dropping it leaves: what was not stored is held again.
#[derive(Debug)]
pub(crate) struct Seat {
    hub: Arc<Hub>,
    member: Arc<Member>,
    number: u64,
    _guard: OwnedMutexGuard<()>,
    /// Delivered and not stored, in order.
    unstored: VecDeque<Held>,
    /// Which lanes they came from: how many each, in the same order.
    runs: VecDeque<(Arc<Lane>, usize)>,
    /// No deadline among them is earlier.
    due: Option<u32>,
    /// The contact links that the member waits on.
    awaited: Vec<RoutingId>,
}

impl Hub {
    /// Takes the seat of `name`. The link that has it is told to leave, and gives back what it has
    /// before this one begins, so that order is kept. `None` if a later one came meanwhile: of those
    /// who wait, there is never more than the last.
    pub(crate) async fn sit(self: &Arc<Self>, name: &Username) -> Option<Seat> {
        let member = self.member(name);
        let number = member.arrivals.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        member.arrived.notify_waiters();
        member.end(Ending::Bye(Bye::Superseded));
        let guard = {
            let mut arrived = pin!(member.arrived.notified());
            // Before the look, so that none that comes after it is missed.
            arrived.as_mut().enable();
            if member.arrivals.load(Ordering::Acquire) != number {
                return None;
            }
            tokio::select! {
                biased;
                () = arrived => return None,
                guard = Arc::clone(&member.seat).lock_owned() => guard,
            }
        };
        member.sit_down();
        if self.is_draining.load(Ordering::SeqCst) {
            member.end(Ending::Bye(Bye::Draining));
        }
        self.seated.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            hub: Arc::clone(self),
            member,
            number,
            _guard: guard,
            unstored: VecDeque::new(),
            runs: VecDeque::new(),
            due: None,
            awaited: Vec::new(),
        })
    }
}

impl Seat {
    pub(crate) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Tells this link of the member's from its others.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Fills `empty` with what there is to look at; `false`, and the task is woken later, if there
    /// is nothing.
    pub(crate) fn poll_notices(&self, context: &Context<'_>, empty: &mut Notices) -> bool {
        // First: a link for which there is always something to look at has to leave as well.
        if self.is_superseded() {
            empty.ending = Some(Ending::Bye(Bye::Superseded));
            return true;
        }
        self.member.poll_notices(context, empty)
    }

    /// Whether the link has to end; the task is woken later if it does not. Everything else that was
    /// left for it stays.
    pub(crate) fn poll_ending(&self, context: &Context<'_>) -> Option<Ending> {
        if self.is_superseded() {
            return Some(Ending::Bye(Bye::Superseded));
        }
        self.member.poll_ending(context)
    }

    /// A later link came, maybe while this one was still waiting for the seat: sitting down swept
    /// away what said so.
    fn is_superseded(&self) -> bool {
        self.member.arrivals.load(Ordering::Acquire) != self.number
    }

    /// Takes what waits on `lane`, up to about `room` bytes, and hands each envelope to `deliver`
    /// with this member's handle. `passes` says whether this member's own row lets the lane pass.
    /// Returns whether more waits.
    pub(crate) fn take(
        &mut self,
        lane: &Arc<Lane>,
        passes: impl FnOnce(Handle) -> bool,
        room: usize,
        mut deliver: impl FnMut(Handle, &Bytes),
    ) -> bool {
        let before = self.unstored.len();
        let now = self.hub.second(Instant::now());
        let (handle, messages, more) = match lane.take(passes, room, now, &mut self.unstored) {
            Taken::Some { handle, messages, more } => (handle, messages, more),
            Taken::Nothing => return false,
            Taken::Parked(shed) => {
                self.hub.subtract(shed.bytes, shed.messages);
                return false;
            }
        };
        for held in self.unstored.range(before..) {
            deliver(handle, &held.envelope);
            self.due = Some(self.due.map_or(held.deadline, |due| due.min(held.deadline)));
        }
        match self.runs.back_mut() {
            Some((last, count)) if Arc::ptr_eq(last, lane) => {
                *count = count.saturating_add(messages);
            }
            _ => self.runs.push_back((Arc::clone(lane), messages)),
        }
        more
    }

    /// The client handled the `count` oldest; `false` if there are not so many.
    pub(crate) fn stored(&mut self, mut count: usize) -> bool {
        if count > self.unstored.len() {
            return false;
        }
        let (mut bytes, mut messages) = (0_usize, 0_usize);
        while count > 0
            && let Some((lane, run)) = self.runs.front_mut()
        {
            let now = count.min(*run);
            lane.ended(self.unstored.drain(..now).filter(|held| !held.envelope.is_empty()).map(
                |held| {
                    bytes = bytes.saturating_add(held.cost());
                    messages = messages.saturating_add(1);
                    held.id
                },
            ));
            count = count.saturating_sub(now);
            *run = run.saturating_sub(now);
            if *run == 0 {
                self.runs.pop_front();
            }
        }
        if self.unstored.is_empty() {
            self.due = None;
        }
        self.member.unload(bytes);
        self.hub.subtract(bytes, messages);
        true
    }

    /// The second at which [`Seat::expire`] should be called.
    pub(crate) fn due(&self) -> Option<u32> {
        self.due
    }

    /// Ends what was delivered, was not stored, and is due. It keeps its place in the count.
    pub(crate) fn expire(&mut self, now: u32) {
        let mut left = self.unstored.iter_mut();
        let mut next = None;
        for (lane, run) in &self.runs {
            let mut failed = Vec::new();
            for held in left.by_ref().take(*run).filter(|held| !held.envelope.is_empty()) {
                if held.deadline > now {
                    next = Some(next.map_or(held.deadline, |next: u32| next.min(held.deadline)));
                    continue;
                }
                self.member.unload(held.cost());
                self.hub.subtract(held.cost(), 1);
                held.envelope = Bytes::new();
                failed.push(held.id);
            }
            if !failed.is_empty() {
                lane.ended(failed.iter().copied());
                lane.sender().notice(|notices| notices.failed.extend(failed));
            }
        }
        self.due = next;
    }

    /// All lanes that lead here: some of them may pass now that did not before.
    pub(crate) fn incoming(&self) -> Vec<Arc<Lane>> {
        self.member.incoming()
    }

    /// This member's own row of `handle` changed: whether, and to which handle, it lets pass.
    pub(crate) fn lead(&self, handle: &Handle, to: Option<Handle>) {
        if let Some(lane) = self.member.existing_lane(handle)
            && lane.lead_to(to)
            && let Some(recipient) = lane.recipient()
        {
            recipient.wake(Arc::clone(&lane));
        }
    }
}

#[cfg(test)]
impl Seat {
    pub(super) fn unstored_ids(&self) -> Vec<ams_wire::id::EnvelopeId> {
        self.unstored.iter().map(|held| held.id).collect()
    }
}

impl Seat {
    /// From now on the member waits on these contact links, and on no others.
    pub(crate) fn wait_on(&mut self, links: Vec<RoutingId>) {
        let mut awaited = lock(&self.hub.awaited);
        for link in &self.awaited {
            if awaited.get(link).is_some_and(|member| Arc::ptr_eq(member, &self.member)) {
                awaited.remove(link);
            }
        }
        for link in &links {
            awaited.insert(*link, Arc::clone(&self.member));
        }
        self.awaited = links;
    }

    /// The contact links that it waits on.
    pub(crate) fn awaited(&self) -> &[RoutingId] {
        &self.awaited
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.wait_on(Vec::new());
        let hub = &self.hub;
        for lane in self.member.stand_up() {
            let shed = lane.recipient_left(|shed| hub.is_out_of_room(shed));
            hub.subtract(shed.bytes, shed.messages);
        }
        // Last first, so that each comes to stand before the one that was delivered after it.
        while let Some((lane, run)) = self.runs.pop_back() {
            let from = self.unstored.len().saturating_sub(run);
            let back = self.unstored.drain(from..).rev().filter(|held| !held.envelope.is_empty());
            let member = &self.member;
            let back = back.inspect(|held| member.unload(held.cost()));
            let (alarm, shed) = lane.put_back(back, |shed| hub.is_out_of_room(shed));
            hub.subtract(shed.bytes, shed.messages);
            if let Some(second) = alarm {
                hub.wheel.set(second, lane);
            }
        }
        self.hub.seated.fetch_sub(1, Ordering::Relaxed);
    }
}
