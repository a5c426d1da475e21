//! One look at one contact, inside a transaction: what has to leave now, and over which path.

use crate::contacts::{ContactId, ContactRow, Contacts, Stage};
use crate::live::Live;
use crate::outbox::seal::{self, Outgoing};
use crate::profile::Me;
use crate::relay::RelayId;
use crate::session::receipt;
use crate::session::row::{self, RootRow};
use crate::session::seal::{Room, room};
use crate::store::{Read, StoreError, Txn};
use ams_wire::id::{Handle, RootTag};

use super::path;

/// Why a contact is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Want {
    /// It is owed a receipt, or asked for one.
    pub(super) receipt: bool,
    /// Something was read since it was last told.
    pub(super) read: bool,
    /// Everything without a receipt goes again: the path is new.
    pub(super) again: bool,
    /// Nothing full left for a while: a receipt may be one, as a step for the ratchet.
    pub(super) step: bool,
    /// Ask whether it is there.
    pub(super) probe: bool,
    /// The path used last.
    pub(super) last: Option<RelayId>,
}

/// What has to leave.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) contact: ContactId,
    pub(super) relay: RelayId,
    pub(super) handle: Handle,
    pub(super) sealed: Vec<Outgoing>,
    pub(super) bare: Option<Vec<u8>>,
    /// A message is queued that cannot be sealed now.
    pub(super) blocked: bool,
    /// Something waits for a sign of the contact.
    pub(super) waits: bool,
}

/// Looks at `contact`; `None`: nothing can be done for it now.
pub(super) fn look(
    txn: &Txn<'_>,
    me: &Me,
    live: &Live,
    contact: ContactId,
    want: Want,
    tell_read: bool,
) -> Result<Option<Work>, StoreError> {
    let Some(row) = txn.get::<Contacts>(&contact)?.filter(ContactRow::is_open) else {
        return Ok(None);
    };
    let Some(path) = path::choose(&row, live, want.last) else { return Ok(None) };
    let (relay, handle) = (path.relay, path.handle);
    let again = want.again || want.last.is_some_and(|last| last != relay);
    let mut sealed = if again { seal::unreceipted(txn, contact, relay)? } else { Vec::new() };
    sealed.extend(seal::seal_due(txn, me, contact, relay, tell_read)?);
    let roots = row::roots(txn, contact)?;
    let unanswered = roots.iter().any(|(_, root)| root.requester && !root.opened);
    let receipt = want.receipt
        || (again && (unanswered || receipt::is_owed(&roots)))
        || (want.read && tell_read);
    if sealed.is_empty() && (want.probe || (receipt && want.step && is_settled(&roots))) {
        sealed.extend(seal::probe(txn, me, contact, relay, tell_read)?);
    }
    let full = sealed.iter().any(|out| out.is_message);
    let bare = if (receipt && !full && sealed.is_empty()) || unanswered {
        receipt::bare(txn, me, contact, &row, tell_read, unanswered)?
    } else {
        None
    };
    let blocked = row.stage == Stage::Active
        && seal::has_unsealed(txn, contact)?.is_some()
        && !matches!(room(txn, contact)?, Room::For(_));
    let waits = seal::wants_probe(txn, contact)?;
    Ok(Some(Work { contact, relay, handle, sealed, bare, blocked, waits }))
}

/// Whether both sides are known to have the newest root: before that an empty envelope would be
/// the first of a root that the contact may not have.
fn is_settled(roots: &[(RootTag, RootRow)]) -> bool {
    row::sealing_root(roots).is_some_and(|(_, root)| root.opened)
}
