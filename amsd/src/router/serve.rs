//! One look at one contact, inside a transaction: what has to leave now, and over which path.

use std::collections::BTreeSet;

use ams_wire::id::Handle;

use super::path;
use crate::contacts::{ContactId, ContactRow, Contacts, Stage};
use crate::live::Live;
use crate::outbox::queue;
use crate::outbox::seal::{self, Outgoing};
use crate::profile::Me;
use crate::relay::RelayId;
use crate::session::receipt;
use crate::session::seal::{CipherKey, Desk, Room};
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
    /// The path used last.
    pub(super) last: Option<RelayId>,
    /// What that path has already.
    pub(super) handed: BTreeSet<CipherKey>,
    /// Nothing full left for a while: a receipt may be one, as a step for the ratchet.
    pub(super) step: bool,
    /// What waits for the contact may be tried again, if it is online.
    pub(super) wake: bool,
}

/// What has to leave.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) contact: ContactId,
    pub(super) relay: RelayId,
    pub(super) handle: Handle,
    /// Envelopes that have no receipt, the older first.
    pub(super) sealed: Vec<Outgoing>,
    /// The receipt state alone, and over which path.
    pub(super) bare: Option<(RelayId, Handle, Vec<u8>)>,
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
    let Some(path) = path::choose(&row, live, look.last) else { return Ok(None) };
    let (relay, handle) = (path.relay, path.handle);
    if look.wake && live.is_online(relay, handle) {
        queue::contact_is_there(txn, contact, now)?;
    }
    let mut desk = Desk::open(txn, contact)?;
    let nothing = BTreeSet::new();
    let handed = if look.last == Some(relay) { &look.handed } else { &nothing };
    let mut sealed = seal::unreceipted(txn, &desk, relay, handed)?;
    let before = sealed.len();
    sealed.extend(seal::seal_due(txn, me, &mut desk, &row, relay, tell_read)?);
    let moved = sealed.len() > before;
    // What was sealed before carries the receipt state of then.
    let unanswered = desk.is_unanswered();
    let receipt = want.receipt
        || (want.greet && (unanswered || receipt::is_owed(desk.roots())))
        || (want.read && tell_read);
    let mut told = moved;
    if !moved && (want.probe || (receipt && look.step && !unanswered)) {
        let probe = seal::probe(txn, me, &mut desk, &row, relay, tell_read)?;
        told = probe.is_some();
        sealed.extend(probe);
    }
    // A receipt goes back the way that the envelope came.
    let back = want.heard_at.and_then(|at| row.path(at)).filter(|path| live.is_up(path.relay));
    let (bare_over, bare_to) = back.map_or((relay, handle), |path| (path.relay, path.handle));
    let is_due = receipt && (!told || bare_over != relay);
    let bare = if is_due || (want.probe && sealed.is_empty()) || (want.greet && unanswered) {
        let answer = unanswered || want.probe;
        receipt::bare(txn, me, desk.roots(), &row, contact, tell_read, answer)?
    } else {
        None
    };
    let bare = bare.map(|envelope| (bare_over, bare_to, envelope));
    let unsealed = seal::has_unsealed(txn, &desk)?;
    let blocked = row.stage == Stage::Active && unsealed && !matches!(desk.room(), Room::For(_));
    let waits = blocked || queue::has_waiting(txn, contact)?;
    Ok(Some(Work { contact, relay, handle, sealed, bare, moved, blocked, waits }))
}
