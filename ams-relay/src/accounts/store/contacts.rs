//! Contact rows.

use std::collections::HashMap;

use ams_crypto::introduction;
use ams_wire::from_relay::{Redeemed, Request};
use ams_wire::id::{ApprovalId, Blob, Handle, RoutingId};
use ams_wire::username::Username;
use redb::{ReadTransaction, WriteTransaction};

use super::StoreError;
use super::tables::{self, ASKS, REDEEMS, ROWS};
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

/// Everything that this reads is the owner's own row.
pub(super) fn redeem(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
    by: RoutingId,
    intro: &Blob,
    now: u64,
) -> Result<Option<ContactRow>, StoreError> {
    let old = tables::row(&txn.open_table(ROWS)?, owner.as_str(), handle)?;
    let living = old.clone().filter(|row| !row.is_expired(now));
    let new = match living {
        Some(row) if row.by != Some(by) => None,
        Some(row) => row.with_intro(owner, intro.clone(), now),
        None => Some(ContactRow::redeeming(owner.clone(), by, intro.clone(), now)),
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
    approval: &ApprovalId,
) -> Result<Option<ContactRow>, StoreError> {
    change(txn, owner, handle, |row| {
        row.approval.take_if(|blob| is_approval(blob, approval));
    })
}

/// Whether the row carries that approval: it may be on it no longer, but a later one.
pub(super) fn carries(row: &ContactRow, approval: &ApprovalId) -> bool {
    row.approval.as_ref().is_some_and(|blob| is_approval(blob, approval))
}

fn is_approval(blob: &Blob, approval: &ApprovalId) -> bool {
    introduction::approval_id(blob.as_bytes()) == *approval
}

pub(super) fn remove(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
) -> Result<(), StoreError> {
    let old = tables::row(&txn.open_table(ROWS)?, owner.as_str(), handle)?;
    tables::put_row(txn, owner, handle, old.as_ref(), None)
}

/// The owner's row as it is, or that there is none; `None` where `is_for` says that it is to be
/// changed.
pub(super) fn unless(
    txn: &ReadTransaction,
    owner: &Username,
    handle: &Handle,
    is_for: impl FnOnce(&ContactRow) -> bool,
) -> Result<Option<Option<ContactRow>>, StoreError> {
    let row = tables::row(&txn.open_table(ROWS)?, owner.as_str(), handle)?;
    Ok(if row.as_ref().is_some_and(is_for) { None } else { Some(row) })
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
    let Approval { by, to, their_handle, handle, blob, link, intro } = approval;
    let nothing = Ok(Approved { own: None, theirs: false });
    // Nobody is one's own contact.
    if by == to {
        return nothing;
    }
    let rows = txn.open_table(ROWS)?;
    let theirs = tables::row(&rows, to.as_str(), their_handle)?;
    let own = tables::row(&rows, by.as_str(), handle)?;
    drop(rows);
    let living = own.as_ref().filter(|row| !row.is_expired(now));
    if living.is_some_and(|row| row.peer != *to) {
        return nothing;
    }
    let is_for = |row: &ContactRow| match row.by {
        Some(_) => row.by == *link,
        None => row.peer == *by,
    };
    // What was asked anew meanwhile is shown, and answered, in turn.
    let is_of = |asked: &Blob| introduction::id(asked.as_bytes()) == *intro;
    let answers = |row: &&ContactRow| {
        is_for(row)
            && row.intro.as_ref().is_none_or(is_of)
            && !row.blocked
            && !row.is_expired(now)
            && row.standing != Standing::Refused
    };
    let answered = theirs.as_ref().filter(answers);
    // What the approver sees of the row comes from the approval and the row as it was: whether there
    // was anything to accept must not show.
    let new_own = match living {
        // An introduction of the approver's own stays until it is answered in turn.
        Some(row) => ContactRow {
            standing: Standing::Accepted,
            peer_handle: Some(*their_handle),
            is_claim: answered.is_none() && (row.is_claim || row.standing != Standing::Accepted),
            ..row.clone()
        },
        None => ContactRow::approving(to.clone(), *their_handle, answered.is_none(), now),
    };
    tables::put_row(txn, by, handle, own.as_ref(), Some(&new_own))?;
    if let Some(old) = answered {
        let new = ContactRow {
            peer: by.clone(),
            by: None,
            standing: Standing::Accepted,
            peer_handle: Some(*handle),
            intro: None,
            approval: Some(blob.clone()),
            is_claim: false,
            is_declined: false,
            ..old.clone()
        };
        tables::put_row(txn, to, their_handle, Some(old), Some(&new))?;
    }
    Ok(Approved { own: Some(new_own), theirs: answered.is_some() })
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
        Standing::Accepted => new.is_declined = new.intro.is_some(),
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
    // All of them are looked at, and there are few: what one account may ask is bounded.
    let mut found = Vec::new();
    // Where the newest question of each asker is; a contact's renewals count apart.
    let mut newest = HashMap::new();
    for entry in asks.range((name, 0, "", &[0; 16])..=(name, u64::MAX, "", &[0xff; 16]))? {
        let key = entry?.0;
        let (_, _, owner, handle) = key.value();
        if owner == name {
            continue;
        }
        let handle = Handle(*handle);
        let row = tables::row(&rows, owner, &handle)?.filter(|row| row.is_answerable(now));
        let Some(row) = row else { continue };
        let Some(intro) = row.intro else { continue };
        if row.standing != Standing::Accepted
            && let Some(older) = newest.insert(owner.to_owned(), found.len())
            && let Some(place) = found.get_mut(older)
        {
            *place = None;
        }
        found.push(Some(Request { from: tables::name(owner)?, their_handle: handle, intro }));
    }
    Ok(found.into_iter().flatten().take(most).collect())
}

pub(super) fn redeemed(
    txn: &ReadTransaction,
    links: &[RoutingId],
    now: u64,
    most: usize,
) -> Result<Vec<Redeemed>, StoreError> {
    let redeems = txn.open_table(REDEEMS)?;
    let rows = txn.open_table(ROWS)?;
    let mut found = Vec::new();
    for by in links {
        let of_link = (&by.0, 0, "", &[0; 16])..=(&by.0, u64::MAX, "\u{7f}", &[0xff; 16]);
        for entry in redeems.range(of_link)? {
            let key = entry?.0;
            let (_, _, owner, handle) = key.value();
            let their_handle = Handle(*handle);
            let row = tables::row(&rows, owner, &their_handle)?;
            let Some(intro) = row.filter(|row| row.is_answerable(now)).and_then(|row| row.intro)
            else {
                continue;
            };
            if found.len() >= most {
                return Ok(found);
            }
            let from = tables::name(owner)?;
            found.push(Redeemed { from, their_handle, by: *by, intro });
        }
    }
    Ok(found)
}
