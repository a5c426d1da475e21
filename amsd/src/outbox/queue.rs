//! What the user decides about messages that are not delivered.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ams_wire::id::MessageId;

use super::contacts_with_live;
use super::row::{Live, Out, OutIds, OutState, Waiting};
use super::state::change;
use super::wish::{self, Way};
use crate::contacts::ContactId;
use crate::fact::Fact;
use crate::relay::{RelayId, Relays};
use crate::session::row as session;
use crate::store::{Read, StoreError, Txn};

/// Messages of one contact that change their state in one transaction: more than have room in a window.
pub(super) const MAX_MOVED: usize = 256;

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Keep it until the contact comes online.
    Keep,
    /// Drop it.
    Discard,
    /// Try now.
    Retry,
}

/// A message and where it stands after the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// The message.
    pub id: MessageId,
    /// Its state now.
    pub state: OutState,
}

/// Every message that is not final, of one contact or of all, oldest first within a contact.
pub fn live(
    db: &impl Read,
    contact: Option<ContactId>,
) -> Result<Vec<(ContactId, u64, OutState)>, StoreError> {
    live_from(db, contact, None, usize::MAX)
}

/// The first `most` of them that stand behind `after`.
pub fn live_from(
    db: &impl Read,
    contact: Option<ContactId>,
    after: Option<(ContactId, u64)>,
    most: usize,
) -> Result<Vec<(ContactId, u64, OutState)>, StoreError> {
    let mut found = Vec::new();
    let from = after.map(|(contact, seq)| (contact, seq.saturating_add(1)));
    let mut take = |(contact, seq), state| {
        found.push((contact, seq, state));
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    match contact {
        Some(contact) => db.each::<Live>(&contact, from.as_ref(), &mut take)?,
        None => db.each::<Live>(&(), from.as_ref(), &mut take)?,
    }
    Ok(found)
}

/// Goes over every message that is not final, of one contact or of all, in the order in which they
/// were accepted, from behind the place `after`, until `step` breaks. What is not gone over is not
/// looked at, however many wait.
pub fn in_order<E: From<StoreError>>(
    db: &impl Read,
    contact: Option<ContactId>,
    after: Option<u64>,
    mut step: impl FnMut(ContactId, u64) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let contacts = match contact {
        Some(contact) => vec![contact],
        None => contacts_with_live(db)?,
    };
    // The next one of each contact, by its place. Within a contact, places stand as `seq`s do.
    let mut next = BTreeSet::new();
    for contact in contacts {
        if let Some(seq) = first_behind(db, contact, after)? {
            next.extend(next_of(db, contact, seq)?);
        }
    }
    while let Some((_, contact, seq)) = next.pop_first() {
        if step(contact, seq)?.is_break() {
            break;
        }
        next.extend(next_of(db, contact, seq.saturating_add(1))?);
    }
    Ok(())
}

/// From which `seq` on the contact's messages that are not final stand behind a place. It is looked
/// for by halves: neither what came in meanwhile nor what stands before it is walked over.
fn first_behind(
    db: &impl Read,
    contact: ContactId,
    after: Option<u64>,
) -> Result<Option<u64>, StoreError> {
    let Some(after) = after else { return Ok(Some(0)) };
    let (first, last) = (db.first::<Live>(&contact)?, db.last::<Live>(&contact)?);
    let (Some(((_, first), _)), Some(((_, last), _))) = (first, last) else { return Ok(None) };
    let (mut low, mut high) = (first, last.saturating_add(1));
    while low < high {
        let middle = low.midpoint(high);
        match next_of(db, contact, middle)? {
            Some((place, _, seq)) if place <= after => low = seq.saturating_add(1),
            Some(_) | None => high = middle,
        }
    }
    Ok(Some(low))
}

/// The contact's first message from `seq` on that is not final, with its place.
fn next_of(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
) -> Result<Option<(u64, ContactId, u64)>, StoreError> {
    let mut from = seq;
    loop {
        let mut found = None;
        db.each::<Live>(&contact, Some(&(contact, from)), |(_, seq), _| {
            found = Some(seq);
            ControlFlow::Break(())
        })?;
        let Some(seq) = found else { return Ok(None) };
        if let Some(row) = db.get::<Out>(&(contact, seq))? {
            return Ok(Some((row.place, contact, seq)));
        }
        from = seq.saturating_add(1);
    }
}

/// The messages of that id: one for each contact that it was sent to.
pub fn by_id(db: &impl Read, id: MessageId) -> Result<Vec<(ContactId, u64)>, StoreError> {
    Ok(db.list::<OutIds>(&id)?.into_iter().map(|((_, contact), seq)| (contact, seq)).collect())
}

/// Decides about one message. A final one stays as it is. What the user keeps is kept however often
/// it fails: it is not asked about again.
pub fn decide(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    decision: Decision,
    now: i64,
) -> Result<Option<Decided>, StoreError> {
    if decision == Decision::Keep {
        wish::keep(txn, contact, seq)?;
    }
    let asked = Some("asked by the user");
    change(txn, contact, seq, now, None, asked, |row| match decision {
        _ if row.state.is_final() => None,
        Decision::Keep => (row.state != OutState::Waiting).then_some(OutState::Waiting),
        Decision::Discard => Some(OutState::Discarded),
        Decision::Retry => (!row.state.is_moving()).then_some(OutState::Queued),
    })?;
    let row = txn.get::<Out>(&(contact, seq))?;
    if row.as_ref().is_some_and(|row| row.state == OutState::Queued) {
        txn.tell(Fact::Due(contact));
    }
    Ok(row.map(|row| Decided { id: row.id, state: row.state }))
}

/// What waits for the contact goes out, the oldest first: it is there, at `relay`. What may only go
/// another way waits on. So many at a time that one transaction has room for them: the rest follows
/// with the receipts of these.
pub fn contact_is_there(
    txn: &Txn<'_>,
    contact: ContactId,
    relay: RelayId,
    now: i64,
) -> Result<(), StoreError> {
    if !has_waiting(txn, contact)? {
        return Ok(());
    }
    let one_way = wish::one_way(txn, contact)?;
    let nick = nick(txn, relay)?;
    let may_go = |seq| may_go(one_way.get(&seq), relay, nick.as_deref());
    let mut due = Vec::new();
    txn.each::<Waiting>(&contact, None, |(_, seq), ()| {
        due.extend(may_go(seq).then_some(seq));
        if due.len() < MAX_MOVED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for seq in due {
        goes(txn, contact, seq, now)?;
    }
    txn.tell(Fact::Due(contact));
    Ok(())
}

/// A message that the user keeps goes out at once where the contact is there already, at one of
/// these; answers whether it does.
pub fn goes_at_once(
    txn: &Txn<'_>,
    (contact, seq): (ContactId, u64),
    there: &[RelayId],
    now: i64,
) -> Result<bool, StoreError> {
    let Some(row) = txn.get::<Out>(&(contact, seq))? else { return Ok(false) };
    let only = row.wish.and_then(|wish| wish.only);
    for relay in there {
        if may_go(only.as_ref(), *relay, nick(txn, *relay)?.as_deref()) {
            goes(txn, contact, seq, now)?;
            txn.tell(Fact::Due(contact));
            return Ok(true);
        }
    }
    Ok(false)
}

fn goes(txn: &Txn<'_>, contact: ContactId, seq: u64, now: i64) -> Result<(), StoreError> {
    change(txn, contact, seq, now, None, Some("the contact is there"), |row| {
        (row.state == OutState::Waiting).then_some(OutState::Queued)
    })
}

fn nick(db: &impl Read, relay: RelayId) -> Result<Option<String>, StoreError> {
    Ok(db.get::<Relays>(&relay)?.map(|row| row.nick))
}

/// Whether what may only go `only` this way, or any, may go over `relay`.
fn may_go(only: Option<&Way>, relay: RelayId, nick: Option<&str>) -> bool {
    match only {
        Some(Way::Direct) => relay.is_direct(),
        Some(Way::Relay) => !relay.is_direct(),
        Some(Way::Through(only)) => nick == Some(only.as_str()),
        None => true,
    }
}

/// Whether a message waits for the contact to come online.
pub fn has_waiting(db: &impl Read, contact: ContactId) -> Result<bool, StoreError> {
    Ok(db.first::<Waiting>(&contact)?.is_some())
}

/// Ends everything on its way to a contact that is removed.
pub fn discard_all(txn: &Txn<'_>, contact: ContactId, now: i64) -> Result<(), StoreError> {
    for (_, seq, _) in live(txn, Some(contact))? {
        change(txn, contact, seq, now, None, Some("the contact was removed"), |_| {
            Some(OutState::Discarded)
        })?;
        session::unseal(txn, contact, seq)?;
    }
    Ok(())
}
