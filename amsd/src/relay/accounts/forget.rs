//! What is forgotten with an account.

use crate::contacts::ask::{Asked, withdraw};
use crate::contacts::{self, Stage};
use crate::contacts::{intro, link};
use crate::fact::Fact;
use crate::relay::chores;
use crate::relay::row::{self, RelayId, Relays};
use crate::store::{Read, StoreError, Txn};

/// Forgets the account at `relay`: its keys, what was asked and answered there, and the ways to
/// contacts over it. The contacts and their history stay; those that had not answered yet go.
pub(super) fn forget(txn: &Txn<'_>, relay: RelayId) -> Result<(), StoreError> {
    for (id, before) in contacts::all(txn)? {
        if before.path(relay).is_none() {
            continue;
        }
        let mut after = before.clone();
        after.paths.retain(|path| path.relay != relay);
        if after.paths.is_empty() && after.stage == Stage::Asked {
            after.stage = Stage::Removed;
        }
        contacts::put(txn, id, Some(&before), &after)?;
    }
    for (id, intro) in intro::waiting(txn)? {
        if intro.relay == relay {
            intro::forget(txn, id)?;
        }
    }
    for (asked, _) in txn.list::<Asked>(&relay)? {
        withdraw(txn, asked)?;
    }
    link::forget(txn, relay)?;
    chores::forget(txn, relay)?;
    row::reset_mark(txn, relay)?;
    txn.delete::<Relays>(&relay)?;
    txn.tell(Fact::Relays);
    Ok(())
}
