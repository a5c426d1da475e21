//! The relay's rows of this account, compared with our contacts, at each attach.

use std::collections::BTreeSet;

use ams_wire::id::Handle;

use super::all;
use super::ask::{self, Asked, AskedRow};
use super::row::{self, ContactId, ContactRow, Stage};
use crate::profile::Me;
use crate::relay::{RelayId, RelayRow, Relays, account, chores};
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
    let told = chores::rows(txn, relay.0)?;
    for (id, before) in all(txn)? {
        let Some(path) = before.path(relay.0) else { continue };
        // A row that is about to be made or removed says nothing yet.
        if told.contains(&path.handle) {
            continue;
        }
        let missing = !rows.contains(&path.handle);
        let asked = txn.get::<Asked>(&(relay.0, path.handle))?;
        if missing && asked.is_some() {
            ask::ask(txn, me, relay, id, &before, now)?;
        } else if missing != path.missing {
            let after = with_missing(&before, path.handle, missing);
            row::put(txn, id, Some(&before), &after)?;
        } else if !missing && is_stale(txn, &before, asked, id, now)? {
            ask::renew(txn, me, relay, id, now)?;
        }
    }
    if relay.1.adopting {
        txn.put::<Relays>(&relay.0, &RelayRow { adopting: false, ..relay.1.clone() })?;
    }
    Ok(())
}

/// The same for a direct link that came up: keys that have become old are renewed.
pub fn refresh(
    txn: &Txn<'_>,
    me: &Me,
    way: RelayId,
    handle: Handle,
    now: i64,
) -> Result<(), StoreError> {
    let Some((id, row)) = super::by_handle(txn, way, handle)? else { return Ok(()) };
    let asked = txn.get::<Asked>(&(way, handle))?;
    if let Some(own) = account(txn, me, way)?
        && is_stale(txn, &row, asked, id, now)?
    {
        ask::renew(txn, me, (way, &own), id, now)?;
    }
    Ok(())
}

/// The contact with what is known of that row.
pub(super) fn with_missing(contact: &ContactRow, handle: Handle, missing: bool) -> ContactRow {
    let mut after = contact.clone();
    for path in after.paths.iter_mut().filter(|path| path.handle == handle) {
        path.missing = missing;
    }
    after
}

/// Whether fresh keys are to be asked for: an earlier asking is old, or the newest keys are.
fn is_stale(
    txn: &Txn<'_>,
    row: &ContactRow,
    asked: Option<AskedRow>,
    contact: ContactId,
    now: i64,
) -> Result<bool, StoreError> {
    if let Some(asked) = asked {
        // Also one from a clock that was ahead.
        return Ok(!(0..ask::LIFE).contains(&now.saturating_sub(asked.at)));
    }
    let roots = crate::session::row::roots(txn, contact)?;
    Ok(row.stage == Stage::Active
        && roots.first().is_some_and(|(_, root)| {
            // Whoever approved last waits a week longer, so that the two do not ask at once.
            let life = if root.requester { KEY_LIFE } else { KEY_LIFE.saturating_add(WEEK) };
            now.saturating_sub(root.made_at) >= life
        }))
}

const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;
/// Keys older than this are renewed, used or not.
const KEY_LIFE: i64 = 90 * 24 * 60 * 60 * 1000;
