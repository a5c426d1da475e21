//! Readers: named positions, so that a script that was not running misses nothing.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ams_rpc::types::Message;

use super::row::{In, Position, ReaderRow, Readers, Received};
use super::{history, mark_read, raise_unread};
use crate::contacts::{ContactId, Contacts};
use crate::fact::Fact;
use crate::store::{Read, StoreError, Txn};
use crate::timeline::{Arrivals, Entry, Timeline, contacts_heard};

/// The reader that is used when none is named. It starts at the beginning.
pub const DEFAULT: &str = "default";

/// Bytes of message text in one answer: it must fit a line of the socket.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// A place in the timeline, and of whose messages it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Everything up to here.
    pub place: u64,
    /// Of this contact, or of all.
    pub of: Option<ContactId>,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.of {
            None => write!(f, "{}", self.place),
            Some(contact) => write!(f, "{}@{contact}", self.place),
        }
    }
}

impl std::str::FromStr for Cursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (place, of) = match text.split_once('@') {
            None => (text, None),
            Some((place, of)) => (place, Some(ContactId(of.parse()?))),
        };
        Ok(Self { place: place.parse()?, of })
    }
}

/// What a reader has not had.
#[derive(Debug)]
pub struct Batch {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Acknowledges all of them.
    pub cursor: Cursor,
    /// There is more.
    pub more: bool,
}

/// The reader of that name, made if it is new: at the beginning, or from now on.
pub fn open(
    txn: &Txn<'_>,
    name: &str,
    from_start: bool,
    now: i64,
) -> Result<ReaderRow, StoreError> {
    let mut row = match txn.get::<Readers>(&key(txn, name))? {
        Some(row) => row,
        None => unmade(txn, name, from_start)?,
    };
    row.used_at = now;
    txn.put::<Readers>(&key(txn, name), &row)?;
    Ok(row)
}

/// Puts a reader where it is found by its name.
pub(crate) fn put(txn: &Txn<'_>, row: &ReaderRow) -> Result<(), StoreError> {
    txn.put::<Readers>(&key(txn, &row.name), row)
}

/// The reader of that name, if it was made.
pub fn find(db: &impl Read, name: &str) -> Result<Option<ReaderRow>, StoreError> {
    db.get::<Readers>(&key(db, name))
}

/// What `reader` has not had, at most `most` messages, of one contact or of all.
pub fn take(
    db: &impl Read,
    reader: &ReaderRow,
    of: Option<ContactId>,
    most: usize,
) -> Result<Batch, StoreError> {
    let start = of.map_or(reader.all, |contact| position(reader, contact));
    let mut batch =
        Batch { messages: Vec::new(), cursor: Cursor { place: start, of }, more: false };
    let mut bytes = 0_usize;
    // The next one of each contact, by its place.
    let mut next = BTreeSet::new();
    for contact in scope(db, of)? {
        next.extend(first_behind(db, contact, position(reader, contact))?);
    }
    while let Some((place, contact)) = next.pop_first() {
        next.extend(first_behind(db, contact, place)?);
        let Some(row) = db.get::<In>(&place)? else { continue };
        bytes = bytes.saturating_add(row.text.len()).saturating_add(512);
        if batch.messages.len() >= most || (bytes > MAX_BATCH_BYTES && !batch.messages.is_empty()) {
            batch.more = true;
            break;
        }
        let name = db.get::<Contacts>(&row.contact)?.map_or_else(String::new, |row| row.name);
        let received = db.get::<Received>(&(row.contact, row.seq))?;
        batch.messages.push(history::incoming(&name, &row, received.unwrap_or_default()));
        batch.cursor.place = place;
    }
    Ok(batch)
}

/// Acknowledges everything up to `cursor`, in its scope. Never goes back.
pub fn acknowledge(txn: &Txn<'_>, name: &str, cursor: Cursor, now: i64) -> Result<(), StoreError> {
    let mut reader = open(txn, name, false, now)?;
    // Nothing that came after the answer can have been read.
    let up_to = cursor.place.min(newest(txn)?);
    let mut read = Vec::new();
    for contact in scope(txn, cursor.of)? {
        each_unread(txn, &reader, contact, |place, seq| {
            if place > up_to {
                return ControlFlow::Break(());
            }
            read.push((contact, seq));
            ControlFlow::Continue(())
        })?;
    }
    pass(&mut reader, Cursor { place: up_to, ..cursor });
    txn.put::<Readers>(&key(txn, name), &reader)?;
    let mut news = BTreeSet::new();
    for (contact, seq) in read {
        if mark_read(txn, contact, seq, now)? {
            news.insert(contact);
        }
    }
    for contact in news {
        raise_unread(txn, contact)?;
        txn.tell(Fact::Read(contact));
    }
    Ok(())
}

