//! Ids of messages that are gone from the disk: a repeated `send` is noticed for 30 days.

use std::ops::ControlFlow;

use ams_wire::id::MessageId;

use super::row::{Digests, Ends, OutIds};
use crate::contacts::ContactId;
use crate::store::{Read, StoreError, Table, Txn};

/// How long an id is remembered at least after its message was accepted, milliseconds.
const LIFE: i64 = 30 * 24 * 60 * 60 * 1000;

/// When it was accepted, message id and contact, of messages that are gone. The time comes first,
/// so that what is old stands at the front.
pub(crate) struct Gone;
impl Table for Gone {
    const NAME: &'static str = "out_gone";
    type Key = (u64, (MessageId, ContactId));
    type Row = ();
}

/// The message is gone; its id is remembered for a while.
pub(crate) fn outlive(
    txn: &Txn<'_>,
    id: MessageId,
    contact: ContactId,
    accepted_at: i64,
) -> Result<(), StoreError> {
    txn.put::<Gone>(&(u64::try_from(accepted_at).unwrap_or_default(), (id, contact)), &())
}

/// Forgets up to `most` ids that were remembered for long enough; answers how many went.
pub(crate) fn prune(txn: &Txn<'_>, most: usize, now: i64) -> Result<usize, StoreError> {
    let until = u64::try_from(now.saturating_sub(LIFE)).unwrap_or_default();
    let mut old = Vec::new();
    txn.each::<Gone>(&(), None, |key, ()| {
        if key.0 >= until || old.len() >= most {
            return ControlFlow::Break(());
        }
        old.push(key);
        ControlFlow::Continue(())
    })?;
    for key in &old {
        txn.delete::<OutIds>(&key.1)?;
        txn.delete::<Digests>(&key.1)?;
        txn.delete::<Ends>(&key.1)?;
        txn.delete::<Gone>(key)?;
    }
    Ok(old.len())
}
