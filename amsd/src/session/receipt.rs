//! The receipt state of one contact, built from what is on disk at the moment of sending.

use ams_crypto::envelope::{self, Direction};
use ams_crypto::identity::IdentityPublic;
use ams_wire::id::{PingToken, RootTag};
use ams_wire::inner::Inner;
use ams_wire::limits::MAX_RECEIPT_ROOTS;
use ams_wire::receipt::{Receipt, RootReceipt, Window};

use super::row::{self, RootRow};
use crate::contacts::{ContactId, ContactRow};
use crate::inbox;
use crate::profile::Me;
use crate::store::{Read, StoreError};

/// What this side has taken and, where `tell_read`, read of the contact's.
pub fn state(
    db: &impl Read,
    contact: ContactId,
    roots: &[(RootTag, RootRow)],
    tell_read: bool,
) -> Result<Receipt, StoreError> {
    let newest = roots.iter().filter(|(_, root)| root.opened).take(MAX_RECEIPT_ROOTS);
    let roots = newest.map(|(tag, root)| RootReceipt { root: *tag, taken: root.taken }).collect();
    if !tell_read {
        return Ok(Receipt { roots, ..Receipt::default() });
    }
    let read = Some(inbox::read_window(db, contact)?);
    let unread = inbox::unread::runs(db, contact)?;
    Ok(Receipt { roots, read, unread, ..Receipt::default() })
}

/// Whether the contact may not know yet what was taken of it: something at or above the lowest
/// counter that it still keeps.
pub fn is_owed(roots: &[(RootTag, RootRow)]) -> bool {
    roots.iter().any(|(_, root)| !root.taken.is_empty())
}

/// What an envelope without a message says beside the receipt state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// That a receipt is wanted in return.
    Answer,
    /// That this is to be said back.
    Ping(PingToken),
    /// What the contact wanted to be said back.
    Pong(PingToken),
}

/// An envelope of the receipt state alone. It changes nothing on disk and may be sent any number
/// of times. `None` while there is no root to seal under.
pub fn bare(
    db: &impl Read,
    me: &Me,
    roots: &[(RootTag, RootRow)],
    contact: &ContactRow,
    id: ContactId,
    tell_read: bool,
    beside: Beside,
) -> Result<Option<Vec<u8>>, StoreError> {
    // No ratchet moves for it, so that a retired root serves as well as any.
    let newest_opened = roots.iter().find(|(_, root)| root.opened);
    let root = row::sealing_root(roots).or(newest_opened);
    let (Some(to), Some((_, root))) = (contact.identity(), root) else { return Ok(None) };
    let mut receipt = state(db, id, roots, tell_read)?;
    match beside {
        Beside::Nothing | Beside::Answer => {}
        Beside::Ping(token) => receipt.ping = Some(token),
        Beside::Pong(token) => receipt.pong = Some(token),
    }
    let inner = Inner { answer: beside == Beside::Answer, receipt, full: None };
    wrap(me, &to, root, &inner).map(Some)
}

/// Pads and seals.
pub(super) fn wrap(
    me: &Me,
    to: &IdentityPublic,
    root: &RootRow,
    inner: &Inner,
) -> Result<Vec<u8>, StoreError> {
    let padded = inner.encode().map_err(|_| StoreError::Damaged("an envelope"))?;
    let keys = root.keys()?;
    Ok(envelope::seal(keys.sealing(root.side()), Direction { from: me.public(), to }, &padded))
}

/// The window of counters that a receipt speaks of for root `tag`.
pub(super) fn of_root(receipt: &Receipt, tag: RootTag) -> Option<&Window> {
    receipt.roots.iter().find(|root| root.root == tag).map(|root| &root.taken)
}