/// Moves the reader's positions in the scope of `cursor` up to it. None goes back.
pub fn pass(reader: &mut ReaderRow, cursor: Cursor) {
    match cursor.of {
        None => {
            reader.all = reader.all.max(cursor.place);
            let all = reader.all;
            reader.of.retain(|position| position.place > all);
        }
        Some(contact) => {
            let place = position(reader, contact).max(cursor.place);
            reader.of.retain(|position| position.contact != contact);
            reader.of.push(Position { contact, place });
        }
    }
}

/// A reader that was not made yet, as it would be made now.
pub fn unmade(db: &impl Read, name: &str, from_start: bool) -> Result<ReaderRow, StoreError> {
    let all = if from_start || name == DEFAULT { 0 } else { newest(db)? };
    Ok(ReaderRow { name: name.to_owned(), all, of: Vec::new(), used_at: 0 })
}

/// Every reader that was made.
pub fn used(db: &impl Read) -> Result<Vec<ReaderRow>, StoreError> {
    Ok(db.list::<Readers>(&())?.into_iter().map(|(_, row)| row).collect())
}

/// Every reader with the number of messages that it has not had. The reader [`DEFAULT`] is one
/// before it was used: it begins with everything.
pub fn list(db: &impl Read) -> Result<Vec<(ReaderRow, u64)>, StoreError> {
    let mut found = Vec::new();
    let mut readers = used(db)?;
    if !readers.iter().any(|row| row.name == DEFAULT) {
        readers.push(unmade(db, DEFAULT, true)?);
    }
    let contacts = contacts_heard(db)?;
    for reader in readers {
        let mut unread = 0_u64;
        if reader.all == 0 && reader.of.is_empty() {
            // One that has had nothing yet, and there may be very much.
            unread = db.count::<Arrivals>()?;
        } else {
            for contact in &contacts {
                unread = unread.saturating_add(count_unread(db, &reader, *contact)?);
            }
        }
        found.push((reader, unread));
    }
    found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    Ok(found)
}

/// Forgets a reader; `false`: there is none of that name.
pub fn forget(txn: &Txn<'_>, name: &str) -> Result<bool, StoreError> {
    let key = key(txn, name);
    let known = txn.get::<Readers>(&key)?.is_some();
    if known {
        txn.delete::<Readers>(&key)?;
    }
    Ok(known)
}

/// Whose messages are meant.
fn scope(db: &impl Read, of: Option<ContactId>) -> Result<Vec<ContactId>, StoreError> {
    of.map_or_else(|| contacts_heard(db), |contact| Ok(vec![contact]))
}

/// The contact's first message behind a place.
fn first_behind(
    db: &impl Read,
    contact: ContactId,
    place: u64,
) -> Result<Option<(u64, ContactId)>, StoreError> {
    let mut found = None;
    let from = (contact, place.saturating_add(1));
    db.each::<Arrivals>(&contact, Some(&from), |(_, place), _| {
        found = Some((place, contact));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Steps over what the reader has not had of a contact: places and `seq`s.
fn each_unread(
    db: &impl Read,
    reader: &ReaderRow,
    contact: ContactId,
    mut step: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let from = (contact, position(reader, contact).saturating_add(1));
    db.each::<Arrivals>(&contact, Some(&from), |(_, place), seq| step(place, seq))
}

/// How many of a contact's the reader has not had.
fn count_unread(db: &impl Read, reader: &ReaderRow, contact: ContactId) -> Result<u64, StoreError> {
    let from = (contact, position(reader, contact).saturating_add(1));
    db.count_from::<Arrivals>(&contact, &from)
}

/// Whether everybody had what came in at `place`: somebody read it, and each of these readers has passed
/// it.
pub fn have_had(
    db: &impl Read,
    readers: &[ReaderRow],
    place: u64,
    entry: Entry,
) -> Result<bool, StoreError> {
    let read = db.get::<Received>(&(entry.contact, entry.seq))?.is_some_and(|row| row.read);
    Ok(read && readers.iter().all(|reader| has_passed(reader, entry.contact, place)))
}

/// Whether a reader has had everything of this contact up to `place`.
fn has_passed(reader: &ReaderRow, contact: ContactId, place: u64) -> bool {
    place <= position(reader, contact)
}

fn position(reader: &ReaderRow, contact: ContactId) -> u64 {
    let own = reader.of.iter().find(|position| position.contact == contact);
    own.map_or(reader.all, |position| position.place.max(reader.all))
}

/// The newest place of all.
pub fn newest(db: &impl Read) -> Result<u64, StoreError> {
    Ok(db.last::<Timeline>(&())?.map_or(0, |(place, _)| place))
}

fn key(db: &impl Read, name: &str) -> [u8; 16] {
    db.sealer().blind("readers", name.as_bytes())
}
