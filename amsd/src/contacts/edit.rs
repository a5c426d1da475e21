//! What the user does with a contact.

use ams_crypto::identity::IdentityPublic;
use ams_crypto::safety;
use ams_wire::id::Key;
use ams_wire::to_relay::ToRelay;

use super::row::{self, ContactId, ContactRow, Contacts, PathRow, Stage, Verified};
use super::tell::tell;
use super::{BadName, ask, by_name, check_name, direct, intro};
use crate::fact::Fact;
use crate::outbox::queue;
use crate::peer::offer;
use crate::profile::Me;
use crate::relay::account;
use crate::session::row as session;
use crate::store::{Read, StoreError, Txn};

/// Why a contact stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody has that name.
    #[error("no contact is called {0}")]
    NoSuchContact(String),
    /// The new name is none.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The new name is taken.
    #[error("another contact is called {0}")]
    NameTaken(String),
    /// The contact's key is not known yet.
    #[error("{0} has not answered yet, so there is no key to compare")]
    NoKey(String),
    /// The number is another one.
    #[error("this is not the safety number of {0}")]
    Mismatch(String),
    /// The fingerprint is that of another key than the one that is offered.
    #[error("this is not the fingerprint of the key that is offered for {0}")]
    OtherKey(String),
    /// The key is that of another contact.
    #[error("this key is that of {0} already")]
    IsAnother(String),
}

fn named(txn: &Txn<'_>, name: &str) -> Result<(ContactId, ContactRow), EditError> {
    by_name(txn, name)?.ok_or_else(|| EditError::NoSuchContact(name.to_owned()))
}

/// Gives a contact another name.
pub fn rename(txn: &Txn<'_>, name: &str, new: &str) -> Result<(ContactId, ContactRow), EditError> {
    let (id, before) = named(txn, name)?;
    check_name(new)?;
    if new != name && by_name(txn, new)?.is_some() {
        return Err(EditError::NameTaken(new.to_owned()));
    }
    let after = ContactRow { name: new.to_owned(), ..before.clone() };
    row::put(txn, id, Some(&before), &after)?;
    Ok((id, after))
}

/// Stops, or lets pass again, everything from and to a contact. It is not told.
pub fn set_blocked(
    txn: &Txn<'_>,
    me: &Me,
    name: &str,
    blocked: bool,
    now: i64,
) -> Result<(ContactId, ContactRow), EditError> {
    let (id, before) = named(txn, name)?;
    let after = ContactRow { blocked, ..before.clone() };
    row::put(txn, id, Some(&before), &after)?;
    for path in &after.paths {
        let frame =
            if blocked { ToRelay::Block(path.handle) } else { ToRelay::Unblock(path.handle) };
        tell(txn, path.relay, &frame)?;
    }
    if !blocked {
        ask::make_up(txn, me, id, &before, now)?;
        txn.tell(Fact::Greet(id));
    }
    Ok((id, after))
}

/// Removes a contact, or cancels a request. It is not told; the history stays.
pub fn remove(txn: &Txn<'_>, name: &str, now: i64) -> Result<ContactId, EditError> {
    let (id, before) = named(txn, name)?;
    ask::cancel(txn, &before)?;
    queue::discard_all(txn, id, now)?;
    for path in &before.paths {
        tell(txn, path.relay, &ToRelay::Remove(path.handle))?;
    }
    session::forget(txn, id)?;
    intro::forget_of(txn, &before)?;
    offer::forget(txn, id)?;
    // The key stays: met again, what came from it before is not shown a second time.
    let after = ContactRow {
        stage: Stage::Removed,
        paths: Vec::new(),
        verified: None,
        offered: None,
        offered_at: Vec::new(),
        ..before.clone()
    };
    row::put(txn, id, Some(&before), &after)?;
    Ok(id)
}

