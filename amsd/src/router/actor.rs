//! The router's task.

mod ping;
mod presence;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ams_crypto::envelope;
use ams_wire::id::EnvelopeId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alarms::{Alarm, Alarms, at, later};
use super::flights::Flights;
use super::parcels;
use super::seen::Seen;
use super::serve::{self, Look, Want, Work};
use super::{Deps, Due};
use crate::contacts::{self, ContactId, ask};
use crate::inbox::Accepted;
use crate::outbox::{self, state, wish};
use crate::pulse::Pulse;
use crate::relay::{LinkEvent, LinkHandle, RelayId, account};
use crate::session::seal::CipherKey;
use crate::store::StoreError;
use presence::Heard;

/// Contacts that are looked at in one transaction.
const MAX_LOOKS: usize = 64;
/// What links tell before others get their turn.
const MAX_EVENTS_IN_A_ROW: u32 = 32;
/// Silence beyond the window after which a message counts as failed, or directly goes again.
const GRACE: Duration = Duration::from_secs(15);
/// Between two lone receipts that a contact asks for.
const ANSWER_PAUSE: Duration = Duration::from_secs(5);
/// After this long without a full envelope a receipt is one; and what waits for a contact that is
/// online is tried again.
const STEP_PAUSE: Duration = Duration::from_secs(60);
/// Between a failure to read or write the store and the next try.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// A link whose mailbox was full is tried again after this.
const ROOM_PAUSE: Duration = Duration::from_millis(200);
/// First and longest pause between two probes.
const PROBE_PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

struct Link {
    handle: LinkHandle,
    nick: String,
    window: Duration,
}

pub(super) struct RouterActor {
    // Set once.
    deps: Deps,
    due: Arc<Due>,
    pulse: Pulse,
    // Owned by run.
    links: BTreeMap<RelayId, Link>,
    seen: BTreeMap<ContactId, Seen>,
    flights: Flights,
    alarms: Alarms,
    /// What relays said of who is there, and the disk had no room for.
    unheard: Vec<Heard>,
}

impl RouterActor {
    pub(super) fn new(due: Arc<Due>, pulse: Pulse, deps: Deps) -> Self {
        Self {
            deps,
            due,
            pulse,
            links: BTreeMap::new(),
            seen: BTreeMap::new(),
            flights: Flights::default(),
            alarms: Alarms::default(),
            unheard: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.forget_what_was_sent().await;
        let (due, pulse) = (self.due.clone(), self.pulse.clone());
        let mut events_in_a_row = 0_u32;
        loop {
            let alarm = [self.alarms.next(), self.flights.next_due()].into_iter().flatten().min();
            // Links first: what they tell decides what is due. But not for ever: receipts and
            // clocks must go on however much comes in.
            let links_first = events_in_a_row < MAX_EVENTS_IN_A_ROW;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Rare, and done at once.
                () = pulse.asked() => pulse.beat(),
                event = self.deps.events.recv(), if links_first => match event {
                    Some(event) => {
                        events_in_a_row = events_in_a_row.saturating_add(1);
                        self.on_event(event).await;
                        continue;
                    }
                    None => return,
                },
                () = due.news.notified() => self.serve_due().await,
                () = at(alarm) => self.on_alarms().await,
                () = std::future::ready(()), if !links_first => {}
            }
            events_in_a_row = 0;
        }
    }

    /// What an earlier run had sent has no link any more.
    async fn forget_what_was_sent(&mut self) {
        let now = self.deps.clock.now();
        let settled = self.deps.store.write(move |txn| {
            let live = outbox::contacts_with_live(txn)?;
            state::restarted(txn, &live, now)
        });
        log_failure(settled.await);
        self.expire().await;
    }

    /// Ends what had its time, and looks when that is to be done again.
    async fn expire(&mut self) {
        let now = self.deps.clock.now();
        let next = self.deps.store.write(move |txn| wish::expire_due(txn, now)).await;
        match log_failure(next) {
            Some(next) => self.alarms.expect_end(next, now, Instant::now()),
            None => self.alarms.set(later(STORE_PAUSE), Alarm::Expiry),
        }
    }

