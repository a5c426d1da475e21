//! What was said, both ways: looked up and deleted here, never anywhere else.

use std::ops::ControlFlow;

use ams_rpc::types::{Direction as Way, HistoryCleared, Message, MessageId, State, Time};

use super::row::{In, InIds, InRow, Received, ReceivedRow};
use super::{reader, unread};
use crate::contacts::ContactId;
use crate::hooks::jobs as hooks;
use crate::outbox::{ids, row as out, show};
use crate::store::{Read, StoreError, Txn};
use crate::tally::{self, Tally};
use crate::timeline::{self, ByContact, Direction, Entry, Timeline};

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// With this contact, or with all.
    pub contact: Option<ContactId>,
    /// Only messages whose text or title has this in it, whatever the case of its letters.
    pub search: Option<String>,
    /// Only what lies before this place.
    pub before: Option<u64>,
}

/// Goes over the messages that `query` asks for, newest first, until `step` breaks.
pub fn find(
    db: &impl Read,
    query: &Query,
    mut step: impl FnMut(Message) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let wanted = query.search.as_ref().map(|text| text.to_lowercase());
    let mut failed = None;
    let mut look = |place: u64, entry: Entry| match message(db, place, entry, wanted.as_deref()) {
        Ok(Some(message)) => step(message),
        Ok(None) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    };
    match query.contact {
        None => db.each_back::<Timeline>(&(), query.before.as_ref(), &mut look)?,
        Some(contact) => {
            let below = query.before.map(|place| (contact, place));
            db.each_back::<ByContact>(&contact, below.as_ref(), |(_, place), entry| {
                look(place, entry)
            })?;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Whether a message has `wanted` in it, which is in lower case.
fn matches(text: &str, title: Option<&str>, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return true };
    let has = |text: &str| text.to_lowercase().contains(wanted);
    has(text) || title.is_some_and(has)
}

/// The message at `place`, if it is there and has `wanted` in it. What it says is looked at before
/// anything else of it: of most messages nothing else is wanted.
fn message(
    db: &impl Read,
    place: u64,
    entry: Entry,
    wanted: Option<&str>,
) -> Result<Option<Message>, StoreError> {
    match entry.direction {
        Direction::Out => {
            let says = db.get::<out::Texts>(&(entry.contact, entry.seq))?;
            if says.is_some_and(|row| matches(&row.text, row.title.as_deref(), wanted)) {
                return show::message(db, entry.contact, entry.seq);
            }
        }
        Direction::In => {
            let says = db.get::<In>(&place)?;
            if let Some(row) = says.filter(|row| matches(&row.text, row.title.as_deref(), wanted)) {
                return shown(db, &row).map(Some);
            }
        }
    }
    Ok(None)
}

/// The received message at `place`; `None` when it was deleted.
pub fn received(db: &impl Read, place: u64) -> Result<Option<Message>, StoreError> {
    db.get::<In>(&place)?.map(|row| shown(db, &row)).transpose()
}

fn shown(db: &impl Read, row: &InRow) -> Result<Message, StoreError> {
    let name = db.get::<crate::contacts::Contacts>(&row.contact)?;
    let read = db.get::<Received>(&(row.contact, row.seq))?.unwrap_or_default();
    Ok(incoming(name.as_ref().map_or("", |row| row.name.as_str()), row, read))
}

/// A received message as the user sees it.
pub fn incoming(name: &str, row: &InRow, received: ReceivedRow) -> Message {
    Message {
        id: MessageId(row.id.0),
        contact: name.to_owned(),
        contact_id: row.contact.to_string(),
        direction: Way::In,
        from: name.to_owned(),
        to: show::ME.to_owned(),
        body: row.text.clone(),
        state: if received.read { State::Read } else { State::Delivered },
        time_sent: Time::from_millis(row.sent_at),
        time_received: Some(Time::from_millis(row.received_at)),
        verified: row.verified,
        via: Some(row.via.clone()),
        reply_to: row.reply_to.map(|id| MessageId(id.0)),
        title: row.title.clone(),
        priority: row.priority,
        tags: row.tags.clone(),
        choices: row.choices.clone(),
    }
}

/// Places of what came from this contact behind the place `after`.
pub fn came_after(db: &impl Read, contact: ContactId, after: u64) -> Result<Vec<u64>, StoreError> {
    let mut places = Vec::new();
    let from = (contact, after.saturating_add(1));
    db.each::<ByContact>(&contact, Some(&from), |(_, place), entry| {
        if entry.direction == Direction::In {
            places.push(place);
        }
        ControlFlow::Continue(())
    })?;
    Ok(places)
}

/// Places in the timeline of the messages of that id, received or sent.
pub fn places(
    db: &impl Read,
    id: ams_wire::id::MessageId,
) -> Result<Vec<(u64, Entry)>, StoreError> {
    let mut found = Vec::new();
    for (_, place) in db.list::<InIds>(&id)? {
        found.extend(db.get::<Timeline>(&place)?.map(|entry| (place, entry)));
    }
    for ((_, contact), seq) in db.list::<out::OutIds>(&id)? {
        if let Some(row) = db.get::<out::Out>(&(contact, seq))? {
            found.push((row.place, Entry { contact, direction: Direction::Out, seq }));
        }
    }
    Ok(found)
}

/// Deletes one message here. One that is on its way stays: it has to be discarded first.
///
/// `false`: it stayed.
pub fn delete(txn: &Txn<'_>, place: u64, entry: Entry) -> Result<bool, StoreError> {
    let at = (entry.contact, entry.seq);
    match entry.direction {
        Direction::In => {
            if let Some(row) = txn.get::<In>(&place)? {
                txn.delete::<InIds>(&(row.id, row.contact))?;
            }
            txn.delete::<In>(&place)?;
            if let Some(received) = txn.get::<Received>(&at)? {
                if !received.read {
                    unread::note(txn, entry.contact, entry.seq)?;
                }
                txn.delete::<Received>(&at)?;
                tally::less(txn, Tally::Kept)?;
            }
            super::raise_unread(txn, entry.contact)?;
        }
        Direction::Out => {
            if txn.get::<out::Live>(&at)?.is_some() {
                return Ok(false);
            }
            if let Some(row) = txn.get::<out::Out>(&at)? {
                // Whoever asks by its id is told how it ended.
                txn.put::<out::Ends>(&(row.id, entry.contact), &row.state)?;
                ids::outlive(txn, row.id, entry.contact, row.accepted_at)?;
            }
            txn.delete::<out::Out>(&at)?;
            txn.delete::<out::Texts>(&at)?;
        }
    }
    hooks::forget(txn, place)?;
    timeline::remove(txn, entry.contact, place)?;
    Ok(true)
}

/// Deletes everything with one contact that is not on its way.
pub fn clear(txn: &Txn<'_>, contact: ContactId) -> Result<HistoryCleared, StoreError> {
    let mut cleared = HistoryCleared { removed: 0, unread: 0 };
    let readers = reader::used(txn)?;
    for ((_, place), entry) in txn.list::<ByContact>(&contact)? {
        let unread = match entry.direction {
            Direction::In => !reader::have_had(txn, &readers, place, entry)?,
            Direction::Out => false,
        };
        if delete(txn, place, entry)? {
            cleared.removed = cleared.removed.saturating_add(1);
            cleared.unread = cleared.unread.saturating_add(u64::from(unread));
        }
    }
    Ok(cleared)
}
