//! Which messages of a contact's came before. An id is remembered for as long as its sender may
//! send the message again, and for 30 days at least.

use std::ops::ControlFlow;

use ams_wire::body::Body;
use ams_wire::id::MessageId;

use super::row::{Known, KnownRow};
use crate::contacts::{ContactId, ContactRow, Contacts};
use crate::store::{Read, Store, StoreError, Txn};

/// How long an id is remembered at least, milliseconds.
const LIFE: i64 = 30 * 24 * 60 * 60 * 1000;
/// Ids that leave in one transaction.
const AT_ONCE: usize = 256;
/// The lowest living number of a contact's is noted in steps of so many: it serves for forgetting
/// alone, and need not cost a row with every message.
const STEP: u64 = 64;

/// Whether `body` was taken before, or may have been and be forgotten since.
///
/// Forgotten is what its sender said it would never send again. One that is below that number and
/// was written lately is another message: of a sender that went back to an old copy of its profile,
/// and gives its numbers a second time.
pub(super) fn is_known(
    db: &impl Read,
    id: ContactId,
    contact: &ContactRow,
    body: &Body,
    now: i64,
) -> Result<bool, StoreError> {
    let is_old = now.saturating_sub(body.sent_at) >= LIFE;
    Ok((is_old && body.seq < contact.known_from) || db.get::<Known>(&(id, body.id))?.is_some())
}

/// The lowest number that the sender may still send, as far as it is worth a note.
pub(super) fn their_low(contact: &ContactRow, body: &Body) -> Option<u64> {
    let low = body.low.min(body.seq);
    (low >= contact.their_low.saturating_add(STEP)).then_some(low)
}

/// Forgets what need not be remembered any longer; answers how many ids went.
///
/// # Errors
/// [`StoreError`]; what is left goes the next time.
pub async fn prune(store: &Store, now: i64) -> Result<usize, StoreError> {
    let old = store.read(move |db| {
        let lows: Vec<(ContactId, u64)> =
            db.list::<Contacts>(&())?.into_iter().map(|(id, row)| (id, row.their_low)).collect();
        let mut old = Vec::new();
        for (contact, low) in lows {
            db.each::<Known>(&contact, None, |(_, id), known| {
                if is_over(&known, low, now) {
                    old.push((contact, id));
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok::<_, StoreError>(old)
    });
    let old = old.await?;
    for part in old.chunks(AT_ONCE) {
        let part = part.to_vec();
        store.write(move |txn| forget(txn, &part, now)).await?;
    }
    Ok(old.len())
}

fn is_over(known: &KnownRow, low: u64, now: i64) -> bool {
    known.seq < low && now.saturating_sub(known.at) >= LIFE
}

fn forget(txn: &Txn<'_>, ids: &[(ContactId, MessageId)], now: i64) -> Result<(), StoreError> {
    for key in ids {
        let Some(known) = txn.get::<Known>(key)? else { continue };
        let Some(contact) = txn.get::<Contacts>(&key.0)? else { continue };
        if !is_over(&known, contact.their_low, now) {
            continue;
        }
        txn.delete::<Known>(key)?;
        let behind = known.seq.saturating_add(1);
        if behind > contact.known_from {
            txn.put::<Contacts>(&key.0, &ContactRow { known_from: behind, ..contact })?;
        }
    }
    Ok(())
}
