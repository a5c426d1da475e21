//! The order in which everything happened, both ways: what `history` walks, and what a reader's
//! position is a place in.

use std::ops::ControlFlow;

use minicbor::{Decode, Encode};

use crate::contacts::ContactId;
use crate::profile;
use crate::store::{Read, StoreError, Table, Txn};

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

/// Contact and place of what came from it → its `seq`. Readers find what they have not had here,
/// however much went the other way.
pub struct Arrivals;
impl Table for Arrivals {
    const NAME: &'static str = "timeline_arrivals";
    type Key = (ContactId, u64);
    type Row = u64;
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
    if direction == Direction::In {
        txn.put::<Arrivals>(&(contact, place), &seq)?;
    }
    Ok(place)
}

/// Takes a message out.
pub fn remove(txn: &Txn<'_>, contact: ContactId, place: u64) -> Result<(), StoreError> {
    txn.delete::<Timeline>(&place)?;
    txn.delete::<Arrivals>(&(contact, place))?;
    txn.delete::<ByContact>(&(contact, place))
}

/// Notes what came in before [`Arrivals`] was kept.
pub(crate) fn index(txn: &Txn<'_>) -> Result<(), StoreError> {
    let mut arrived = Vec::new();
    txn.each::<Timeline>(&(), None, |place, entry| {
        if entry.direction == Direction::In {
            arrived.push((entry.contact, place, entry.seq));
        }
        ControlFlow::Continue(())
    })?;
    for (contact, place, seq) in arrived {
        txn.put::<Arrivals>(&(contact, place), &seq)?;
    }
    Ok(())
}

/// Contacts that something came from which is still here.
pub fn contacts_heard(db: &impl Read) -> Result<Vec<ContactId>, StoreError> {
    let mut found = Vec::new();
    let mut from: Option<(ContactId, u64)> = None;
    loop {
        let mut next = None;
        db.each::<Arrivals>(&(), from.as_ref(), |(contact, _), _| {
            next = Some(contact);
            ControlFlow::Break(())
        })?;
        let Some(contact) = next else { return Ok(found) };
        found.push(contact);
        from = Some((ContactId(contact.0.saturating_add(1)), 0));
    }
}
