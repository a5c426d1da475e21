//! Contact rows.

use ams_wire::from_relay::Request;
use ams_wire::id::{Blob, Handle};
use ams_wire::username::Username;
use redb::{ReadTransaction, WriteTransaction};

use super::StoreError;
use super::tables::{self, ASKS, ROWS};
use crate::accounts::row::{ContactRow, Standing};
use crate::accounts::{Approval, Approved};

/// Everything that this reads is the owner's own row.
pub(super) fn ask(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
    to: &Username,
    intro: &Blob,
    now: u64,
) -> Result<Option<ContactRow>, StoreError> {
    let old = tables::row(&txn.open_table(ROWS)?, owner.as_str(), handle)?;
    let living = old.clone().filter(|row| !row.is_expired(now));
    let new = match living {
        Some(row) => row.with_intro(to, intro.clone(), now),
        None => Some(ContactRow::asking(to.clone(), intro.clone(), now)),
    };
    if new.is_some() {
        tables::put_row(txn, owner, handle, old.as_ref(), new.as_ref())?;
    }
    Ok(new)
}

pub(super) fn block(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
    blocked: bool,
) -> Result<Option<ContactRow>, StoreError> {
    change(txn, owner, handle, |row| row.blocked = blocked)
}

pub(super) fn fetched(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
) -> Result<Option<ContactRow>, StoreError> {
    change(txn, owner, handle, |row| row.approval = None)
}

pub(super) fn remove(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
) -> Result<(), StoreError> {
    let old = tables::row(&txn.open_table(ROWS)?, owner.as_str(), handle)?;
    tables::put_row(txn, owner, handle, old.as_ref(), None)
}

fn change(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
    change: impl FnOnce(&mut ContactRow),
) -> Result<Option<ContactRow>, StoreError> {
    let old = tables::row(&txn.open_table(ROWS)?, owner.as_str(), handle)?;
    let Some(old) = old else { return Ok(None) };
    let mut new = old.clone();
    change(&mut new);
    tables::put_row(txn, owner, handle, Some(&old), Some(&new))?;
    Ok(Some(new))
}

pub(super) fn approve(
    txn: &WriteTransaction,
    approval: &Approval,
    now: u64,
) -> Result<Approved, StoreError> {
    let Approval { by, to, their_handle, handle, blob } = approval;
    let nothing = Ok(Approved { own: None, theirs: false });
    // Nobody is one's own contact.
    if by == to {
        return nothing;
    }
    let rows = txn.open_table(ROWS)?;
    let theirs = tables::row(&rows, to.as_str(), their_handle)?;
    let own = tables::row(&rows, by.as_str(), handle)?;
    drop(rows);
    let living = |row: &&ContactRow| row.peer == *by && !row.blocked && !row.is_expired(now);
    let Some(old) = theirs.as_ref().filter(living).filter(|r| r.standing != Standing::Refused)
    else {
        return nothing;
    };
    let new_own = match &own {
        Some(row) if !row.is_expired(now) && row.peer != *to => return nothing,
        // An introduction of the approver's own stays until it is answered in turn.
        Some(row) if row.peer == *to => ContactRow {
            standing: Standing::Accepted,
            peer_handle: Some(*their_handle),
            ..row.clone()
        },
        _ => ContactRow {
            peer: to.clone(),
            standing: Standing::Accepted,
            blocked: false,
            peer_handle: Some(*their_handle),
            asked_at: now,
            intro: None,
            approval: None,
        },
    };
    let new_theirs = ContactRow {
        standing: Standing::Accepted,
        peer_handle: Some(*handle),
        intro: None,
        approval: Some(blob.clone()),
        ..old.clone()
    };
    tables::put_row(txn, to, their_handle, Some(old), Some(&new_theirs))?;
    tables::put_row(txn, by, handle, own.as_ref(), Some(&new_own))?;
    Ok(Approved { own: Some(new_own), theirs: true })
}

pub(super) fn refuse(
    txn: &WriteTransaction,
    by: &Username,
    to: &Username,
    their_handle: &Handle,
) -> Result<(), StoreError> {
    let old = tables::row(&txn.open_table(ROWS)?, to.as_str(), their_handle)?;
    let Some(old) = old.filter(|row| row.peer == *by) else { return Ok(()) };
    let mut new = old.clone();
    match old.standing {
        Standing::Asked => new.standing = Standing::Refused,
        // A renewal that is declined leaves the row as it was.
        Standing::Accepted => new.intro = None,
        Standing::Refused => {}
    }
    tables::put_row(txn, to, their_handle, Some(&old), Some(&new))
}

pub(super) fn requests(
    txn: &ReadTransaction,
    name: &Username,
    now: u64,
    most: usize,
) -> Result<Vec<Request>, StoreError> {
    let asks = txn.open_table(ASKS)?;
    let rows = txn.open_table(ROWS)?;
    let name = name.as_str();
    let mut requests = Vec::new();
    for entry in asks.range((name, 0, "", &[0; 16])..=(name, u64::MAX, "", &[0; 16]))? {
        if requests.len() >= most {
            break;
        }
        let key = entry?.0;
        let (_, _, owner, handle) = key.value();
        if owner == name {
            continue;
        }
        let handle = Handle(*handle);
        let row = tables::row(&rows, owner, &handle)?.filter(|row| row.is_answerable(now));
        if let Some(intro) = row.and_then(|row| row.intro) {
            requests.push(Request { from: tables::name(owner)?, their_handle: handle, intro });
        }
    }
    Ok(requests)
}
