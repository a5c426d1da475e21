//! A message becomes an envelope.

use ams_wire::id::RootTag;
use ams_wire::inner::{Full, Inner};
use ams_wire::limits::COUNTER_WINDOW;

use super::receipt;
use super::row::{self, CipherRow, Ciphers, RootRow, Roots};
use crate::contacts::{ContactId, ContactRow};
use crate::profile::Me;
use crate::relay::{self, RelayId};
use crate::store::{Read, StoreError, Txn};

/// Most messages of one contact without a receipt. The ratchet skips at most 40 keys of a chain
/// and keeps 5 chains; within 32 no order of arrival is beyond it.
pub const MAX_IN_FLIGHT: usize = 32;

/// Where a ciphertext is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CipherKey {
    /// To whom.
    pub contact: ContactId,
    /// Under which root.
    pub root: RootTag,
    /// Its counter.
    pub ctr: u64,
}

/// Whether something can be sealed for a contact now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// So many messages more.
    For(usize),
    /// No root yet, or none under which this side may seal.
    NoRoot,
    /// Too much is without a receipt.
    Full,
}

/// How much can be sealed for `contact` now.
pub fn room(db: &impl Read, contact: ContactId) -> Result<Room, StoreError> {
    let roots = row::roots(db, contact)?;
    let Some((tag, root)) = row::sealing_root(&roots) else { return Ok(Room::NoRoot) };
    let messages =
        db.list::<Ciphers>(&contact)?.iter().filter(|(_, cipher)| cipher.seq.is_some()).count();
    let span = root.next_ctr.saturating_sub(base(db, contact, *tag, root)?);
    let slots = MAX_IN_FLIGHT.saturating_sub(messages);
    Ok(if slots == 0 || span >= COUNTER_WINDOW { Room::Full } else { Room::For(slots) })
}

/// Whether a full empty envelope is out: there is at most one.
pub fn empty_out(db: &impl Read, contact: ContactId) -> Result<bool, StoreError> {
    Ok(db.list::<Ciphers>(&contact)?.iter().any(|(_, cipher)| cipher.seq.is_none()))
}

/// Seals `plaintext` (the message `seq`, or nothing) and keeps the envelope until its receipt. The
/// caller lets nothing leave before the commit.
///
/// `None` when there is no root to seal under.
pub fn seal(
    txn: &Txn<'_>,
    me: &Me,
    (id, contact): (ContactId, &ContactRow),
    over: RelayId,
    seq: Option<u64>,
    plaintext: &[u8],
    tell_read: bool,
) -> Result<Option<CipherKey>, StoreError> {
    let roots = row::roots(txn, id)?;
    let (Some(to), Some((tag, root))) = (contact.identity(), row::sealing_root(&roots)) else {
        return Ok(None);
    };
    let mut ratchet = root.ratchet()?;
    let sealed = ratchet.encrypt(plaintext).map_err(|_| StoreError::Damaged(ROOT))?;
    let ctr = root.next_ctr;
    let full =
        Full { ctr, base: base(txn, id, *tag, root)?, olm_type: sealed.kind, olm: sealed.bytes };
    let receipt = receipt::state(txn, id, &roots, tell_read)?;
    let inner = Inner { answer: false, receipt, full: Some(full) };
    let envelope = receipt::wrap(me, &to, root, &inner)?;
    let after = RootRow {
        ratchet: ratchet.to_bytes().to_vec(),
        next_ctr: ctr.saturating_add(1),
        ..root.clone()
    };
    let mark = relay::raise_mark(txn, over)?;
    txn.put::<Roots>(&(id, *tag), &after)?;
    txn.put::<Ciphers>(&(id, *tag, ctr), &CipherRow { seq, envelope, relay: over, mark })?;
    Ok(Some(CipherKey { contact: id, root: *tag, ctr }))
}

const ROOT: &str = "a ratchet";

/// The lowest counter whose ciphertext is still kept.
fn base(
    db: &impl Read,
    contact: ContactId,
    tag: RootTag,
    root: &RootRow,
) -> Result<u64, StoreError> {
    let lowest = db.first::<Ciphers>(&(contact, tag))?;
    Ok(lowest.map_or(root.next_ctr, |((_, _, ctr), _)| ctr))
}
