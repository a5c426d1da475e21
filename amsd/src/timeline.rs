//! The order in which everything happened, both ways: what `history` walks, and what a reader's
//! position is a place in.

use minicbor::{Decode, Encode};

use crate::contacts::ContactId;
use crate::profile;
use crate::store::{StoreError, Table, Txn};

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Direction {
    /// To us.
    #[n(0)]
    In,
    /// From us.
    #[n(1)]
    Out,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// With whom.
    #[n(0)]
    pub contact: ContactId,
    /// Which way.
    #[n(1)]
    pub direction: Direction,
    /// Its `seq` in that direction.
    #[n(2)]
    pub seq: u64,
}

/// Place, from 1 → message.
pub struct Timeline;
impl Table for Timeline {
    const NAME: &'static str = "timeline";
    type Key = u64;
    type Row = Entry;
}

/// Contact and place → message.
pub struct ByContact;
impl Table for ByContact {
    const NAME: &'static str = "timeline_by_contact";
    type Key = (ContactId, u64);
    type Row = Entry;
}

/// Gives a message the next place.
pub fn append(
    txn: &Txn<'_>,
    contact: ContactId,
    direction: Direction,
    seq: u64,
) -> Result<u64, StoreError> {
    let place = profile::count(txn, "timeline")?;
    let entry = Entry { contact, direction, seq };
    txn.put::<Timeline>(&place, &entry)?;
    txn.put::<ByContact>(&(contact, place), &entry)?;
    Ok(place)
}

/// Takes a message out.
pub fn remove(txn: &Txn<'_>, contact: ContactId, place: u64) -> Result<(), StoreError> {
    txn.delete::<Timeline>(&place)?;
    txn.delete::<ByContact>(&(contact, place))
}
