//! What an account still has to tell its relay, besides envelopes: requests, approvals, refusals,
//! blocks, removals. Each is kept on disk until the relay answered it, and may be said twice.

use ams_wire::to_relay::ToRelay;
use minicbor::{Decode, Encode};

use super::row::RelayId;
use crate::fact::Fact;
use crate::store::{Read, StoreError, Table, Txn};

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

/// Has `frame` told to `relay`, after everything that was pushed before it.
pub fn push(txn: &Txn<'_>, relay: RelayId, frame: &ToRelay<'_>) -> Result<(), StoreError> {
    let mut row = ChoreRow { frame: Vec::with_capacity(64) };
    if frame.encode(&mut row.frame).is_err() {
        return Err(StoreError::Damaged("a control frame"));
    }
    if txn.list::<Chores>(&relay)?.iter().any(|(_, waiting)| *waiting == row) {
        return Ok(());
    }
    let number = txn.last::<Chores>(&relay)?.map_or(0, |((_, number), _)| number.saturating_add(1));
    txn.put::<Chores>(&(relay, number), &row)?;
    txn.tell(Fact::Asks(relay));
    Ok(())
}

/// What waits to be told to `relay`, in order.
pub fn waiting(db: &impl Read, relay: RelayId) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let rows = db.list::<Chores>(&relay)?;
    Ok(rows.into_iter().map(|((_, number), row)| (number, row.frame)).collect())
}

/// The relay answered: the chore is done.
pub fn done(txn: &Txn<'_>, relay: RelayId, number: u64) -> Result<(), StoreError> {
    txn.delete::<Chores>(&(relay, number))
}
