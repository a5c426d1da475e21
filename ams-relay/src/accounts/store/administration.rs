//! What the administrator and the clock do.

use std::fs::File;
use std::path::Path;

use ams_crypto::token::TokenHash;
use ams_wire::id::Handle;
use ams_wire::username::Username;
use redb::{
    Durability, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::StoreError;
use super::tables::{self, ASKS, DEVICES, INVITES, REDEEMS, RETIRED, ROWS, USERS};
use crate::accounts::row::ContactRow;
use crate::accounts::user::{InviteRow, UserRow};
use crate::accounts::{OpenInvite, Unwilling, User};

pub(super) fn create_invite(
    txn: &WriteTransaction,
    invite: &OpenInvite,
    token: &TokenHash,
    reset: bool,
    most: u64,
) -> Result<Result<(), Unwilling>, StoreError> {
    let OpenInvite { name, expires } = invite;
    let users = txn.open_table(USERS)?;
    let exists = users.get(name.as_str())?.is_some();
    if txn.open_table(RETIRED)?.get(name.as_str())?.is_some() {
        return Ok(Err(Unwilling::Retired(name.clone())));
    }
    match (exists, reset) {
        (true, false) => return Ok(Err(Unwilling::Exists(name.clone()))),
        (false, true) => return Ok(Err(Unwilling::NoUser(name.clone()))),
        (false, false) if users.len()? >= most => return Ok(Err(Unwilling::TooMany(most))),
        _ => {}
    }
    let mut invites = txn.open_table(INVITES)?;
    for hash in matching(&invites, |row| row.name == *name && row.spent_by.is_none())? {
        invites.remove(&hash)?;
    }
    let row = InviteRow { name: name.clone(), expires: *expires, spent_by: None };
    invites.insert(&token.0, row.to_bytes().as_slice())?;
    Ok(Ok(()))
}

pub(super) fn invites(txn: &ReadTransaction, now: u64) -> Result<Vec<OpenInvite>, StoreError> {
    let mut open = Vec::new();
    for entry in txn.open_table(INVITES)?.iter()? {
        let row = InviteRow::from_bytes(entry?.1.value()).ok_or(StoreError::Damaged)?;
        if row.is_open(now) {
            open.push(OpenInvite { name: row.name, expires: row.expires });
        }
    }
    open.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(open)
}

pub(super) fn revoke_invite(
    txn: &WriteTransaction,
    name: &Username,
    now: u64,
) -> Result<Result<(), Unwilling>, StoreError> {
    let mut invites = txn.open_table(INVITES)?;
    let found = matching(&invites, |row| row.name == *name && row.is_open(now))?;
    if found.is_empty() {
        return Ok(Err(Unwilling::NoInvite(name.clone())));
    }
    for hash in found {
        invites.remove(&hash)?;
    }
    Ok(Ok(()))
}

fn matching(
    invites: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    wanted: impl Fn(&InviteRow) -> bool,
) -> Result<Vec<[u8; 32]>, StoreError> {
    let mut found = Vec::new();
    for entry in invites.iter()? {
        let (hash, row) = entry?;
        let row = InviteRow::from_bytes(row.value()).ok_or(StoreError::Damaged)?;
        if wanted(&row) {
            found.push(*hash.value());
        }
    }
    Ok(found)
}

pub(super) fn users(txn: &ReadTransaction) -> Result<Vec<User>, StoreError> {
    txn.open_table(USERS)?
        .iter()?
        .map(|entry| {
            let (name, row) = entry?;
            let row = UserRow::from_bytes(row.value()).ok_or(StoreError::Damaged)?;
            let name = tables::name(name.value())?;
            Ok(User { name, disabled: row.disabled, created: row.created })
        })
        .collect()
}

pub(super) fn count(txn: &ReadTransaction) -> Result<u64, StoreError> {
    Ok(txn.open_table(USERS)?.len()?)
}

pub(super) fn set_disabled(
    txn: &WriteTransaction,
    name: &Username,
    disabled: bool,
) -> Result<Result<(), Unwilling>, StoreError> {
    let mut users = txn.open_table(USERS)?;
    let Some(user) = tables::user(&users, name.as_str())? else {
        return Ok(Err(Unwilling::NoUser(name.clone())));
    };
    let user = UserRow { disabled, ..user };
    users.insert(name.as_str(), user.to_bytes().as_slice())?;
    Ok(Ok(()))
}

/// Whether [`sweep`] has anything to do.
pub(super) fn has_expired(txn: &ReadTransaction, now: u64) -> Result<bool, StoreError> {
    Ok(!expired_rows(&txn.open_table(ROWS)?, now)?.is_empty()
        || !matching(&txn.open_table(INVITES)?, |row| row.expires <= now)?.is_empty())
}

type Expired = Vec<(Username, Handle, ContactRow)>;

fn expired_rows(
    rows: &impl ReadableTable<(&'static str, &'static [u8; 16]), &'static [u8]>,
    now: u64,
) -> Result<Expired, StoreError> {
    let mut expired = Vec::new();
    for entry in rows.iter()? {
        let (key, value) = entry?;
        let row = ContactRow::from_bytes(value.value()).ok_or(StoreError::Damaged)?;
        if row.is_expired(now) || (row.intro.is_some() && row.is_stale(now)) {
            let (owner, handle) = key.value();
            expired.push((tables::name(owner)?, Handle(*handle), row));
        }
    }
    Ok(expired)
}

/// Rows whose introduction was never answered, stale introductions on accepted rows, and invites
/// that nobody can use any more.
pub(super) fn sweep(txn: &WriteTransaction, now: u64) -> Result<(), StoreError> {
    let expired = expired_rows(&txn.open_table(ROWS)?, now)?;
    for (owner, handle, row) in expired {
        let kept = (!row.is_expired(now)).then(|| ContactRow {
            intro: None,
            is_declined: false,
            ..row.clone()
        });
        tables::put_row(txn, &owner, &handle, Some(&row), kept.as_ref())?;
    }
    let mut invites = txn.open_table(INVITES)?;
    for hash in matching(&invites, |row| row.expires <= now)? {
        invites.remove(&hash)?;
    }
    Ok(())
}

/// Copies every table, as of one moment, into a database of its own. What could not be finished
/// does not stay.
pub(super) fn backup(from: &ReadTransaction, file: &Path) -> Result<(), StoreError> {
    let made = super::create_file(file)?;
    copy_all(from, made).inspect_err(|_| {
        // The first error is the one to be told.
        let _ = std::fs::remove_file(file);
    })
}

fn copy_all(from: &ReadTransaction, file: File) -> Result<(), StoreError> {
    let to = super::file_database(file)?;
    let mut txn = to.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    copy(from, &txn, USERS)?;
    copy(from, &txn, DEVICES)?;
    copy(from, &txn, INVITES)?;
    copy(from, &txn, ROWS)?;
    copy(from, &txn, ASKS)?;
    copy(from, &txn, REDEEMS)?;
    copy(from, &txn, RETIRED)?;
    txn.commit()?;
    Ok(())
}

fn copy<K: redb::Key + 'static, V: redb::Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<K, V>,
) -> Result<(), StoreError> {
    let source = from.open_table(table)?;
    let mut copy = to.open_table(table)?;
    for entry in source.iter()? {
        let (key, value) = entry?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}
