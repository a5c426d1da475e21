//! Invites, records, devices, marks.

use ams_crypto::token::TokenHash;
use ams_wire::id::{Key, WorkMark};
use ams_wire::username::Username;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::tables::{self, DEVICES, INVITES, RETIRED, ROWS, USERS};
use super::{StoreError, contacts};
use crate::accounts::row::{ContactRow, Standing};
use crate::accounts::user::{DeviceRow, UserRow};
use crate::accounts::{Device, Enrolled, Invited, Record, Snapshot};

pub(super) fn invite(
    txn: &ReadTransaction,
    token: &TokenHash,
    key: &Key,
    now: u64,
) -> Result<Option<Invited>, StoreError> {
    let invite = tables::invite(&txn.open_table(INVITES)?, &token.0)?;
    let Some(invite) = invite.filter(|invite| invite.is_good_for(key, now)) else {
        return Ok(None);
    };
    let exists = txn.open_table(USERS)?.get(invite.name.as_str())?.is_some();
    Ok(Some(Invited { name: invite.name, exists }))
}

pub(super) fn join(
    txn: &WriteTransaction,
    token: &TokenHash,
    key: Key,
    record: &Record,
    now: u64,
    most: u64,
) -> Result<Option<Enrolled>, StoreError> {
    let invite = tables::invite(&txn.open_table(INVITES)?, &token.0)?;
    let Some(mut invite) = invite.filter(|invite| invite.is_good_for(&key, now)) else {
        return Ok(None);
    };
    let name = invite.name.clone();
    // A device that was replaced since must not come back by repeating its joining.
    let users = txn.open_table(USERS)?;
    let found = tables::user(&users, name.as_str())?;
    let is_full = found.is_none() && users.len()? >= most;
    drop(users);
    let retired = txn.open_table(RETIRED)?.get(name.as_str())?.is_some();
    let is_device = |user: &UserRow| user.device.as_ref().is_some_and(|device| device.key == key);
    if retired || is_full || (invite.spent_by.is_some() && !found.as_ref().is_some_and(is_device)) {
        return Ok(None);
    }
    let user = match found {
        Some(user) => UserRow { record: *record, ..user },
        None => UserRow { created: now, disabled: false, record: *record, device: None },
    };
    if user.disabled {
        return Ok(None);
    }
    let enrolled = put_device(txn, &name, user, key)?;
    invite.spent_by = Some(key);
    txn.open_table(INVITES)?.insert(&token.0, invite.to_bytes().as_slice())?;
    Ok(Some(enrolled))
}

/// Reads two rows for every name, so that one that exists costs nothing more.
pub(super) fn record(txn: &ReadTransaction, name: &Username) -> Result<Option<Record>, StoreError> {
    let user = tables::user(&txn.open_table(USERS)?, name.as_str())?;
    let retired = txn.open_table(RETIRED)?.get(name.as_str())?.is_some();
    Ok(user.filter(|user| !user.disabled && !retired).map(|user| user.record))
}

pub(super) fn enrol(
    txn: &WriteTransaction,
    name: &Username,
    key: Key,
) -> Result<Option<Enrolled>, StoreError> {
    let user = tables::user(&txn.open_table(USERS)?, name.as_str())?;
    let Some(user) = user.filter(|user| !user.disabled) else {
        return Ok(None);
    };
    put_device(txn, name, user, key).map(Some)
}

fn put_device(
    txn: &WriteTransaction,
    name: &Username,
    mut user: UserRow,
    key: Key,
) -> Result<Enrolled, StoreError> {
    let mut devices = txn.open_table(DEVICES)?;
    let mut users = txn.open_table(USERS)?;
    // A key is the device of one account: it leaves the one that it was enrolled on before.
    let before = devices.get(&key.0)?.map(|name| name.value().to_owned());
    let left = before.filter(|other| other != name.as_str());
    if let Some(other) = &left
        && let Some(mut row) = tables::user(&users, other)?
    {
        row.device = None;
        users.insert(other.as_str(), row.to_bytes().as_slice())?;
    }
    let old = user.device.take();
    let displaced = old.as_ref().is_some_and(|old| old.key != key);
    let is_same = old.as_ref().is_some_and(|old| old.key == key);
    if let Some(old) = old.filter(|_| displaced) {
        devices.remove(&old.key.0)?;
    }
    devices.insert(&key.0, name.as_str())?;
    if !is_same {
        // The secrets of what the old device asked went with it; it may be gone for long.
        let rows = tables::rows_of(&txn.open_table(ROWS)?, name.as_str())?;
        for (handle, row) in rows {
            let kept = (row.standing == Standing::Accepted).then(|| ContactRow {
                intro: None,
                is_declined: false,
                approval: None,
                ..row.clone()
            });
            tables::put_row(txn, name, &handle, Some(&row), kept.as_ref())?;
        }
    }
    let enrolment = u64::from_ne_bytes(ams_crypto::random::bytes());
    user.device = Some(DeviceRow { key, enrolment, mark: None });
    users.insert(name.as_str(), user.to_bytes().as_slice())?;
    let left = left.map(|other| tables::name(&other)).transpose()?;
    Ok(Enrolled { name: name.clone(), displaced, left })
}

