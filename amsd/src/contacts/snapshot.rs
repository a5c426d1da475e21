//! The relay's rows of this account, compared with our contacts, at each attach.

use std::collections::BTreeSet;

use ams_wire::id::Handle;

use super::all;
use super::ask::{self, Asked};
use super::row::{self, ContactId, ContactRow, PathRow, Stage};
use crate::profile::Me;
use crate::relay::{RelayId, RelayRow};
use crate::store::{Read, StoreError, Txn};

/// `rows` is every handle that the relay has a row for. One that we have no contact for is removed
/// as it is shown ([`super::approval::receive`]); here are those that the relay lost, and the keys
/// that have become old.
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
        } else if !missing
            && before.stage == Stage::Active
            && is_stale(txn, relay.0, path, id, now)?
        {
            ask::renew(txn, me, relay, id, now)?;
        }
    }
    Ok(())
}

/// Whether fresh keys are to be asked for: the newest are old, or an earlier asking is.
fn is_stale(
    txn: &Txn<'_>,
    relay: RelayId,
    path: &PathRow,
    contact: ContactId,
    now: i64,
) -> Result<bool, StoreError> {
    if let Some(asked) = txn.get::<Asked>(&(relay, path.handle))? {
        return Ok(now.saturating_sub(asked.at) >= ask::LIFE);
    }
    let roots = crate::session::row::roots(txn, contact)?;
    Ok(roots.first().is_some_and(|(_, root)| {
        // Whoever approved last waits a week longer, so that the two do not ask at once.
        let life = if root.requester { KEY_LIFE } else { KEY_LIFE.saturating_add(WEEK) };
        now.saturating_sub(root.made_at) >= life
    }))
}

const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;
/// Keys older than this are renewed, used or not.
const KEY_LIFE: i64 = 90 * 24 * 60 * 60 * 1000;
