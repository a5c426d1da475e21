//! Received messages: durable before they are acknowledged, shown once, kept until read.
//!
//! 1. [`accept()`]: an envelope is opened, checked, deduplicated and kept, in one transaction
//! 2. [`reader`]: programs take what they have not had yet, and acknowledge it
//! 3. [`history`]: what the user looks up, and deletes
//!
//! [`known`] remembers what came, so that nothing is shown twice; [`unread`], what left unread, so that
//! nobody is told that it was read.

mod accept;
pub mod history;
pub mod known;
pub mod reader;
pub mod row;
pub mod unread;

pub use accept::{Accepted, Came, accept};

use std::ops::ControlFlow;

use ams_wire::limits::COUNTER_WINDOW;
use ams_wire::receipt::Window;

use crate::contacts::{ContactId, Contacts};
use crate::store::{Read, Rows, StoreError, Txn};
use row::{Known, ReadAhead, Received, ReceivedRow};

/// What was read of a contact's messages, as a receipt says it.
pub fn read_window(db: &impl Read, contact: ContactId) -> Result<Window, StoreError> {
    let base = db.get::<Contacts>(&contact)?.map_or(0, |row| row.unread_from);
    let mut window = Window::new(base);
    db.each::<ReadAhead>(&contact, Some(&(contact, base)), |(_, seq), ()| {
        window.insert(seq);
        match seq.saturating_sub(base) {
            0..COUNTER_WINDOW => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    })?;
    Ok(window)
}

/// Somebody who was removed is a contact again: what came before is known to have come.
pub(crate) fn inherit(txn: &Txn<'_>, from: ContactId, to: ContactId) -> Result<(), StoreError> {
    for ((_, id), known) in txn.list::<Known>(&from)? {
        txn.put::<Known>(&(to, id), &known)?;
        txn.delete::<Known>(&(from, id))?;
    }
    Ok(())
}

/// Notes that `seq` was read; `false`: it was before, or was never received.
fn mark_read(txn: &Txn<'_>, contact: ContactId, seq: u64, now: i64) -> Result<bool, StoreError> {
    let news = txn.get::<Received>(&(contact, seq))?.is_some_and(|row| !row.read);
    if news {
        txn.put::<Received>(&(contact, seq), &ReceivedRow { read: true, read_at: Some(now) })?;
        txn.put::<ReadAhead>(&(contact, seq), &())?;
    }
    Ok(news)
}

/// Raises the lowest unread `seq` after some were read.
fn raise_unread(txn: &Txn<'_>, contact: ContactId) -> Result<(), StoreError> {
    let Some(mut row) = txn.get::<Contacts>(&contact)? else { return Ok(()) };
    let mut unread = row.unread_from;
    txn.each::<Received>(&contact, Some(&(contact, unread)), |(_, seq), received| {
        if received.read {
            unread = seq.saturating_add(1);
            ControlFlow::Continue(())
        } else {
            unread = seq;
            ControlFlow::Break(())
        }
    })?;
    if unread != row.unread_from {
        for (key, ()) in ahead_below(txn, contact, unread)? {
            txn.delete::<ReadAhead>(&key)?;
        }
        row.unread_from = unread;
        txn.put::<Contacts>(&contact, &row)?;
    }
    Ok(())
}

fn ahead_below(
    txn: &Txn<'_>,
    contact: ContactId,
    below: u64,
) -> Result<Rows<ReadAhead>, StoreError> {
    let mut rows = Vec::new();
    txn.each::<ReadAhead>(&contact, None, |key, row| {
        if key.1 >= below {
            return ControlFlow::Break(());
        }
        rows.push((key, row));
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}
