//! The tables, and reading and writing their values.

use ams_wire::id::Handle;
use ams_wire::username::Username;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::StoreError;
use crate::accounts::row::ContactRow;
use crate::accounts::user::{InviteRow, UserRow};

/// Username → [`UserRow`].
pub(super) const USERS: TableDefinition<&str, &[u8]> = TableDefinition::new("users");
/// Link key → username.
pub(super) const DEVICES: TableDefinition<&[u8; 32], &str> = TableDefinition::new("devices");
/// Hash of the token → [`InviteRow`].
pub(super) const INVITES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("invites");
/// Owner, handle → [`ContactRow`].
pub(super) const ROWS: TableDefinition<(&str, &[u8; 16]), &[u8]> = TableDefinition::new("rows");
/// Peer, when, owner, handle: the rows that carry an introduction to the peer.
pub(super) const ASKS: TableDefinition<AskKey<'static>, ()> = TableDefinition::new("asks");
/// Contact link, when, owner, handle: the rows that carry an introduction by the link.
pub(super) const REDEEMS: TableDefinition<RedeemKey<'static>, ()> = TableDefinition::new("redeems");
/// Names that are never given again.
pub(super) const RETIRED: TableDefinition<&str, ()> = TableDefinition::new("retired");

/// How many tables there are.
const TABLES: usize = 7;

pub(super) type AskKey<'a> = (&'a str, u64, &'a str, &'a [u8; 16]);
pub(super) type RedeemKey<'a> = (&'a [u8; 16], u64, &'a str, &'a [u8; 16]);

/// Makes all tables, so that reading need not ask whether they exist.
pub(super) fn create(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(USERS)?;
    txn.open_table(DEVICES)?;
    txn.open_table(INVITES)?;
    txn.open_table(ROWS)?;
    txn.open_table(ASKS)?;
    txn.open_table(REDEEMS)?;
    txn.open_table(RETIRED)?;
    Ok(())
}

/// Whether all of them are there.
pub(super) fn are_there(database: &Database) -> Result<bool, StoreError> {
    let made = database.begin_read()?.list_tables()?.count();
    Ok(made == TABLES)
}

pub(super) fn user(
    users: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<UserRow>, StoreError> {
    users
        .get(name)?
        .map(|row| UserRow::from_bytes(row.value()).ok_or(StoreError::Damaged))
        .transpose()
}

pub(super) fn invite(
    invites: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    hash: &[u8; 32],
) -> Result<Option<InviteRow>, StoreError> {
    invites
        .get(hash)?
        .map(|row| InviteRow::from_bytes(row.value()).ok_or(StoreError::Damaged))
        .transpose()
}

pub(super) fn row(
    rows: &impl ReadableTable<(&'static str, &'static [u8; 16]), &'static [u8]>,
    owner: &str,
    handle: &Handle,
) -> Result<Option<ContactRow>, StoreError> {
    rows.get((owner, &handle.0))?
        .map(|row| ContactRow::from_bytes(row.value()).ok_or(StoreError::Damaged))
        .transpose()
}

/// All rows of an owner.
pub(super) fn rows_of(
    rows: &impl ReadableTable<(&'static str, &'static [u8; 16]), &'static [u8]>,
    owner: &str,
) -> Result<Vec<(Handle, ContactRow)>, StoreError> {
    rows.range((owner, &[0; 16])..=(owner, &[0xff; 16]))?
        .map(|entry| {
            let (key, value) = entry?;
            let row = ContactRow::from_bytes(value.value()).ok_or(StoreError::Damaged)?;
            Ok((Handle(*key.value().1), row))
        })
        .collect()
}

/// Puts a row, or none, in the place of `old`, and keeps the indexes of introductions in step.
pub(super) fn put_row(
    txn: &WriteTransaction,
    owner: &Username,
    handle: &Handle,
    old: Option<&ContactRow>,
    new: Option<&ContactRow>,
) -> Result<(), StoreError> {
    if old == new {
        return Ok(());
    }
    let owner = owner.as_str();
    let mut rows = txn.open_table(ROWS)?;
    match new {
        Some(row) => drop(rows.insert((owner, &handle.0), row.to_bytes().as_slice())?),
        None => drop(rows.remove((owner, &handle.0))?),
    }
    // A refused introduction stays on its row and out of the index.
    let is_listed = |row: &&ContactRow| row.is_listed();
    if let Some(row) = old.filter(is_listed) {
        match row.by {
            Some(by) => {
                txn.open_table(REDEEMS)?.remove((&by.0, row.asked_at, owner, &handle.0))?;
            }
            None => {
                let key = (row.peer.as_str(), row.asked_at, owner, &handle.0);
                txn.open_table(ASKS)?.remove(key)?;
            }
        }
    }
    if let Some(row) = new.filter(is_listed) {
        match row.by {
            Some(by) => {
                txn.open_table(REDEEMS)?.insert((&by.0, row.asked_at, owner, &handle.0), ())?;
            }
            None => {
                let key = (row.peer.as_str(), row.asked_at, owner, &handle.0);
                txn.open_table(ASKS)?.insert(key, ())?;
            }
        }
    }
    Ok(())
}

pub(super) fn name(text: &str) -> Result<Username, StoreError> {
    Username::new(text).map_err(|_| StoreError::Damaged)
}
