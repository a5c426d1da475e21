//! Received messages: durable before they are acknowledged, shown once, kept until read.
//!
//! 1. [`accept()`]: an envelope is opened, checked, deduplicated and kept, in one transaction
//! 2. [`reader`]: programs take what they have not had yet, and acknowledge it
//! 3. [`history`]: what the user looks up, and deletes

mod accept;
pub mod history;
pub mod reader;
pub mod row;

pub use accept::{Accepted, accept};

use std::ops::ControlFlow;

use ams_wire::limits::COUNTER_WINDOW;
use ams_wire::receipt::Window;

use crate::contacts::{ContactId, Contacts};
use crate::store::{Read, StoreError, Txn};
use row::{Received, ReceivedRow};

/// What was read of a contact's messages, as a receipt says it.
pub fn read_window(db: &impl Read, contact: ContactId) -> Result<Window, StoreError> {
    let base = db.get::<Contacts>(&contact)?.map_or(0, |row| row.unread_from);
    let mut window = Window::new(base);
    db.each::<Received>(&contact, Some(&(contact, base)), |(_, seq), row| {
        if row.read {
            window.insert(seq);
        }
        if seq.saturating_sub(base) < COUNTER_WINDOW {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(window)
}

/// Notes that `seq` was read; `false`: it was before, or was never received.
fn mark_read(txn: &Txn<'_>, contact: ContactId, seq: u64) -> Result<bool, StoreError> {
    let news = txn.get::<Received>(&(contact, seq))?.is_some_and(|row| !row.read);
    if news {
        txn.put::<Received>(&(contact, seq), &ReceivedRow { read: true })?;
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
        row.unread_from = unread;
        txn.put::<Contacts>(&contact, &row)?;
    }
    Ok(())
}
