//! What holds between the rows of a profile after every commit.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::contacts::ContactId;
use crate::contacts::row::{Contacts, Handles, Names};
use crate::inbox::row::{In, InIds, InRow, Known, Received};
use crate::outbox::row::{Live, Out, OutIds, OutState, Texts, Waiting};
use crate::profile;
use crate::session::row::{Ciphers, Roots};
use crate::store::{Read, StoreError, Table};
use crate::timeline::{Arrivals, ByContact, Direction, Entry, Timeline};

/// Faults that are named: whoever has that many does not read more.
pub(super) const MAX_FAULTS: usize = 20;

/// Everything that does not fit together, in words.
pub(super) fn broken(db: &impl Read) -> Result<Vec<String>, StoreError> {
    let mut faults = Vec::new();
    names(db, &mut faults)?;
    places(db, &mut faults)?;
    messages_out(db, &mut faults)?;
    messages_in(db, &mut faults)?;
    ciphertexts(db, &mut faults)?;
    faults.truncate(MAX_FAULTS);
    Ok(faults)
}

/// Walks over a table until there are faults enough.
fn each<T: Table>(
    db: &impl Read,
    faults: &mut Vec<String>,
    mut fault: impl FnMut(T::Key, T::Row) -> Result<Option<String>, StoreError>,
) -> Result<(), StoreError> {
    let mut failed = None;
    db.each::<T>(&(), None, |key, row| {
        match fault(key, row) {
            Ok(fault) => faults.extend(fault),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        if faults.len() < MAX_FAULTS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Whoever has a name or a handle is there.
fn names(db: &impl Read, faults: &mut Vec<String>) -> Result<(), StoreError> {
    each::<Names>(db, faults, |_, contact| {
        let lost = db.get::<Contacts>(&contact)?.is_none();
        Ok(lost.then(|| format!("a name is of contact {contact}, who is not there")))
    })?;
    each::<Handles>(db, faults, |_, contact| {
        let lost = db.get::<Contacts>(&contact)?.is_none();
        Ok(lost.then(|| format!("a handle is of contact {contact}, who is not there")))
    })
}

/// The timeline and that of each contact are one, and every message in them is there.
fn places(db: &impl Read, faults: &mut Vec<String>) -> Result<(), StoreError> {
    // An earlier layout has no arrivals; the next start makes them.
    let has_arrivals = profile::layout(db)? >= 3;
    each::<Timeline>(db, faults, |place, entry| {
        if db.get::<ByContact>(&(entry.contact, place))? != Some(entry) {
            return Ok(Some(format!("place {place} is not among those of its contact")));
        }
        let arrived = (entry.direction == Direction::In).then_some(entry.seq);
        if has_arrivals && db.get::<Arrivals>(&(entry.contact, place))? != arrived {
            return Ok(Some(format!("place {place} is not among the arrivals as it should be")));
        }
        let is_there = match entry.direction {
            Direction::In => db.get::<In>(&place)?.is_some_and(|row| row.seq == entry.seq),
            Direction::Out => {
                let row = db.get::<Out>(&(entry.contact, entry.seq))?;
                row.is_some_and(|row| row.place == place)
            }
        };
        Ok((!is_there).then(|| format!("the message of place {place} is not there")))
    })?;
    each::<ByContact>(db, faults, |(contact, place), entry| {
        let fits = entry.contact == contact && db.get::<Timeline>(&place)? == Some(entry);
        Ok((!fits).then(|| format!("place {place} of contact {contact} is not in the timeline")))
    })?;
    each::<Arrivals>(db, faults, |(contact, place), _| {
        let lost = db.get::<Timeline>(&place)?.is_none();
        Ok(lost.then(|| format!("what arrived of contact {contact} at {place} is not there")))
    })
}

/// What is queued is what is not final, and what is to be said is there.
fn messages_out(db: &impl Read, faults: &mut Vec<String>) -> Result<(), StoreError> {
    each::<Out>(db, faults, |at @ (contact, seq), row| {
        let what = || format!("message {seq} to contact {contact}");
        if db.get::<Texts>(&at)?.is_none() {
            return Ok(Some(format!("{} has no text", what())));
        }
        if db.get::<OutIds>(&(row.id, contact))? != Some(seq) {
            return Ok(Some(format!("{} is not found by its id", what())));
        }
        let expected = (!row.state.is_final()).then_some(row.state);
        let waits = row.state == OutState::Waiting;
        let fits = db.get::<Live>(&at)? == expected && db.get::<Waiting>(&at)?.is_some() == waits;
        Ok((!fits).then(|| format!("{} is not in the queue as its state says", what())))
    })?;
    each::<Live>(db, faults, |at @ (contact, seq), _| {
        let lost = db.get::<Out>(&at)?.is_none();
        Ok(lost.then(|| format!("message {seq} to contact {contact} is queued and not there")))
    })
}

/// What came in is known to have come, and is found.
fn messages_in(db: &impl Read, faults: &mut Vec<String>) -> Result<(), StoreError> {
    each::<In>(db, faults, |place, row| {
        let (contact, id) = (row.contact, row.id);
        let entry = Entry { contact, direction: Direction::In, seq: row.seq };
        let fits = db.get::<Timeline>(&place)? == Some(entry)
            && db.get::<InIds>(&(id, contact))? == Some(place)
            && db.get::<Received>(&(contact, row.seq))?.is_some()
            && is_remembered(db, &row)?;
        Ok((!fits).then(|| format!("message {id} from contact {contact} is not noted everywhere")))
    })
}

/// Its id is known, or old enough to be forgotten.
fn is_remembered(db: &impl Read, row: &InRow) -> Result<bool, StoreError> {
    let forgotten = db.get::<Contacts>(&row.contact)?.map_or(0, |contact| contact.known_from);
    Ok(row.seq < forgotten || db.get::<Known>(&(row.contact, row.id))?.is_some())
}

/// No counter is beyond what its root says was used: its key would be used twice.
fn ciphertexts(db: &impl Read, faults: &mut Vec<String>) -> Result<(), StoreError> {
    let mut sealed: BTreeSet<(ContactId, u64)> = BTreeSet::new();
    each::<Ciphers>(db, faults, |(contact, root, ctr), cipher| {
        let used = db.get::<Roots>(&(contact, root))?.map_or(0, |root| root.next_ctr);
        if ctr >= used {
            return Ok(Some(format!("envelope {ctr} to contact {contact} is of no root")));
        }
        let Some(seq) = cipher.seq else { return Ok(None) };
        let lost = db.get::<Texts>(&(contact, seq))?.is_none();
        let twice = !sealed.insert((contact, seq));
        Ok((lost || twice)
            .then(|| format!("message {seq} to contact {contact} is sealed twice or not there")))
    })
}
