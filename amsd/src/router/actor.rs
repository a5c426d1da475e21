//! The router's task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ams_crypto::envelope;
use ams_wire::id::{EnvelopeId, Handle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alarms::{Alarm, Alarms};
use super::serve::{self, Want, Work};
use super::{Deps, Due};
use crate::clock;
use crate::contacts::{self, ContactId, ask};
use crate::inbox::Accepted;
use crate::outbox::{self, queue, state};
use crate::relay::{LinkEvent, LinkHandle, Parcel, RelayId, Relays};
use crate::session::seal::CipherKey;
use crate::store::{Read, StoreError};

/// Contacts that are looked at in one transaction.
const MAX_LOOKS: usize = 64;
/// Silence beyond the relay's window after which a message counts as failed.
const GRACE: Duration = Duration::from_secs(15);
/// Between two lone receipts that a contact asks for.
const ANSWER_PAUSE: Duration = Duration::from_secs(5);
/// After this long without a full envelope a receipt is one.
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

/// What is remembered of a contact while the daemon runs.
#[derive(Default)]
struct Seen {
    /// The path used last.
    last: Option<RelayId>,
    /// When something full last left.
    full_at: Option<Instant>,
    /// When it was last answered with a lone receipt.
    answered_at: Option<Instant>,
    /// An answer waits for its pause to end.
    answer_waits: bool,
    /// The pause before the next probe; `None`: no probe is planned.
    probe: Option<Duration>,
    /// Messages could not be sealed, and an alarm is set for that.
    blocked: bool,
}

pub(super) struct RouterActor {
    // Set once.
    deps: Deps,
    due: Arc<Due>,
    // Owned by run.
    links: BTreeMap<RelayId, Link>,
    seen: BTreeMap<ContactId, Seen>,
    in_flight: BTreeMap<EnvelopeId, CipherKey>,
    alarms: Alarms,
}

impl RouterActor {
    pub(super) fn new(due: Arc<Due>, deps: Deps) -> Self {
        Self {
            deps,
            due,
            links: BTreeMap::new(),
            seen: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            alarms: Alarms::default(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.forget_what_was_sent().await;
        let due = self.due.clone();
        loop {
            let alarm = self.alarms.next();
            // Links first: what they tell decides what is due.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = self.deps.events.recv() => match event {
                    Some(event) => self.on_event(event).await,
                    None => return,
                },
                () = due.news.notified() => self.serve_due().await,
                () = at(alarm) => self.on_alarms().await,
            }
        }
    }

    /// What an earlier run had sent has no link any more.
    async fn forget_what_was_sent(&self) {
        let settled = self.deps.store.write(|txn| {
            let live = outbox::contacts_with_live(txn)?;
            state::link_lost(txn, &live, "the daemon was restarted", clock::now())
        });
        log_failure(settled.await);
    }

    async fn on_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { relay, nick, link, window } => {
                self.links.insert(relay, Link { handle: link, nick, window });
                self.greet(relay).await;
            }
            LinkEvent::Down { relay, reason } => self.link_down(relay, reason).await,
            LinkEvent::Presence { relay, online, offline } => {
                self.presence(relay, online, true).await;
                self.presence(relay, offline, false).await;
            }
            LinkEvent::Taken { relay, keys } => {
                self.settle(relay, keys, state::Outcome::Sent).await;
            }
            LinkEvent::Failed { relay, envelope } => {
                if let Some(key) = self.in_flight.remove(&envelope) {
                    self.settle(relay, vec![key], state::Outcome::Failed).await;
                }
            }
            LinkEvent::Handled { relay, of } => self.handled(relay, of).await,
        }
    }

    /// A link is up: everybody behind it is looked at, and what has no receipt goes again.
    async fn greet(&mut self, relay: RelayId) {
        let behind = self.deps.store.read(move |db| {
            let rows = contacts::all(db)?;
            let behind = rows.into_iter().filter(|(_, row)| row.path(relay).is_some());
            Ok::<_, StoreError>(behind.map(|(id, _)| id).collect::<Vec<_>>())
        });
        for contact in log_failure(behind.await).unwrap_or_default() {
            self.due.add(contact, |want| want.again = true);
        }
    }

    async fn link_down(&mut self, relay: RelayId, reason: String) {
        self.links.remove(&relay);
        self.alarms.forget_link(relay);
        self.deps.live.clear_online(relay);
        let seen = self.seen.iter();
        let lost: Vec<_> =
            seen.filter(|(_, seen)| seen.last == Some(relay)).map(|(id, _)| *id).collect();
        let moved = lost.clone();
        let settled =
            self.deps.store.write(move |txn| state::link_lost(txn, &lost, &reason, clock::now()));
        log_failure(settled.await);
        for contact in moved {
            // Another path may be up.
            self.due.add(contact, |want| want.again = true);
        }
    }

    async fn presence(&mut self, relay: RelayId, handles: Vec<Handle>, online: bool) {
        let live = &self.deps.live;
        let news: Vec<_> =
            handles.into_iter().filter(|handle| live.set_online(relay, *handle, online)).collect();
        if news.is_empty() {
            return;
        }
        let known = self.deps.store.write(move |txn| {
            let mut known = Vec::new();
            for handle in &news {
                let Some((id, row)) = contacts::by_handle(txn, relay, *handle)? else { continue };
                if online {
                    queue::contact_is_there(txn, id, clock::now())?;
                }
                known.push((id, row));
            }
            Ok::<_, StoreError>(known)
        });
        for (id, row) in log_failure(known.await).unwrap_or_default() {
            self.deps.live.tell_presence(id, &row, online);
            if online {
                self.seen.entry(id).or_default().probe = None;
                self.due.add(id, |want| want.receipt = true);
            }
        }
    }

    async fn settle(&mut self, relay: RelayId, keys: Vec<CipherKey>, outcome: state::Outcome) {
        let policy = self.deps.settings.borrow().undeliverable;
        let via = self.via(relay);
        let settled = self.deps.store.write(move |txn| {
            for key in &keys {
                state::settle(txn, *key, outcome, &via, policy, clock::now())?;
            }
            Ok::<_, StoreError>(())
        });
        log_failure(settled.await);
    }

    fn via(&self, relay: RelayId) -> String {
        let nick = self.links.get(&relay).map_or("", |link| link.nick.as_str());
        format!("relay:{nick}")
    }

    async fn handled(&mut self, relay: RelayId, of: Vec<Accepted>) {
        let mut renew = BTreeSet::new();
        for accepted in of {
            let Some(contact) = accepted.from else { continue };
            if accepted.owes_receipt {
                self.due.add(contact, |want| want.receipt = true);
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
        let me = self.deps.me.clone();
        let asked = self.deps.store.write(move |txn| {
            let Some(row) = txn.get::<Relays>(&relay)? else { return Ok(()) };
            for contact in &renew {
                ask::renew(txn, &me, (relay, &row), *contact, clock::now())?;
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
            Some(free_at) if !seen.answer_waits => {
                seen.answer_waits = true;
                self.alarms.set(free_at, Alarm::Answer(contact));
            }
            Some(_) => {}
        }
    }

    async fn serve_due(&mut self) {
        let now = Instant::now();
        let mut looks = self.due.take(MAX_LOOKS);
        for (contact, want) in &mut looks {
            let seen = self.seen.entry(*contact).or_default();
            want.last = seen.last;
            want.step = seen.full_at.is_none_or(|at| now.duration_since(at) >= STEP_PAUSE);
        }
        let (me, live) = (self.deps.me.clone(), self.deps.live.clone());
        let tell_read = self.deps.settings.borrow().read_receipts;
        let wanted = looks.clone();
        let work = self.deps.store.write(move |txn| {
            let mut work = Vec::new();
            for (contact, want) in &looks {
                work.extend(serve::look(txn, &me, &live, *contact, *want, tell_read)?);
            }
            Ok::<_, StoreError>(work)
        });
        match work.await {
            Ok(work) => {
                for work in work {
                    self.hand_over(work);
                }
            }
            Err(error) => self.later(wanted, &error),
        }
    }

    /// The store failed: everything that was due is due again, after a pause.
    fn later(&mut self, wanted: Vec<(ContactId, Want)>, error: &StoreError) {
        tracing::warn!(%error, "the store failed, sending pauses");
        let at = Instant::now().checked_add(STORE_PAUSE).unwrap_or_else(Instant::now);
        for (contact, _) in wanted {
            self.alarms.set(at, Alarm::Retry(contact));
        }
    }

    /// After the commit: the envelopes may leave.
    fn hand_over(&mut self, work: Work) {
        let now = Instant::now();
        let after = |pause: Duration| now.checked_add(pause).unwrap_or(now);
        let Some(link) = self.links.get(&work.relay) else { return };
        let mut parcels: Vec<Parcel> = Vec::with_capacity(work.sealed.len().saturating_add(1));
        let bare = work.bare.into_iter().map(|envelope| Parcel {
            handle: work.handle,
            ttl: 0,
            mark: Default::default(),
            envelope,
            key: None,
        });
        let sealed = work.sealed.into_iter().map(|out| Parcel {
            handle: work.handle,
            ttl: 0,
            mark: out.mark,
            envelope: out.envelope,
            key: Some(out.key),
        });
        parcels.extend(bare.chain(sealed));
        let seen = self.seen.entry(work.contact).or_default();
        seen.last = Some(work.relay);
        if work.blocked && !seen.blocked {
            seen.blocked = true;
            self.alarms.set(after(link.window), Alarm::Blocked(work.contact));
        }
        if work.waits && seen.probe.is_none() {
            seen.probe = Some(PROBE_PAUSE.0);
            // A full window is asked about at once: nothing else leaves until it is answered.
            let at = if work.blocked { now } else { after(PROBE_PAUSE.0) };
            self.alarms.set(at, Alarm::Probe(work.contact));
        }
        let silence = after(link.window.saturating_add(GRACE));
        let ids: Vec<_> = parcels
            .iter()
            .filter_map(|parcel| Some((envelope::id(&parcel.envelope)?, parcel.key?)))
            .collect();
        if parcels.is_empty() {
            return;
        }
        if link.handle.offer(parcels).is_err() {
            // Full, or just gone; either way all of it goes again.
            self.due.add(work.contact, |want| want.again = true);
            self.alarms.set(after(ROOM_PAUSE), Alarm::Retry(work.contact));
            return;
        }
        if !ids.is_empty() {
            seen.full_at = Some(now);
        }
        for (id, key) in ids {
            self.in_flight.insert(id, key);
            self.alarms.set(silence, Alarm::Silence(work.relay, key));
        }
    }

    async fn on_alarms(&mut self) {
        let now = Instant::now();
        let mut silent: BTreeMap<RelayId, Vec<CipherKey>> = BTreeMap::new();
        while let Some(alarm) = self.alarms.take(now) {
            match alarm {
                Alarm::Silence(relay, key) => silent.entry(relay).or_default().push(key),
                Alarm::Blocked(contact) => self.give_up_unsealed(contact).await,
                Alarm::Probe(contact) => self.probe(contact, now).await,
                Alarm::Answer(contact) => {
                    let seen = self.seen.entry(contact).or_default();
                    (seen.answer_waits, seen.answered_at) = (false, Some(now));
                    self.due.add(contact, |want| want.receipt = true);
                }
                Alarm::Retry(contact) => self.due.add(contact, |want| want.again = true),
            }
        }
        for (relay, keys) in silent {
            let gone: BTreeSet<_> = keys.iter().copied().collect();
            self.in_flight.retain(|_, key| !gone.contains(key));
            self.settle(relay, keys, state::Outcome::Silence).await;
        }
    }

    /// What could not be sealed for a whole window ends as if it had failed.
    async fn give_up_unsealed(&mut self, contact: ContactId) {
        let seen = self.seen.entry(contact).or_default();
        seen.blocked = false;
        let Some(link) = seen.last.and_then(|relay| self.links.get(&relay)) else { return };
        let policy = self.deps.settings.borrow().undeliverable;
        let window = i64::try_from(link.window.as_millis()).unwrap_or(i64::MAX);
        let given_up = self.deps.store.write(move |txn| {
            let now = clock::now();
            outbox::seal::give_up(txn, contact, now.saturating_sub(window), policy, now)
        });
        log_failure(given_up.await);
        self.due.add(contact, |_| ());
    }

    /// Asks a contact that something waits for whether it is there, less and less often.
    async fn probe(&mut self, contact: ContactId, now: Instant) {
        let wanted = self.deps.store.read(move |db| outbox::seal::wants_probe(db, contact));
        let wanted = log_failure(wanted.await).unwrap_or(false);
        let seen = self.seen.entry(contact).or_default();
        let Some(pause) = seen.probe.filter(|_| wanted) else {
            seen.probe = None;
            return;
        };
        seen.probe = Some(pause.saturating_mul(2).min(PROBE_PAUSE.1));
        self.alarms.set(now.checked_add(pause).unwrap_or(now), Alarm::Probe(contact));
        self.due.add(contact, |want| want.probe = true);
    }
}

async fn at(alarm: Option<Instant>) {
    match alarm {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn log_failure<T>(result: Result<T, StoreError>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "the store failed")).ok()
}
