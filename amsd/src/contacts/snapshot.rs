//! The relay's rows of this account, compared with our contacts, at each attach.

use std::collections::BTreeSet;

use ams_wire::id::Handle;

use super::row::{self, ContactRow, Stage};
use super::{all, ask};
use crate::profile::Me;
use crate::relay::{RelayId, RelayRow};
use crate::store::{StoreError, Txn};

/// `rows` is every handle that the relay has a row for. One that we have no contact for is removed
/// as it is shown ([`super::approval::receive`]); here are those that the relay lost.
pub fn compare(
    txn: &Txn<'_>,
    me: &Me,
    relay: (RelayId, &RelayRow),
    rows: &BTreeSet<Handle>,
    now: i64,
) -> Result<(), StoreError> {
    for (id, before) in all(txn)? {
        let Some(path) = before.path(relay.0) else { continue };
        let missing = !rows.contains(&path.handle);
        if missing && before.stage == Stage::Asked {
            ask::ask(txn, me, relay, id, &before, now)?;
        } else if missing != path.missing {
            let mut after: ContactRow = before.clone();
            for path in after.paths.iter_mut().filter(|path| path.relay == relay.0) {
                path.missing = missing;
            }
            row::put(txn, id, Some(&before), &after)?;
        }
    }
    Ok(())
}
