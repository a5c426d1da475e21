//! An envelope comes in.
//!
//! 1. find the contact by the handle, and open the envelope on a copy of its ratchet
//! 2. take what its receipt state says of our messages
//! 3. keep its message, unless it was kept before
//!
//! All in one transaction; the link acknowledges after the commit.

use ams_rpc::types::{ContactFact, Fact as Event, ReceivedFact};
use ams_wire::aside::Aside;
use ams_wire::body::{Body, KIND_QUESTION};
use ams_wire::id::{Handle, PingToken};

use super::row::{In, InIds, InRow, Known, KnownRow, Received, ReceivedRow};
use super::{history, known, unread};
use crate::contacts::{self, ContactId, ContactRow, Stage};
use crate::fact::Fact;
use crate::hooks::jobs as hooks;
use crate::outbox::{queue, state};
use crate::peer::offer;
use crate::profile::Me;
use crate::relay::{self, RelayId};
use crate::session::open::{Opened, Opening};
use crate::session::row::retire;
use crate::session::seal::CipherKey;
use crate::store::{Read, StoreError, Txn};
use crate::tally::{self, Tally};
use crate::timeline::{self, Direction};

/// What the router should do about an envelope that was handled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Whose it was; `None`: nobody's, or unreadable.
    pub from: Option<ContactId>,
    /// It came as this contact's, and none of the keys that the two have opens it.
    pub unreadable: Option<ContactId>,
    /// A receipt is owed now.
    pub owes_receipt: bool,
    /// The contact asked for one.
    pub answer: bool,
    /// The contact wants this to be said back.
    pub ping: Option<PingToken>,
    /// What we wanted to be said back.
    pub pong: Option<PingToken>,
    /// The ratchets have parted.
    pub renew: bool,
    /// What of ours has a receipt now.
    pub receipted: Vec<CipherKey>,
}

/// What came over one link.
#[derive(Clone, Copy)]
pub struct Came<'a> {
    /// Who we are.
    pub me: &'a Me,
    /// Over which relay.
    pub relay: RelayId,
    /// Its name here.
    pub nick: &'a str,
    /// When, milliseconds since 1970.
    pub now: i64,
}

/// Handles envelopes in the order in which they came, each with our handle of its sender. Also a
/// duplicate, a forged or an unreadable one is handled: nothing is gained by seeing it again.
pub fn accept<'a>(
    txn: &Txn<'_>,
    came: Came<'_>,
    envelopes: impl Iterator<Item = (Handle, &'a [u8])>,
) -> Result<Vec<Accepted>, StoreError> {
    let mut all = Vec::new();
    let mut opening: Option<(Handle, Opening)> = None;
    for (handle, envelope) in envelopes {
        if opening.as_ref().is_none_or(|(of, _)| *of != handle) {
            if let Some((_, done)) = opening.take() {
                done.close(txn)?;
            }
            opening = begin(txn, came, handle)?.map(|opening| (handle, opening));
        }
        let opened = match &mut opening {
            Some((_, opening)) => {
                opening.open(txn, came.me, envelope)?.map(|o| (opening.contact(), o))
            }
            None => None,
        };
        let Some((id, opened)) = opened else {
            let unreadable = opening.as_ref().map(|(_, opening)| opening.contact());
            all.push(Accepted { unreadable, ..Accepted::default() });
            continue;
        };
        if opened.cloned {
            if let Some((_, done)) = opening.take() {
                done.close(txn)?;
            }
            retire(txn, id, came.now)?;
        }
        all.push(take(txn, came, id, opened)?);
    }
    if let Some((_, done)) = opening {
        done.close(txn)?;
    }
    if all.iter().any(|accepted| accepted.from.is_some()) {
        relay::raise_mark(txn, came.relay)?;
    }
    Ok(all)
}

/// The roots of the contact behind `handle`, if anything may be taken from it.
fn begin(txn: &Txn<'_>, came: Came<'_>, handle: Handle) -> Result<Option<Opening>, StoreError> {
    match contacts::by_handle(txn, came.relay, handle)? {
        Some((id, contact)) if contact.is_open() && !contact.is_in_doubt(came.relay) => {
            Opening::begin(txn, id, &contact)
        }
        _ => Ok(None),
    }
}

