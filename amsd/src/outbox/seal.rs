//! A message becomes an envelope when its turn comes: in the order of acceptance, as many as the
//! window has room for.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ams_wire::body::{Body, KIND_TEXT};
use ams_wire::id::WorkMark;

use super::row::{Live, Out, OutState, Texts};
use super::{MAX_SPAN, low, state};
use crate::contacts::{ContactId, ContactRow, Contacts};
use crate::profile::Me;
use crate::relay::RelayId;
use crate::session::row::Ciphers;
use crate::session::seal::{self, CipherKey, Room};
use crate::settings::Undeliverable;
use crate::store::{Read, StoreError, Txn};

/// The device that a profile is at its relays; there is one.
const DEVICE: u32 = 1;

/// An envelope that may leave: its ciphertext is on disk.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it is kept.
    pub key: CipherKey,
    /// The bytes, the same every time.
    pub envelope: Vec<u8>,
    /// The work mark as of sealing, where it was sealed for this relay.
    pub mark: WorkMark,
    /// A message, and no empty envelope.
    pub is_message: bool,
}

/// Seals what is next for `contact`, to go over `relay`.
pub fn seal_due(
    txn: &Txn<'_>,
    me: &Me,
    contact: ContactId,
    relay: RelayId,
    tell_read: bool,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut sealed = Vec::new();
    let Some(row) = txn.get::<Contacts>(&contact)?.filter(ContactRow::is_open) else {
        return Ok(sealed);
    };
    let Room::For(slots) = seal::room(txn, contact)? else { return Ok(sealed) };
    let lowest = low(txn, contact, row.next_seq)?;
    for seq in next_queued(txn, contact, slots)? {
        if seq.saturating_sub(lowest) >= MAX_SPAN {
            break;
        }
        let plaintext = plaintext(txn, contact, seq, lowest)?;
        let key = seal::seal(txn, me, (contact, &row), relay, Some(seq), &plaintext, tell_read)?;
        let Some(key) = key else { break };
        sealed.extend(outgoing(txn, key, relay)?);
    }
    Ok(sealed)
}

/// Seals a full empty envelope, or takes the one that is out already: a step for the ratchet, and
/// a question whether anybody is there.
pub fn probe(
    txn: &Txn<'_>,
    me: &Me,
    contact: ContactId,
    relay: RelayId,
    tell_read: bool,
) -> Result<Option<Outgoing>, StoreError> {
    for ((_, root, ctr), cipher) in txn.list::<Ciphers>(&contact)? {
        if cipher.seq.is_none() {
            return outgoing(txn, CipherKey { contact, root, ctr }, relay);
        }
    }
    let Some(row) = txn.get::<Contacts>(&contact)?.filter(ContactRow::is_open) else {
        return Ok(None);
    };
    let key = seal::seal(txn, me, (contact, &row), relay, None, &[], tell_read)?;
    key.map_or(Ok(None), |key| outgoing(txn, key, relay))
}

/// What has left before and has no receipt, in order: it goes first on every new link.
pub fn unreceipted(
    db: &impl Read,
    contact: ContactId,
    relay: RelayId,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut out = Vec::new();
    let mut ciphers = db.list::<Ciphers>(&contact)?;
    // Across roots the order is that of the messages; within a root the counters have it.
    ciphers.sort_by_key(|((_, _, ctr), cipher)| (cipher.seq.unwrap_or(u64::MAX), *ctr));
    for ((_, root, ctr), cipher) in ciphers {
        let moving = match cipher.seq {
            Some(seq) => db.get::<Out>(&(contact, seq))?.is_some_and(|row| row.state.is_moving()),
            None => true,
        };
        if moving {
            out.extend(outgoing(db, CipherKey { contact, root, ctr }, relay)?);
        }
    }
    Ok(out)
}

fn outgoing(
    db: &impl Read,
    key: CipherKey,
    relay: RelayId,
) -> Result<Option<Outgoing>, StoreError> {
    let Some(cipher) = db.get::<Ciphers>(&(key.contact, key.root, key.ctr))? else {
        return Ok(None);
    };
    // A mark speaks of one account: over another relay the envelope goes without.
    let mark = if cipher.relay == relay { cipher.mark } else { WorkMark::default() };
    Ok(Some(Outgoing { key, envelope: cipher.envelope, mark, is_message: cipher.seq.is_some() }))
}

/// The first `most` messages that are queued and have no ciphertext.
fn next_queued(db: &impl Read, contact: ContactId, most: usize) -> Result<Vec<u64>, StoreError> {
    let sealed: BTreeSet<u64> =
        db.list::<Ciphers>(&contact)?.into_iter().filter_map(|(_, cipher)| cipher.seq).collect();
    let mut next = Vec::new();
    if most == 0 {
        return Ok(next);
    }
    db.each::<Live>(&contact, None, |(_, seq), state| {
        if state == OutState::Queued && !sealed.contains(&seq) {
            next.push(seq);
        }
        if next.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(next)
}

/// Whether a message of `contact` is queued and has no ciphertext.
pub fn has_unsealed(db: &impl Read, contact: ContactId) -> Result<Option<u64>, StoreError> {
    Ok(next_queued(db, contact, 1)?.first().copied())
}

/// Ends what was accepted before `before` and could not be sealed since.
pub fn give_up(
    txn: &Txn<'_>,
    contact: ContactId,
    before: i64,
    policy: Undeliverable,
    now: i64,
) -> Result<(), StoreError> {
    if matches!(seal::room(txn, contact)?, Room::For(_)) {
        return Ok(());
    }
    for seq in next_queued(txn, contact, usize::MAX)? {
        let Some(row) = txn.get::<Out>(&(contact, seq))? else { continue };
        if row.accepted_at <= before {
            state::never_sealed(txn, contact, seq, policy, now)?;
        }
    }
    Ok(())
}

/// Whether something waits for a sign of the contact: messages kept for it, or a full window.
pub fn wants_probe(db: &impl Read, contact: ContactId) -> Result<bool, StoreError> {
    let mut waits = false;
    db.each::<Live>(&contact, None, |_, state| {
        waits = state == OutState::Waiting;
        if waits { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let full = seal::room(db, contact)? == Room::Full;
    Ok(waits || (full && has_unsealed(db, contact)?.is_some()))
}

fn plaintext(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
    low: u64,
) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::Damaged("a queued message");
    let out = db.get::<Out>(&(contact, seq))?.ok_or_else(damaged)?;
    let text = db.get::<Texts>(&(contact, seq))?.ok_or_else(damaged)?;
    let body = Body {
        id: out.id,
        device: DEVICE,
        seq,
        low,
        sent_at: out.accepted_at,
        kind: KIND_TEXT,
        text: text.text,
        reply_to: text.reply_to,
        title: text.title,
        priority: text.priority,
        tags: Some(text.tags).filter(|tags| !tags.is_empty()),
    };
    body.encode().map_err(|_| damaged())
}
