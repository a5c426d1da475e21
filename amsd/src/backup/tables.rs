//! What of a profile is in a backup, table by table, and how a row becomes one of another profile.

use ams_crypto::dh::DhSecret;

use crate::contacts::row::{ContactId, ContactRow, Contacts, Stage};
use crate::contacts::{self};
use crate::inbox::reader;
use crate::inbox::row::{In, InIds, Known, ReadAhead, ReaderRow, Readers, Received};
use crate::outbox::ids::Gone;
use crate::outbox::row::{Ends, Out, OutIds, OutRow, OutState, ReadSeen, StepRow, Texts};
use crate::outbox::{self, wish};
use crate::peer::{DirectRow, Directs};
use crate::relay::{RelayRow, Relays};
use crate::store::{Key, Read, StoreError, Table, Txn, View};
use crate::tally::{self, Tally};
use crate::timeline::{ByContact, Timeline};

/// A row as it stands in a backup.
pub(super) type Row<'a> = (&'static str, &'a [u8], &'a [u8]);

/// Takes rows one after the other.
pub(super) type Take<'a, E> = &'a mut dyn FnMut(Row<'_>) -> Result<(), E>;

/// Every row that is in a backup. What a message says comes before where it stands.
pub(super) fn each<E: From<StoreError>>(db: &View<'_>, take: Take<'_, E>) -> Result<(), E> {
    of::<Relays, E>(db, take)?;
    of::<Directs, E>(db, take)?;
    of::<Contacts, E>(db, take)?;
    of::<Texts, E>(db, take)?;
    of::<Out, E>(db, take)?;
    of::<OutIds, E>(db, take)?;
    of::<Ends, E>(db, take)?;
    of::<Gone, E>(db, take)?;
    of::<ReadSeen, E>(db, take)?;
    of::<In, E>(db, take)?;
    of::<InIds, E>(db, take)?;
    of::<Known, E>(db, take)?;
    of::<Received, E>(db, take)?;
    of::<ReadAhead, E>(db, take)?;
    of::<Readers, E>(db, take)?;
    of::<Timeline, E>(db, take)?;
    of::<ByContact, E>(db, take)
}

fn of<T: Table, E: From<StoreError>>(db: &View<'_>, take: Take<'_, E>) -> Result<(), E> {
    let mut failed = None;
    db.each::<T>(&(), None, |key, row| {
        let row = minicbor::to_vec(&row).map_err(|_| StoreError::Damaged(T::NAME).into());
        match row.and_then(|row| take((T::NAME, &key.to_bytes(), &row))) {
            Ok(()) => std::ops::ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                std::ops::ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Puts a row into a profile that has none.
///
/// # Errors
/// [`StoreError::Damaged`] for one that says nothing, or of a table that is in no backup.
pub(super) fn put(txn: &Txn<'_>, table: &str, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
    match table {
        t if t == Relays::NAME => {
            let (id, row) = typed::<Relays>(key, row)?;
            txn.put::<Relays>(&id, &not_enrolled(row))
        }
        t if t == Directs::NAME => {
            let (id, row) = typed::<Directs>(key, row)?;
            // Nobody knows the new profile's device.
            let row = DirectRow { noted: false, offered: Vec::new(), ..row };
            // What the two offered is said anew, with fresh keys.
            let link_key = row.link_key.filter(|_| !row.by_offer);
            txn.put::<Directs>(&id, &DirectRow { link_key, ..row })
        }
        t if t == Contacts::NAME => {
            let (id, row) = typed::<Contacts>(key, row)?;
            put_contact(txn, id, row)
        }
        t if t == Out::NAME => {
            let (at, row) = typed::<Out>(key, row)?;
            put_out(txn, at, row)
        }
        t if t == Received::NAME => {
            tally::more(txn, Tally::Kept)?;
            as_it_is::<Received>(txn, key, row)
        }
        t if t == Readers::NAME => {
            // Its key was blinded with another profile's.
            let row: ReaderRow = decode::<Readers>(row)?;
            reader::put(txn, &row)
        }
        t if t == Texts::NAME => as_it_is::<Texts>(txn, key, row),
        t if t == OutIds::NAME => as_it_is::<OutIds>(txn, key, row),
        t if t == Ends::NAME => as_it_is::<Ends>(txn, key, row),
        t if t == Gone::NAME => as_it_is::<Gone>(txn, key, row),
        t if t == ReadSeen::NAME => as_it_is::<ReadSeen>(txn, key, row),
        t if t == In::NAME => as_it_is::<In>(txn, key, row),
        t if t == InIds::NAME => as_it_is::<InIds>(txn, key, row),
        t if t == Known::NAME => as_it_is::<Known>(txn, key, row),
        t if t == ReadAhead::NAME => as_it_is::<ReadAhead>(txn, key, row),
        t if t == Timeline::NAME => as_it_is::<Timeline>(txn, key, row),
        t if t == ByContact::NAME => as_it_is::<ByContact>(txn, key, row),
        _ => Err(StoreError::Damaged("a table of a backup")),
    }
}

fn decode<T: Table>(row: &[u8]) -> Result<T::Row, StoreError> {
    minicbor::decode(row).map_err(|_| StoreError::Damaged(T::NAME))
}

fn typed<T: Table>(key: &[u8], row: &[u8]) -> Result<(T::Key, T::Row), StoreError> {
    let key = T::Key::from_bytes(key).ok_or(StoreError::Damaged(T::NAME))?;
    Ok((key, decode::<T>(row)?))
}

fn as_it_is<T: Table>(txn: &Txn<'_>, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
    let (key, row) = typed::<T>(key, row)?;
    txn.put::<T>(&key, &row)
}

/// An account as a backup has it: whose it is and where, and nothing of the device that it was on.
pub(super) fn not_enrolled(row: RelayRow) -> RelayRow {
    RelayRow {
        device_secret: *DhSecret::generate().to_bytes(),
        enrolled: false,
        wanted: false,
        refused: None,
        relay_counter: 0,
        deleting: false,
        adopting: false,
        ..row
    }
}

fn put_contact(txn: &Txn<'_>, id: ContactId, mut row: ContactRow) -> Result<(), StoreError> {
    row.renewed_at = 0;
    if row.by_link.is_some() {
        // Asked with secrets that are gone; the link can be redeemed again.
        (row.by_link, row.stage) = (None, Stage::Removed);
        row.paths.clear();
    }
    contacts::put(txn, id, None, &row)
}

/// What was on its way has no envelope any more: it waits its turn, to be sealed with fresh keys.
fn put_out(txn: &Txn<'_>, at: (ContactId, u64), mut row: OutRow) -> Result<(), StoreError> {
    if row.state == OutState::Sent {
        row.state = OutState::Queued;
        let when = row.steps.last().map_or(row.accepted_at, |step| step.at);
        let reason = Some("restored from a backup".to_owned());
        row.steps.push(StepRow { at: when, state: OutState::Queued, via: None, reason });
    }
    let text = txn.get::<Texts>(&at)?.ok_or(StoreError::Damaged(Texts::NAME))?;
    outbox::remember(txn, at.0, row.id, &text)?;
    outbox::state::file(txn, at, None, row.state)?;
    if !row.state.is_final()
        && let Some(wanted) = &row.wish
    {
        wish::note(txn, at.0, at.1, wanted)?;
    }
    txn.put::<Out>(&at, &row)
}