    async fn on_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { relay, nick, link, window } => {
                self.links.insert(relay, Link { handle: link, nick, window });
                self.greet(Some(relay)).await;
            }
            LinkEvent::Down { relay, reason } => self.link_down(relay, reason).await,
            LinkEvent::Presence { relay, online, offline } => {
                self.presence(Heard { relay, handles: online, online: true }).await;
                self.presence(Heard { relay, handles: offline, online: false }).await;
            }
            LinkEvent::Taken { relay, keys } => {
                self.settle(relay, keys, state::Outcome::Sent).await;
            }
            LinkEvent::Failed { relay, envelope } => {
                if let Some(key) = self.flights.failed(relay, envelope) {
                    self.settle(relay, vec![key], state::Outcome::Failed).await;
                }
            }
            LinkEvent::Handled { relay, of } => self.handled(relay, of).await,
        }
    }

    /// Everybody is looked at, or whom there is behind a link that is up, and what has no receipt goes
    /// again.
    async fn greet(&mut self, behind: Option<RelayId>) {
        let behind = self.deps.store.read(move |db| {
            let rows = contacts::all(db)?.into_iter();
            let those =
                rows.filter(|(_, row)| behind.is_none_or(|relay| row.path(relay).is_some()));
            Ok::<_, StoreError>(those.map(|(id, _)| id).collect::<Vec<_>>())
        });
        for contact in log_failure(behind.await).unwrap_or_default() {
            self.due.add(contact, |want| want.greet = true);
        }
    }

    async fn link_down(&mut self, relay: RelayId, reason: String) {
        self.links.remove(&relay);
        let lost = self.flights.link_lost(relay);
        self.deps.live.clear_online(relay);
        self.unheard.retain(|heard| heard.relay != relay);
        let mut moved = Vec::new();
        for (contact, seen) in &mut self.seen {
            if self.deps.live.used_last(*contact) == Some(relay) {
                moved.push(*contact);
                (seen.blocked_since, seen.probe) = (None, None);
                self.alarms.cancel(Alarm::Blocked(*contact));
                self.alarms.cancel(Alarm::Probe(*contact));
            }
        }
        let now = self.deps.clock.now();
        let settled = self.deps.store.write(move |txn| state::link_lost(txn, &lost, &reason, now));
        log_failure(settled.await);
        for contact in moved {
            // Another path may be up.
            self.due.add(contact, |want| want.greet = true);
        }
    }

    async fn settle(&mut self, relay: RelayId, keys: Vec<CipherKey>, outcome: state::Outcome) {
        let policy = self.deps.settings.borrow().undeliverable;
        let via = self.via(relay);
        let (told, now) = (keys.clone(), self.deps.clock.now());
        let settled = self.deps.store.write(move |txn| {
            for key in &keys {
                state::settle(txn, *key, outcome, &via, policy, now)?;
            }
            Ok::<_, StoreError>(())
        });
        if log_failure(settled.await).is_none() && outcome != state::Outcome::Sent {
            // That it failed is noticed again when nobody says anything about it.
            for key in told {
                self.flights.start(key, relay, EnvelopeId([0; 16]), later(STORE_PAUSE));
            }
        }
    }

    fn via(&self, relay: RelayId) -> String {
        relay.via(self.links.get(&relay).map_or("", |link| link.nick.as_str()))
    }

    async fn handled(&mut self, relay: RelayId, of: Vec<Accepted>) {
        self.on_pings(relay, &of).await;
        let mut renew = BTreeSet::new();
        for accepted in of {
            if let Some(contact) = accepted.unreadable
                && self.seen.entry(contact).or_default().nothing_opened()
            {
                renew.insert(contact);
            }
            let Some(contact) = accepted.from else { continue };
            self.seen.entry(contact).or_default().opened();
            for key in accepted.receipted {
                self.flights.end(key);
            }
            if accepted.owes_receipt {
                self.due.add(contact, |want| {
                    (want.receipt, want.heard_at) = (true, Some(relay));
                });
            } else if accepted.answer {
                self.answer(contact);
            }
            if accepted.renew {
                renew.insert(contact);
            }
        }
        if renew.is_empty() {
            return;
        }
        let (me, now) = (self.deps.me.clone(), self.deps.clock.now());
        let asked = self.deps.store.write(move |txn| {
            let Some(row) = account(txn, &me, relay)? else { return Ok(()) };
            for contact in &renew {
                ask::renew(txn, &me, (relay, &row), *contact, now)?;
            }
            Ok::<_, StoreError>(())
        });
        log_failure(asked.await);
    }

    /// A lone receipt, at most one in [`ANSWER_PAUSE`]: later ones wait, they are not dropped.
    fn answer(&mut self, contact: ContactId) {
        let seen = self.seen.entry(contact).or_default();
        let now = Instant::now();
        let free_at = seen.answered_at.and_then(|at| at.checked_add(ANSWER_PAUSE));
        match free_at.filter(|free_at| *free_at > now) {
            None => {
                seen.answered_at = Some(now);
                self.due.add(contact, |want| want.receipt = true);
            }
            Some(free_at) => self.alarms.set(free_at, Alarm::Answer(contact)),
        }
    }

    async fn serve_due(&mut self) {
        self.send_pings().await;
        if self.due.take_everybody() {
            self.greet(None).await;
        }
        let now = Instant::now();
        let due = self.due.take(MAX_LOOKS);
        let looks: Vec<Look> = due.into_iter().map(|(id, want)| self.plan(id, want, now)).collect();
        match self.look(looks.clone()).await {
            Ok(work) => {
                for work in work {
                    self.hand_over(&work);
                }
            }
            Err(error) if looks.len() > 1 => {
                tracing::warn!(%error, "looking at contacts one by one");
                // What is wrong with one must not hold up the others.
                for look in looks {
                    self.look_alone(look).await;
                }
            }
            Err(error) => {
                for look in looks {
                    self.postpone(look.contact, look.want, STORE_PAUSE);
                }
                tracing::warn!(%error, "sending pauses");
            }
        }
    }

    fn plan(&mut self, contact: ContactId, want: Want, now: Instant) -> Look {
        let seen = self.seen.entry(contact).or_default();
        let since = |at: Option<Instant>| at.is_none_or(|at| now.duration_since(at) >= STEP_PAUSE);
        let wake = since(seen.woken_at);
        if wake {
            seen.woken_at = Some(now);
        }
        Look {
            contact,
            want: want.and(std::mem::take(&mut seen.postponed)),
            handed: self.flights.of(contact),
            step: since(seen.full_at),
            wake,
        }
    }

    async fn look(&mut self, looks: Vec<Look>) -> Result<Vec<Work>, StoreError> {
        let (me, live) = (self.deps.me.clone(), self.deps.live.clone());
        let tell_read = self.deps.settings.borrow().read_receipts;
        let now = self.deps.clock.now();
        let looked = self.deps.store.write(move |txn| {
            // What had its time does not leave, however late that is noticed.
            let next_end = wish::expire_due(txn, now)?;
            let mut work = Vec::new();
            for look in &looks {
                work.extend(serve::look(txn, &me, &live, look, tell_read, now)?);
            }
            Ok::<_, StoreError>((work, next_end))
        });
        let (work, next_end) = looked.await?;
        self.alarms.expect_end(next_end, now, Instant::now());
        Ok(work)
    }

    async fn look_alone(&mut self, look: Look) {
        let (contact, want) = (look.contact, look.want);
        match self.look(vec![look]).await {
            Ok(work) => {
                for work in work {
                    self.hand_over(&work);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "sending to a contact pauses");
                self.postpone(contact, want, STORE_PAUSE);
            }
        }
    }

    /// What a look was to do is done later.
    fn postpone(&mut self, contact: ContactId, want: Want, pause: Duration) {
        let seen = self.seen.entry(contact).or_default();
        seen.postponed = seen.postponed.and(want);
        self.alarms.set(later(pause), Alarm::Retry(contact));
    }

    /// After the commit: the envelopes may leave.
    fn hand_over(&mut self, work: &Work) {
        let now = Instant::now();
        let Some(link) = self.links.get(&work.route.relay) else { return };
        self.watch(work, link.window, now);
        let mut unsent = Want::default();
        if let Some((route, envelope)) = &work.bare {
            let taken = self
                .links
                .get(&route.relay)
                .map(|link| link.handle.offer(vec![parcels::bare(*route, envelope)]));
            unsent.receipt = !matches!(taken, Some(Ok(())));
        }
        let mut full = false;
        for (relay, envelopes) in parcels::by_relay(&work.sealed) {
            let Some(link) = self.links.get(&relay) else { continue };
            let parcels = envelopes.iter().map(|out| parcels::full(out)).collect();
            if link.handle.offer(parcels).is_err() {
                full = true;
                continue;
            }
            self.seen.entry(work.contact).or_default().full_at = Some(now);
            let silence = now.checked_add(link.window.saturating_add(GRACE)).unwrap_or(now);
            for out in envelopes {
                if let Some(id) = envelope::id(&out.envelope) {
                    self.flights.start(out.key, relay, id, silence);
                }
            }
        }
        if full || unsent.receipt {
            // Full, or just gone. What was not handed over is found again by the next look.
            self.postpone(work.contact, unsent, ROOM_PAUSE);
        }
    }

    /// Notes whether something of a contact's cannot go on, and what to do about it when.
    fn watch(&mut self, work: &Work, window: Duration, now: Instant) {
        let after = |pause: Duration| now.checked_add(pause).unwrap_or(now);
        let seen = self.seen.entry(work.contact).or_default();
        self.deps.live.goes(work.contact, work.route.relay);
        if !work.blocked {
            seen.blocked_since = None;
            self.alarms.cancel(Alarm::Blocked(work.contact));
        } else if work.moved || seen.blocked_since.is_none() {
            seen.blocked_since = Some(now);
            self.alarms.set(after(window.max(GRACE)), Alarm::Blocked(work.contact));
        }
        if work.waits && seen.probe.is_none() {
            seen.probe = Some(PROBE_PAUSE.0);
            // A full window is asked about soon: nothing else leaves until it is answered.
            let pause = if work.blocked { ANSWER_PAUSE } else { PROBE_PAUSE.0 };
            self.alarms.set(after(pause), Alarm::Probe(work.contact));
        } else if !work.waits && seen.probe.take().is_some() {
            self.alarms.cancel(Alarm::Probe(work.contact));
        }
    }

    async fn on_alarms(&mut self) {
        let now = Instant::now();
        while let Some(alarm) = self.alarms.take(now) {
            match alarm {
                Alarm::Blocked(contact) => self.give_up_unsealed(contact).await,
                Alarm::Probe(contact) => self.probe(contact, now),
                Alarm::Answer(contact) => {
                    self.seen.entry(contact).or_default().answered_at = Some(now);
                    self.due.add(contact, |want| want.receipt = true);
                }
                Alarm::Retry(contact) => self.due.add(contact, |_| ()),
                Alarm::Expiry => self.expire().await,
                Alarm::Presence => self.hear_again().await,
            }
        }
        let mut silent: BTreeMap<RelayId, Vec<CipherKey>> = BTreeMap::new();
        let heard = |relay| self.links.get(&relay).map(|link| link.handle.heard());
        for (relay, key) in self.flights.take_due(now, heard) {
            silent.entry(relay).or_default().push(key);
        }
        for (relay, keys) in silent {
            self.settle(relay, keys, state::Outcome::of_silence(relay)).await;
        }
    }

    /// What could not be sealed for a whole window ends as if it had failed.
    async fn give_up_unsealed(&mut self, contact: ContactId) {
        if self.seen.entry(contact).or_default().blocked_since.take().is_none() {
            return;
        }
        let live = self.deps.live.clone();
        let policy = self.deps.settings.borrow().undeliverable;
        let now = self.deps.clock.now();
        let given_up =
            self.deps.store.write(move |txn| serve::give_up(txn, &live, contact, policy, now));
        if log_failure(given_up.await) == Some(true) {
            let soon = Instant::now();
            self.seen.entry(contact).or_default().blocked_since = Some(soon);
            self.alarms.set(soon, Alarm::Blocked(contact));
        }
        self.due.add(contact, |_| ());
    }

    /// Asks a contact that something waits for whether it is there, less and less often. The look
    /// that follows says whether anything still waits.
    fn probe(&mut self, contact: ContactId, now: Instant) {
        let seen = self.seen.entry(contact).or_default();
        let Some(pause) = seen.probe else { return };
        seen.probe = Some(pause.saturating_mul(2).min(PROBE_PAUSE.1));
        self.alarms.set(now.checked_add(pause).unwrap_or(now), Alarm::Probe(contact));
        self.due.add(contact, |want| want.probe = true);
    }
}

fn log_failure<T>(result: Result<T, StoreError>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "the store failed")).ok()
}