/// The safety number of a contact; `confirm` is what the other side reads out, and records that
/// the two are one. Where another key was offered, the number is that key's, and a confirmation
/// accepts it: the contact is asked for keys anew.
pub fn verify(
    txn: &Txn<'_>,
    me: &Me,
    name: &str,
    confirm: Option<&str>,
    now: i64,
) -> Result<(ContactRow, String), EditError> {
    let (id, before) = named(txn, name)?;
    let key = before.offered.or(before.identity);
    let theirs = key.and_then(|key| IdentityPublic::from_bytes(key.0).ok());
    let theirs = theirs.ok_or_else(|| EditError::NoKey(name.to_owned()))?;
    let number = safety::safety_number(me.public(), &theirs);
    let Some(read_out) = confirm else { return Ok((before, number.digits().to_owned())) };
    if !number.is(read_out) {
        return Err(EditError::Mismatch(name.to_owned()));
    }
    let verified = Some(Verified::Number);
    let after = ContactRow { verified, identity: key, ..before.clone() };
    let after = go_on_with(txn, me, id, &before, after, now)?;
    Ok((after, number.digits().to_owned()))
}

/// Accepts the key that is offered for a contact, which must be the one with this fingerprint: the
/// contact is asked for keys anew. It is not verified by that: the fingerprint may come from where
/// the key did. The same again changes nothing.
pub fn trust(
    txn: &Txn<'_>,
    me: &Me,
    name: &str,
    fingerprint: &str,
    now: i64,
) -> Result<(ContactId, ContactRow), EditError> {
    let (id, before) = named(txn, name)?;
    let other = || EditError::OtherKey(name.to_owned());
    let given = IdentityPublic::from_fingerprint(fingerprint).map_err(|_| other())?;
    let given = Some(Key(*given.as_bytes()));
    match before.offered {
        None if before.identity == given => Ok((id, before)),
        Some(_) if before.offered == given => {
            let after = ContactRow { verified: None, identity: given, ..before.clone() };
            Ok((id, go_on_with(txn, me, id, &before, after, now)?))
        }
        None | Some(_) => Err(other()),
    }
}

/// The user decided which key is the contact's. Where it is the one that was offered, nothing more
/// is sealed for the other, and what has no receipt is sealed anew.
fn go_on_with(
    txn: &Txn<'_>,
    me: &Me,
    id: ContactId,
    before: &ContactRow,
    mut after: ContactRow,
    now: i64,
) -> Result<ContactRow, EditError> {
    (after.offered, after.offered_at) = (None, Vec::new());
    if before.offered.is_some() {
        direct::meet_anew(txn, &mut after)?;
        take_in(txn, id, &mut after)?;
    }
    row::put(txn, id, Some(before), &after)?;
    if before.offered.is_none() {
        return Ok(after);
    }
    // Those that waited for this decision.
    txn.tell(Fact::Hooks);
    session::retire(txn, id, now)?;
    session::forget(txn, id)?;
    ask::cancel(txn, &after)?;
    // Whoever that is offers anew.
    offer::forget(txn, id)?;
    offer::align(txn, id)?;
    let after = txn.get::<Contacts>(&id)?.unwrap_or(after);
    let is_open = |path: &&PathRow| !(path.missing && path.relay.is_direct());
    for path in after.paths.iter().filter(is_open) {
        if let Some(relay) = account(txn, me, path.relay)? {
            ask::ask(txn, me, (path.relay, &relay), id, &after, now)?;
        }
    }
    Ok(after)
}

/// Whoever has the contact's new key may have been met directly before the user decided, and has not answered
/// yet: that way is the contact's now. With anybody else there may be more than a way, and it is the
/// user's to say which of the two stays.
fn take_in(txn: &Txn<'_>, id: ContactId, contact: &mut ContactRow) -> Result<(), EditError> {
    let Some(identity) = contact.identity else { return Ok(()) };
    for (other, theirs) in row::with_identity(txn, identity)? {
        if other == id || theirs.stage == Stage::Removed {
            continue;
        }
        let [path] = &theirs.paths[..] else { return Err(EditError::IsAnother(theirs.name)) };
        if !path.relay.is_direct() || theirs.stage != Stage::Asked {
            return Err(EditError::IsAnother(theirs.name));
        }
        ask::cancel(txn, &theirs)?;
        direct::add_path(txn, contact, path.clone())?;
        contact.verified = contact.verified.or(theirs.verified);
        let gone = ContactRow { stage: Stage::Removed, paths: Vec::new(), ..theirs.clone() };
        row::put(txn, other, Some(&theirs), &gone)?;
    }
    Ok(())
}
