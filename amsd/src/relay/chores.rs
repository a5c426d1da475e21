//! What an account still has to tell its relay, besides envelopes: requests, approvals, refusals,
//! blocks, removals. Each is kept on disk until the relay answered it, and may be said twice.

use std::collections::BTreeSet;

use ams_wire::frame;
use ams_wire::id::Handle;
use ams_wire::to_relay::ToRelay;
use minicbor::{Decode, Encode};

use super::row::RelayId;
use crate::contacts;
use crate::fact::Fact;
use crate::profile;
use crate::store::{Read, StoreError, Table, Txn};

/// Chores of one account that may wait. Those that the relay makes us push by what it shows are
/// dropped beyond that: it shows the same again at the next attach.
const MOST: u64 = 256;

/// One encoded frame.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChoreRow {
    /// As [`ToRelay::encode`] makes it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub frame: Vec<u8>,
}

/// Relay and number → frame.
pub struct Chores;
impl Table for Chores {
    const NAME: &'static str = "chores";
    type Key = (RelayId, u64);
    type Row = ChoreRow;
}

/// Relay, row that a chore is about, and number of the chore.
pub struct ChoreRows;
impl Table for ChoreRows {
    const NAME: &'static str = "chores_by_row";
    type Key = (RelayId, Handle, u64);
    type Row = ();
}

/// Relay → how many chores wait.
pub struct ChoreCounts;
impl Table for ChoreCounts {
    const NAME: &'static str = "chore_counts";
    type Key = RelayId;
    type Row = u64;
}

/// Has `frame` told to `relay`, after everything that was pushed before it. What it makes needless
/// is no longer told.
pub fn push(txn: &Txn<'_>, relay: RelayId, frame: &ToRelay<'_>) -> Result<(), StoreError> {
    let mut row = ChoreRow { frame: Vec::with_capacity(64) };
    if frame.encode(&mut row.frame).is_err() {
        return Err(StoreError::Damaged("a control frame"));
    }
    let count = txn.get::<ChoreCounts>(&relay)?.unwrap_or_default();
    if count >= MOST && is_shown_again(frame) {
        return Ok(());
    }
    if let Some(about) = about(frame) {
        for ((_, _, number), ()) in txn.list::<ChoreRows>(&(relay, about))? {
            let Some(waiting) = txn.get::<Chores>(&(relay, number))? else { continue };
            if waiting == row {
                return Ok(());
            }
            if decode(&waiting.frame).is_some_and(|before| makes_needless(frame, &before)) {
                done(txn, relay, number)?;
            }
        }
    }
    // Never used twice: the link may have told one that was deleted here, and deletes its number
    // again when the answer comes.
    let number = profile::count(txn, "chores")?;
    txn.put::<Chores>(&(relay, number), &row)?;
    file(txn, relay, number, frame)?;
    txn.tell(Fact::Asks(relay));
    Ok(())
}

/// Counts a chore that waits, and files it under its row.
fn file(txn: &Txn<'_>, relay: RelayId, number: u64, frame: &ToRelay<'_>) -> Result<(), StoreError> {
    let count = txn.get::<ChoreCounts>(&relay)?.unwrap_or_default();
    txn.put::<ChoreCounts>(&relay, &count.saturating_add(1))?;
    match about(frame) {
        Some(about) => txn.put::<ChoreRows>(&(relay, about, number), &()),
        None => Ok(()),
    }
}

/// Files what an earlier version did not.
pub(crate) fn index(txn: &Txn<'_>) -> Result<(), StoreError> {
    for ((relay, number), row) in txn.list::<Chores>(&())? {
        if let Some(frame) = decode(&row.frame) {
            file(txn, relay, number, &frame)?;
        }
    }
    Ok(())
}

/// Forgets answers in the form of an earlier version, which no relay takes: what they are about is
/// shown again.
pub(crate) fn drop_unreadable(txn: &Txn<'_>) -> Result<(), StoreError> {
    let filed = txn.list::<ChoreRows>(&())?;
    for ((relay, number), row) in txn.list::<Chores>(&())? {
        if decode(&row.frame).is_some() {
            continue;
        }
        txn.delete::<Chores>(&(relay, number))?;
        for (key, ()) in filed.iter().filter(|(key, ())| (key.0, key.2) == (relay, number)) {
            txn.delete::<ChoreRows>(key)?;
            let count = txn.get::<ChoreCounts>(&relay)?.unwrap_or_default();
            txn.put::<ChoreCounts>(&relay, &count.saturating_sub(1))?;
        }
    }
    Ok(())
}

/// The row that chores are compared by: the account's own, or the asker's that is refused.
fn about(frame: &ToRelay<'_>) -> Option<Handle> {
    match frame {
        ToRelay::Refuse(refuse) => Some(refuse.their_handle),
        other => row_of(other),
    }
}

/// Whether the relay shows again what this answers, until it is answered.
fn is_shown_again(frame: &ToRelay<'_>) -> bool {
    matches!(frame, ToRelay::Refuse(_) | ToRelay::Remove(_) | ToRelay::Fetched(_))
}

/// Whether nothing is left of `before` once `later` is done.
fn makes_needless(later: &ToRelay<'_>, before: &ToRelay<'_>) -> bool {
    use ToRelay as F;
    match (later, before) {
        (F::Ask(later), F::Ask(before)) => later.handle == before.handle,
        (F::Redeem(later), F::Redeem(before)) => later.handle == before.handle,
        (F::Block(row), F::Unblock(before)) | (F::Unblock(row), F::Block(before)) => row == before,
        (F::Remove(row), before) => row_of(before) == Some(*row),
        _ => false,
    }
}

