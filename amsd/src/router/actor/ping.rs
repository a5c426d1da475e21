//! The router's part in pings: they leave over the path that messages take, and are answered over the
//! one that they came by.

use ams_wire::id::PingToken;
use tokio::time::Instant;

use super::RouterActor;
use crate::contacts::{ContactId, ContactRow, Contacts, Stage};
use crate::inbox::Accepted;
use crate::relay::{Parcel, RelayId};
use crate::router::parcels;
use crate::router::path::{Route, Routes};
use crate::router::pings::PingError;
use crate::session::receipt::{self, Beside};
use crate::session::row::roots;
use crate::store::{Read, StoreError};

/// Seconds that a relay may keep one: later nobody waits for it.
const TTL: u32 = 10;

impl RouterActor {
    /// Sends the pings that wait.
    pub(super) async fn send_pings(&mut self) {
        for (token, contact) in self.due.pings.unsent() {
            if let Err(why) = self.ping(contact, token).await {
                self.due.pings.fail(token, why);
            }
        }
    }

    async fn ping(&self, contact: ContactId, token: PingToken) -> Result<(), PingError> {
        let sealed = self.seal(contact, None, Beside::Ping(token)).await;
        let (route, envelope) = sealed.map_err(|_| PingError::Failed)?.ok_or(PingError::NoWay)?;
        let (relay, handle) = (route.relay, route.handle);
        if !relay.is_direct() && !self.deps.live.is_online(relay, handle) {
            return Err(PingError::Offline);
        }
        self.due.pings.sent(token, Instant::now());
        // A link that is full, or just gone: no answer, as if it had been lost behind it.
        let _ = self.hand(route, &envelope.ok_or(PingError::Offline)?);
        Ok(())
    }

    /// What came may be pings, and answers to ours.
    pub(super) async fn on_pings(&mut self, relay: RelayId, of: &[Accepted]) {
        let now = Instant::now();
        for accepted in of {
            let Some(contact) = accepted.from else { continue };
            if let Some(token) = accepted.pong {
                self.due.pings.came_back(contact, token, &self.via(relay), now);
            }
            if let Some(token) = accepted.ping {
                self.answer_ping(contact, relay, token, now).await;
            }
        }
    }

    /// At once and over the same path, in bounds. Who does not show that it is online says nothing
    /// over a relay.
    async fn answer_ping(
        &mut self,
        contact: ContactId,
        relay: RelayId,
        token: PingToken,
        now: Instant,
    ) {
        let hidden = !relay.is_direct() && !self.deps.settings.borrow().visible;
        if hidden || !self.seen.entry(contact).or_default().pongs.take(now) {
            return;
        }
        match self.seal(contact, Some(relay), Beside::Pong(token)).await {
            Ok(Some((route, Some(envelope)))) => {
                let _ = self.hand(route, &envelope);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a ping is not answered"),
        }
    }

    /// A bare envelope for an active contact, and where it goes: over this path, or over the one that
    /// messages take. `None`: no path is up, or it is no contact; no envelope: no keys.
    async fn seal(
        &self,
        contact: ContactId,
        over: Option<RelayId>,
        beside: Beside,
    ) -> Result<Option<(Route, Option<Vec<u8>>)>, StoreError> {
        let (me, live) = (self.deps.me.clone(), self.deps.live.clone());
        let tell_read = self.deps.settings.borrow().read_receipts;
        let sealed = self.deps.store.read(move |db| {
            let row = db.get::<Contacts>(&contact)?.filter(ContactRow::is_open);
            let Some(row) = row.filter(|row| row.stage == Stage::Active) else { return Ok(None) };
            let route = match over {
                Some(relay) => row.path(relay).map(Route::from),
                None => Routes::find(db, contact, &row, &live)?.map(|routes| routes.main()),
            };
            let Some(route) = route else { return Ok(None) };
            let roots = roots(db, contact)?;
            let envelope = receipt::bare(db, &me, &roots, &row, contact, tell_read, beside)?;
            Ok(Some((route, envelope)))
        });
        sealed.await
    }

    fn hand(&self, route: Route, envelope: &[u8]) -> Result<(), Vec<Parcel>> {
        let Some(link) = self.links.get(&route.relay) else { return Ok(()) };
        let parcel = Parcel { ttl: TTL, ..parcels::bare(route, envelope) };
        link.handle.offer(vec![parcel])
    }
}
