//! What every message costs: an envelope goes from the record that it came in onto its lane.
//!
//! Envelopes to one handle are staged and put on their lane under one lock; the recipients are woken
//! when the batch is through, each once. Nothing here depends on whether a recipient exists: a
//! handle without a row that lets pass leads nowhere, and that is a lane like any other.

use std::sync::Arc;

use ams_link::Stream;
use ams_wire::id::{EnvelopeId, Handle};
use bytes::Bytes;
use tokio::time::Instant;

use super::{ACCEPTED_DELAY, Conn};
use crate::hub::lane::{Held, Lane};

/// Envelopes on their way from a batch to their lanes.
#[derive(Debug, Default)]
pub(super) struct Staged {
    handle: Option<Handle>,
    envelopes: Vec<Held>,
    /// Lanes whose recipients are to be woken.
    woken: Vec<Arc<Lane>>,
    /// What the batch's envelopes end at without a time of their own; drawn once for a batch.
    deadline: Option<u32>,
}

impl<S: Stream> Conn<S> {
    pub(super) fn stage(&mut self, handle: Handle, ttl: u32, envelope: Bytes, now: Instant) {
        self.accepted = self.accepted.saturating_add(1);
        if self.accepted_due.is_none() {
            self.accepted_due = now.checked_add(ACCEPTED_DELAY);
        }
        if self.staged.handle != Some(handle) {
            self.submit();
            self.staged.handle = Some(handle);
        }
        let hub = &self.desk.hub;
        let member = self.seat.member();
        let longest =
            *self.staged.deadline.get_or_insert_with(|| hub.deadline(now, hub.window(member)));
        let deadline = match ttl {
            0 => longest,
            ttl => longest.min(hub.deadline(now, std::time::Duration::from_secs(ttl.into()))),
        };
        // The frame was checked: an envelope is longer than its id.
        let id = envelope.first_chunk().map_or(EnvelopeId([0; 16]), |id| EnvelopeId(*id));
        let link = self.seat.number();
        self.staged.envelopes.push(Held::new(id, deadline, envelope, link));
    }

    /// The batch is through.
    pub(super) fn send_staged(&mut self) {
        if self.staged.handle.is_none() {
            return;
        }
        self.submit();
        self.staged.handle = None;
        self.staged.deadline = None;
        for lane in self.staged.woken.drain(..) {
            if let Some(recipient) = lane.recipient() {
                recipient.wake(Arc::clone(&lane));
            }
        }
    }

    fn submit(&mut self) {
        let Some(handle) = self.staged.handle else { return };
        while !self.staged.envelopes.is_empty() {
            let lane = self.lane(handle);
            match self.desk.hub.submit(&lane, &mut self.staged.envelopes) {
                Some(true) => self.staged.woken.push(lane),
                Some(false) => {}
                // Given up for want of use; the next one is new.
                None => self.forget_lane(&handle),
            }
        }
    }

    fn lane(&mut self, handle: Handle) -> Arc<Lane> {
        let hub = &self.desk.hub;
        let member = self.seat.member();
        let open = self.rows.get_mut(&handle).and_then(|row| Some((row.open_to?, row)));
        let Some((to, row)) = open else {
            return hub.lane(member, handle, None);
        };
        let lane = row.lane.get_or_insert_with(|| hub.lane(member, handle, Some((&row.peer, to))));
        Arc::clone(lane)
    }

    fn forget_lane(&mut self, handle: &Handle) {
        if let Some(row) = self.rows.get_mut(handle) {
            row.lane = None;
        }
    }
}