fn take(
    txn: &Txn<'_>,
    came: Came<'_>,
    id: ContactId,
    opened: Opened,
) -> Result<Accepted, StoreError> {
    let via = came.relay.via(came.nick);
    take_receipts(txn, id, &opened, &via, came.now)?;
    if opened.first_under_root {
        activate(txn, id)?;
    }
    queue::contact_is_there(txn, id, came.relay, came.now)?;
    if let Some(Aside::Direct(offered)) = opened.aside {
        offer::take(txn, id, offered, came.now)?;
    }
    if let Some(body) = opened.body {
        keep(txn, id, &via, body, came.now)?;
    }
    Ok(Accepted {
        from: Some(id),
        unreadable: None,
        owes_receipt: opened.taken || opened.duplicate,
        answer: opened.answer,
        ping: opened.ping,
        pong: opened.pong,
        renew: opened.renew || opened.cloned,
        receipted: opened.receipted,
    })
}

fn take_receipts(
    txn: &Txn<'_>,
    id: ContactId,
    opened: &Opened,
    via: &str,
    now: i64,
) -> Result<(), StoreError> {
    for &seq in &opened.delivered {
        state::delivered(txn, id, seq, via, now)?;
    }
    for &key in &opened.taken_without {
        offer::was_taken(txn, key)?;
    }
    for &seq in &opened.passed_over {
        state::passed_over(txn, id, seq)?;
    }
    for &seq in &opened.unsealed {
        state::requeue(txn, id, seq, "sealed anew after a renewal", now)?;
    }
    if let Some(window) = &opened.read {
        state::read(txn, id, (window, &opened.unread), &opened.delivered, now)?;
    }
    if !opened.receipted.is_empty() || !opened.passed_over.is_empty() || !opened.unsealed.is_empty()
    {
        // There may be room now for what waits its turn.
        txn.tell(Fact::Due(id));
    }
    Ok(())
}

/// The first envelope of a contact that we approved: it has the keys.
fn activate(txn: &Txn<'_>, id: ContactId) -> Result<(), StoreError> {
    let Some(before) = txn.get::<contacts::Contacts>(&id)? else { return Ok(()) };
    if before.stage != Stage::Approved {
        return Ok(());
    }
    let row = ContactRow { stage: Stage::Active, ..before.clone() };
    contacts::put(txn, id, Some(&before), &row)?;
    txn.tell(Fact::event(Event::ContactApproved(ContactFact {
        contact: row.name,
        contact_id: id.to_string(),
        verified: row.verified.is_some(),
    })));
    txn.tell(Fact::Due(id));
    Ok(())
}

fn keep(txn: &Txn<'_>, id: ContactId, via: &str, body: Body, now: i64) -> Result<(), StoreError> {
    let Some(mut contact) = txn.get::<contacts::Contacts>(&id)? else { return Ok(()) };
    if known::is_known(txn, id, &contact, &body, now)? {
        return Ok(());
    }
    let their_low = known::their_low(&contact, &body);
    let place = timeline::append(txn, id, Direction::In, body.seq)?;
    let message = InRow {
        contact: id,
        id: body.id,
        seq: body.seq,
        sent_at: body.sent_at,
        received_at: now,
        via: via.to_owned(),
        verified: contact.verified.is_some(),
        text: body.text,
        reply_to: body.reply_to,
        title: body.title,
        priority: body.priority,
        tags: body.tags.unwrap_or_default(),
        choices: (body.kind == KIND_QUESTION).then(|| body.choices.unwrap_or_default()),
    };
    txn.put::<In>(&place, &message)?;
    txn.put::<Known>(&(id, body.id), &KnownRow { seq: body.seq, at: now, place })?;
    txn.put::<InIds>(&(body.id, id), &place)?;
    if txn.get::<Received>(&(id, body.seq))?.is_none() {
        tally::more(txn, Tally::Kept)?;
    }
    txn.put::<Received>(&(id, body.seq), &ReceivedRow::default())?;
    unread::forget(txn, id, body.seq)?;
    let lowest = body.seq < contact.unread_from || contact.unread_from == 0;
    if lowest {
        contact.unread_from = body.seq;
    }
    if let Some(low) = their_low {
        contact.their_low = low;
    }
    if lowest || their_low.is_some() {
        txn.put::<contacts::Contacts>(&id, &contact)?;
    }
    hooks::received(txn, place, &contact, &message)?;
    txn.tell(Fact::Arrived);
    let shown = history::incoming(&contact.name, &message, ReceivedRow::default());
    txn.tell(Fact::event(Event::MessageReceived(ReceivedFact { message: shown })));
    Ok(())
}
