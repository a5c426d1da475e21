//! One look at one contact, inside a transaction: what has to leave now, and over which path.

use std::collections::BTreeMap;

use super::path::{self, Route, Routes};
use crate::contacts::{ContactId, ContactRow, Contacts, Stage, ask};
use crate::live::Live;
use crate::outbox::queue;
use crate::outbox::seal::{self, Outgoing};
use crate::profile::Me;
use crate::relay::RelayId;
use crate::session::receipt::{self, Beside};
use crate::session::seal::{CipherKey, Desk, Room};
use crate::settings::Undeliverable;
use crate::store::{Read, StoreError, Txn};

/// Why a contact is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Want {
    /// It is owed a receipt, or asked for one.
    pub(super) receipt: bool,
    /// Something was read since it was last told.
    pub(super) read: bool,
    /// The link is new, or the contact came, or the root is new: if it may not know that we have
    /// the keys, or what we took, it is told.
    pub(super) greet: bool,
    /// Ask whether it is there.
    pub(super) probe: bool,
    /// Where its last envelope came from: there it is for certain, whatever presence says.
    pub(super) heard_at: Option<RelayId>,
}

impl Want {
    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            receipt: self.receipt || other.receipt,
            read: self.read || other.read,
            greet: self.greet || other.greet,
            probe: self.probe || other.probe,
            heard_at: self.heard_at.or(other.heard_at),
        }
    }
}

/// One contact to be looked at, and what the router remembers of it.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) contact: ContactId,
    pub(super) want: Want,
    /// Which relay has what already.
    pub(super) handed: BTreeMap<CipherKey, RelayId>,
    /// Nothing full left for a while: a receipt may be one, as a step for the ratchet.
    pub(super) step: bool,
    /// What waits for the contact may be tried again, if it is online.
    pub(super) wake: bool,
}

/// What has to leave.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) contact: ContactId,
    /// The way of everything that has none of its own.
    pub(super) route: Route,
    /// Envelopes that have no receipt, the older first.
    pub(super) sealed: Vec<Outgoing>,
    /// The receipt state alone, and over which path.
    pub(super) bare: Option<(Route, Vec<u8>)>,
    /// A message was sealed in this look.
    pub(super) moved: bool,
    /// A message is queued that cannot be sealed now.
    pub(super) blocked: bool,
    /// Something waits for a sign of the contact.
    pub(super) waits: bool,
}

/// Looks at a contact; `None`: nothing can be done for it now.
pub(super) fn look(
    txn: &Txn<'_>,
    me: &Me,
    live: &Live,
    look: &Look,
    tell_read: bool,
    now: i64,
) -> Result<Option<Work>, StoreError> {
    let (contact, want) = (look.contact, look.want);
    let Some(row) = txn.get::<Contacts>(&contact)?.filter(ContactRow::is_open) else {
        return Ok(None);
    };
    let Some(routes) = Routes::find(txn, contact, &row, live)? else { return Ok(None) };
    let route = routes.main();
    if look.wake {
        for path in path::there(&row, live) {
            queue::contact_is_there(txn, contact, path.relay, now)?;
        }
    }
    let mut desk = Desk::open(txn, contact)?;
    let mut sealed = seal::unreceipted(txn, &desk, &routes, &look.handed, now)?;
    let before = sealed.len();
    sealed.extend(seal::seal_due(txn, me, &mut desk, &row, &routes, tell_read, now)?);
    let moved = sealed.len() > before;
    // What was sealed before carries the receipt state of then.
    let unanswered = desk.is_unanswered();
    let receipt = want.receipt
        || (want.greet && (unanswered || receipt::is_owed(desk.roots())))
        || (want.read && tell_read);
    let mut told = moved;
    // Last: no message waits for it. To somebody who is away it would only lie at the relay.
    let is_there = live.is_online(route.relay, route.handle) || want.heard_at.is_some();
    if row.stage == Stage::Active && is_there {
        let aside = seal::aside(txn, me, &mut desk, &row, route, tell_read)?;
        told |= aside.is_some();
        sealed.extend(aside);
    }
    if !told && (want.probe || (receipt && look.step && !unanswered)) {
        let probe = seal::probe(txn, me, &mut desk, &row, route, tell_read)?;
        told = probe.is_some();
        sealed.extend(probe);
    }
    // A receipt goes back the way that the envelope came.
    let back = want.heard_at.and_then(|at| row.path(at)).filter(|path| live.is_up(path.relay));
    let back = back.map_or(route, Route::from);
    let is_due = receipt && (!told || back != route);
    let bare = if is_due || (want.probe && sealed.is_empty()) || (want.greet && unanswered) {
        let asks = unanswered || want.probe;
        let beside = if asks { Beside::Answer } else { Beside::Nothing };
        receipt::bare(txn, me, desk.roots(), &row, contact, tell_read, beside)?
    } else {
        None
    };
    let bare = bare.map(|envelope| (back, envelope));
    let unsealed = seal::has_unsealed(txn, &desk, &routes)?;
    let room = desk.room();
    let blocked = row.stage == Stage::Active && unsealed && !matches!(room, Room::For(_));
    if blocked && matches!(room, Room::NoRoot) {
        ask::renew_expired(txn, me, (route.relay, route.handle), contact, now)?;
    }
    let waits = blocked || queue::has_waiting(txn, contact)?;
    Ok(Some(Work { contact, route, sealed, bare, moved, blocked, waits }))
}

/// Ends what could not be sealed for the contact for a whole window; answers whether there is more.
pub(super) fn give_up(
    txn: &Txn<'_>,
    live: &Live,
    contact: ContactId,
    policy: Undeliverable,
    now: i64,
) -> Result<bool, StoreError> {
    let Some(row) = txn.get::<Contacts>(&contact)? else { return Ok(false) };
    let Some(routes) = Routes::find(txn, contact, &row, live)? else { return Ok(false) };
    seal::give_up(txn, contact, &routes, policy, now)
}
