//! How many there are of what there may be many of. Each number changes in the commit that changes
//! what it counts, so that nobody has to open a hundred thousand rows to know it.

use crate::outbox::row::OutState;
use crate::store::{Read, StoreError, Table, Txn};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tally {
    /// Messages that are queued.
    Queued,
    /// Messages that are sent.
    Sent,
    /// Messages that are undelivered.
    Undelivered,
    /// Messages that wait for their recipient.
    Waiting,
    /// Messages received and kept.
    Kept,
}

impl Tally {
    /// Under which number it stands; numbers are never used for anything else.
    fn number(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Sent => 1,
            Self::Undelivered => 2,
            Self::Waiting => 3,
            Self::Kept => 4,
        }
    }

    /// Where a message in `state` is counted; final ones are not.
    pub fn of(state: OutState) -> Option<Self> {
        match state {
            OutState::Queued => Some(Self::Queued),
            OutState::Sent => Some(Self::Sent),
            OutState::Undelivered => Some(Self::Undelivered),
            OutState::Waiting => Some(Self::Waiting),
            OutState::Delivered
            | OutState::Read
            | OutState::Discarded
            | OutState::Expired
            | OutState::Replaced => None,
        }
    }
}

/// Number of the tally → how many.
pub struct Tallies;
impl Table for Tallies {
    const NAME: &'static str = "tallies";
    type Key = u8;
    type Row = u64;
}

/// How many there are.
pub fn of(db: &impl Read, what: Tally) -> Result<u64, StoreError> {
    Ok(db.get::<Tallies>(&what.number())?.unwrap_or_default())
}

/// There is one more.
pub fn more(txn: &Txn<'_>, what: Tally) -> Result<(), StoreError> {
    set(txn, what, of(txn, what)?.saturating_add(1))
}

/// There is one less.
pub fn less(txn: &Txn<'_>, what: Tally) -> Result<(), StoreError> {
    set(txn, what, of(txn, what)?.saturating_sub(1))
}

/// There are so many.
pub fn set(txn: &Txn<'_>, what: Tally, count: u64) -> Result<(), StoreError> {
    txn.put::<Tallies>(&what.number(), &count)
}