/// Which of the account's own rows a chore is about.
pub(super) fn row_of(frame: &ToRelay<'_>) -> Option<Handle> {
    match frame {
        ToRelay::Ask(ask) => Some(ask.handle),
        ToRelay::Redeem(redeem) => Some(redeem.handle),
        ToRelay::Approve(approve) => Some(approve.handle),
        ToRelay::Block(row) | ToRelay::Unblock(row) | ToRelay::Remove(row) => Some(*row),
        ToRelay::Fetched(fetched) => Some(fetched.handle),
        _ => None,
    }
}

/// The frame that was pushed.
pub(super) fn decode(encoded: &[u8]) -> Option<ToRelay<'_>> {
    let (number, body) = frame::frames(encoded).next()?.ok()?;
    ToRelay::decode(number, body).ok()?
}

/// The account's own rows that something waits to be told about.
pub fn rows(db: &impl Read, relay: RelayId) -> Result<BTreeSet<Handle>, StoreError> {
    let rows = db.list::<Chores>(&relay)?;
    Ok(rows.iter().filter_map(|(_, row)| row_of(&decode(&row.frame)?)).collect())
}

/// What waits to be told to `relay`, in order.
pub fn waiting(db: &impl Read, relay: RelayId) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let rows = db.list::<Chores>(&relay)?;
    Ok(rows.into_iter().map(|((_, number), row)| (number, row.frame)).collect())
}

/// Whether the relay may have a row as blocked still that is not any more.
pub fn is_unblocking(db: &impl Read, relay: RelayId, row: Handle) -> Result<bool, StoreError> {
    for ((_, _, number), ()) in db.list::<ChoreRows>(&(relay, row))? {
        let waiting = db.get::<Chores>(&(relay, number))?;
        let said = waiting.as_ref().and_then(|row| decode(&row.frame));
        if matches!(said, Some(ToRelay::Unblock(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The relay answered: the chore is done.
pub fn done(txn: &Txn<'_>, relay: RelayId, number: u64) -> Result<(), StoreError> {
    let Some(row) = txn.get::<Chores>(&(relay, number))? else { return Ok(()) };
    if let Some(ToRelay::Unblock(handle)) = decode(&row.frame)
        && let Some((contact, _)) = contacts::by_handle(txn, relay, handle)?
    {
        // What waited for this may leave.
        txn.tell(Fact::Greet(contact));
    }
    txn.delete::<Chores>(&(relay, number))?;
    let count = txn.get::<ChoreCounts>(&relay)?.unwrap_or_default();
    txn.put::<ChoreCounts>(&relay, &count.saturating_sub(1))?;
    match decode(&row.frame).as_ref().and_then(about) {
        Some(about) => txn.delete::<ChoreRows>(&(relay, about, number)),
        None => Ok(()),
    }
}

/// The account is given up: nothing waits any more.
pub(super) fn forget(txn: &Txn<'_>, relay: RelayId) -> Result<(), StoreError> {
    txn.delete_all::<Chores>(&relay)?;
    txn.delete_all::<ChoreRows>(&relay)?;
    txn.delete::<ChoreCounts>(&relay)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use std::sync::Arc;

    use ams_crypto::store::StoreKey;

    use super::*;
    use crate::store::Store;

    const HOME: RelayId = RelayId(1);

    async fn waiting_after(pushed: Vec<ToRelay<'static>>) -> Vec<ToRelay<'static>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[7; 32]), Arc::new(|_| ())).unwrap();
        let left = store.write(move |txn| {
            for frame in &pushed {
                push(txn, HOME, frame)?;
            }
            waiting(txn, HOME)
        });
        let left: Result<_, StoreError> = left.await;
        let decoded = left.unwrap().into_iter().map(|(_, frame)| match decode(&frame) {
            Some(ToRelay::Block(row)) => ToRelay::Block(row),
            Some(ToRelay::Unblock(row)) => ToRelay::Unblock(row),
            Some(ToRelay::Remove(row)) => ToRelay::Remove(row),
            other => panic!("{other:?}"),
        });
        decoded.collect()
    }

    #[tokio::test]
    async fn what_a_relay_shows_without_end_does_not_fill_the_disk() {
        let row = |n: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Handle(bytes)
        };
        let pushed = (0..=MOST).map(|n| ToRelay::Remove(row(n)));
        let left = waiting_after(pushed.chain([ToRelay::Block(row(MOST))]).collect()).await;
        assert_eq!(left.len(), 257);
        // What the user wants is never dropped.
        assert_eq!(left.last(), Some(&ToRelay::Block(row(MOST))));
    }

    #[tokio::test]
    async fn the_last_word_on_a_row_stands() {
        let (bob, carol) = (Handle([1; 16]), Handle([2; 16]));
        let (block, unblock, remove) =
            (ToRelay::Block(bob), ToRelay::Unblock(bob), ToRelay::Remove(bob));
        for (pushed, left) in [
            (vec![block.clone(), unblock.clone(), block.clone()], vec![block.clone()]),
            (vec![block.clone(), block.clone()], vec![block.clone()]),
            (
                vec![block.clone(), ToRelay::Block(carol), remove.clone()],
                vec![ToRelay::Block(carol), remove.clone()],
            ),
            (vec![remove.clone(), block.clone()], vec![remove, block]),
        ] {
            assert_eq!(waiting_after(pushed).await, left);
        }
    }
}
