//! What goes out on a link: envelopes, chores, what the user waits for.

use std::time::Duration;

use ams_link::Sender;
use ams_link::sender::Outgoing;
use ams_link::stream::BoxedStream;
use ams_wire::WireError;
use ams_wire::limits::MAX_CONTACT_LINKS;
use ams_wire::to_relay::{Await, Send, ToRelay};
use tokio::io::WriteHalf;
use tokio::time::Instant;

use super::sent::Sent;
use super::serve::{Phase, Served, Unanswered};
use super::{Call, End};
use crate::contacts::link;
use crate::relay::chores;
use crate::relay::event::Parcel;
use crate::store::StoreError;

/// Control frames without an answer. Their answers come in order, so that more at once would only
/// make each wait longer.
pub(super) const MOST_UNANSWERED: usize = 16;
/// After the relay limited a change of visibility.
const VISIBLE_PAUSE: Duration = Duration::from_secs(3);

impl Served<'_> {
    /// What the router has is gathered into few records.
    pub(super) fn take_parcels(&mut self) -> Result<(), End> {
        let up = matches!(self.phase, Phase::Up);
        while may_send(up, &self.tx, &self.sent) {
            let Some(parcels) = self.parcels.try_recv() else { break };
            self.send(parcels)?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self, parcels: Vec<Parcel>) -> Result<(), End> {
        self.tell_stored()?;
        for Parcel { handle, ttl, mark, envelope, key } in parcels {
            self.push(&ToRelay::Send(Send { handle, ttl, mark, envelope: &envelope }))?;
            self.sent.push(key);
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, call: Call) -> Result<(), End> {
        // Whoever asked may have given up while there was no link.
        if !call.reply.is_closed() {
            self.push(&Encoded(&call.frame))?;
            self.unanswered.push_back(Unanswered::Call(call.reply));
        }
        Ok(())
    }

    pub(super) async fn look_at_chores(&mut self) -> Result<(), End> {
        let relay = self.relay;
        let waiting = self.actor.deps.store.read(move |db| chores::waiting(db, relay));
        let waiting: Result<_, StoreError> = waiting.await;
        self.actor.pacing.set(waiting?);
        self.tell_links().await?;
        self.tell_chores()
    }

    /// Tells what may be told now.
    pub(super) fn tell_chores(&mut self) -> Result<(), End> {
        if !matches!(self.phase, Phase::Up) {
            return Ok(());
        }
        let now = Instant::now();
        while self.unanswered.len() < MOST_UNANSWERED {
            let Some((number, frame)) = self.actor.pacing.next(now) else { break };
            self.tx.push(&Encoded(frame)).map_err(too_long)?;
            self.unanswered.push_back(Unanswered::Chore(number));
        }
        Ok(())
    }

    /// Names the contact links that are waited on, where the relay knows of others or of none.
    async fn tell_links(&mut self) -> Result<(), End> {
        let (relay, now) = (self.relay, self.actor.deps.outside.clock.now());
        let awaited = self.actor.deps.store.read(move |db| link::awaited(db, relay, now));
        let awaited: Result<Vec<_>, StoreError> = awaited.await;
        let mut links = awaited?;
        links.truncate(MAX_CONTACT_LINKS);
        if links != self.told_links {
            self.push(&ToRelay::Await(Await { links: links.clone() }))?;
            self.unanswered.push_back(Unanswered::Await);
            self.told_links = links;
        }
        Ok(())
    }

    pub(super) fn tell_visible(&mut self) -> Result<(), End> {
        let visible = self.actor.settings.borrow_and_update().visible;
        if visible != self.told_visible {
            self.push(&ToRelay::SetPresence(visible))?;
            self.unanswered.push_back(Unanswered::Visible);
            self.told_visible = visible;
        }
        Ok(())
    }

    /// The relay did not take the last change of visibility.
    pub(super) fn visible_was_limited(&mut self) {
        self.told_visible = !self.told_visible;
        let now = Instant::now();
        self.visible_again = now.checked_add(VISIBLE_PAUSE);
    }

    pub(super) fn push(&mut self, frame: &impl Outgoing) -> Result<(), End> {
        self.tx.push(frame).map_err(too_long)
    }
}

pub(super) fn may_send(up: bool, tx: &Sender<WriteHalf<BoxedStream>>, sent: &Sent) -> bool {
    up && !tx.is_full() && sent.has_room()
}

/// A frame that was encoded before.
struct Encoded<'a>(&'a [u8]);

impl Outgoing for Encoded<'_> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        out.extend_from_slice(self.0);
        Ok(())
    }
}

fn too_long(_: WireError) -> End {
    End::lost("a frame was too long to be sent")
}