pub(super) fn attach(
    txn: &ReadTransaction,
    key: &Key,
    now: u64,
    requests: usize,
) -> Result<Option<(Device, Snapshot)>, StoreError> {
    let Some(name) = txn.open_table(DEVICES)?.get(&key.0)?.map(|name| name.value().to_owned())
    else {
        return Ok(None);
    };
    let user = tables::user(&txn.open_table(USERS)?, &name)?.filter(|user| !user.disabled);
    let Some(device) = user.and_then(|user| user.device).filter(|device| device.key == *key) else {
        return Ok(None);
    };
    let name = tables::name(&name)?;
    let rows = tables::rows_of(&txn.open_table(ROWS)?, name.as_str())?;
    let rows = rows.into_iter().filter(|(_, row)| !row.is_expired(now)).collect();
    let requests = contacts::requests(txn, &name, now, requests)?;
    let device = Device { name, enrolment: device.enrolment, mark: device.mark };
    Ok(Some((device, Snapshot { rows, requests })))
}

pub(super) fn mark(
    txn: &WriteTransaction,
    name: &Username,
    enrolment: u64,
    mark: WorkMark,
) -> Result<(), StoreError> {
    let mut users = txn.open_table(USERS)?;
    let Some(mut user) = tables::user(&users, name.as_str())? else { return Ok(()) };
    let Some(device) = user.device.as_mut().filter(|device| device.enrolment == enrolment) else {
        return Ok(());
    };
    let newest = device.mark.map_or(mark, |old| old.later(mark));
    if device.mark != Some(newest) {
        device.mark = Some(newest);
        users.insert(name.as_str(), user.to_bytes().as_slice())?;
    }
    Ok(())
}

pub(super) fn set_record(
    txn: &WriteTransaction,
    name: &Username,
    record: &Record,
) -> Result<(), StoreError> {
    let mut users = txn.open_table(USERS)?;
    if let Some(user) = tables::user(&users, name.as_str())? {
        let user = UserRow { record: *record, ..user };
        users.insert(name.as_str(), user.to_bytes().as_slice())?;
    }
    Ok(())
}

pub(super) fn delete(txn: &WriteTransaction, name: &Username) -> Result<bool, StoreError> {
    let mut users = txn.open_table(USERS)?;
    let Some(user) = tables::user(&users, name.as_str())? else { return Ok(false) };
    users.remove(name.as_str())?;
    if let Some(device) = user.device {
        txn.open_table(DEVICES)?.remove(&device.key.0)?;
    }
    let rows = tables::rows_of(&txn.open_table(ROWS)?, name.as_str())?;
    for (handle, row) in rows {
        tables::put_row(txn, name, &handle, Some(&row), None)?;
    }
    let mut invites = txn.open_table(INVITES)?;
    let of_name = |row: &[u8]| {
        crate::accounts::user::InviteRow::from_bytes(row).is_some_and(|row| row.name == *name)
    };
    let gone: Vec<[u8; 32]> = invites
        .iter()?
        .filter_map(|entry| match entry {
            Ok((hash, row)) => of_name(row.value()).then(|| Ok(*hash.value())),
            Err(error) => Some(Err(error)),
        })
        .collect::<Result<_, _>>()?;
    for hash in gone {
        invites.remove(&hash)?;
    }
    txn.open_table(RETIRED)?.insert(name.as_str(), ())?;
    Ok(true)
}
