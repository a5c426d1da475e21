//! An envelope comes in.
//!
//! 1. find the contact by the handle, and open the envelope on a copy of its ratchet
//! 2. take what its receipt state says of our messages
//! 3. keep its message, unless it was kept before
//!
//! All in one transaction; the link acknowledges after the commit.

use ams_rpc::types::{ContactFact, Fact as Event, ReceivedFact};
use ams_wire::body::Body;
use ams_wire::id::Handle;

use super::row::{In, InIds, InRow, Known, KnownRow, Received, ReceivedRow};
use super::{history, row};
use crate::contacts::{self, ContactId, ContactRow, Stage};
use crate::fact::Fact;
use crate::outbox::{queue, state};
use crate::profile::Me;
use crate::relay::{self, RelayId};
use crate::session::open::{self, Opened};
use crate::session::row::retire;
use crate::session::seal::CipherKey;
use crate::store::{Read, StoreError, Txn};
use crate::timeline::{self, Direction};

/// What the router should do about an envelope that was handled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Whose it was; `None`: nobody's, or unreadable.
    pub from: Option<ContactId>,
    /// A receipt is owed now.
    pub owes_receipt: bool,
    /// The contact asked for one.
    pub answer: bool,
    /// The ratchets have parted.
    pub renew: bool,
    /// What of ours has a receipt now.
    pub receipted: Vec<CipherKey>,
}

/// Handles one envelope that came over `relay` for `handle`. Also a duplicate, a forged or an
/// unreadable one is handled: nothing is gained by seeing it again.
pub fn accept(
    txn: &Txn<'_>,
    me: &Me,
    relay: RelayId,
    nick: &str,
    handle: Handle,
    envelope: &[u8],
    now: i64,
) -> Result<Accepted, StoreError> {
    let Some((id, contact)) = contacts::by_handle(txn, relay, handle)? else {
        return Ok(Accepted::default());
    };
    if !contact.is_open() {
        return Ok(Accepted::default());
    }
    let Some(opened) = open::open(txn, me, id, &contact, envelope)? else {
        return Ok(Accepted::default());
    };
    relay::raise_mark(txn, relay)?;
    if opened.cloned {
        retire(txn, id, now)?;
    }
    take_receipts(txn, id, &opened, now)?;
    if opened.first_under_root && contact.stage == Stage::Approved {
        activate(txn, id, &contact)?;
    }
    queue::contact_is_there(txn, id, now)?;
    if let Some(body) = opened.body {
        keep(txn, id, &format!("relay:{nick}"), body, now)?;
    }
    Ok(Accepted {
        from: Some(id),
        owes_receipt: opened.taken || opened.duplicate,
        answer: opened.answer,
        renew: opened.renew || opened.cloned,
        receipted: opened.receipted,
    })
}

fn take_receipts(
    txn: &Txn<'_>,
    id: ContactId,
    opened: &Opened,
    now: i64,
) -> Result<(), StoreError> {
    for &seq in &opened.delivered {
        state::delivered(txn, id, seq, now)?;
    }
    for &seq in &opened.passed_over {
        state::passed_over(txn, id, seq)?;
    }
    for &seq in &opened.unsealed {
        state::requeue(txn, id, seq, "sealed anew after a renewal", now)?;
    }
    if let Some(window) = &opened.read {
        state::read(txn, id, window, &opened.delivered, now)?;
    }
    if !opened.receipted.is_empty() || !opened.passed_over.is_empty() || !opened.unsealed.is_empty()
    {
        // There may be room now for what waits its turn.
        txn.tell(Fact::Due(id));
    }
    Ok(())
}

fn activate(txn: &Txn<'_>, id: ContactId, before: &ContactRow) -> Result<(), StoreError> {
    let row = ContactRow { stage: Stage::Active, ..before.clone() };
    contacts::put(txn, id, Some(before), &row)?;
    txn.tell(Fact::event(Event::ContactApproved(ContactFact {
        contact: row.name,
        contact_id: id.to_string(),
        verified: row.verified.is_some(),
    })));
    txn.tell(Fact::Due(id));
    Ok(())
}

fn keep(txn: &Txn<'_>, id: ContactId, via: &str, body: Body, now: i64) -> Result<(), StoreError> {
    if txn.get::<Known>(&(id, body.id))?.is_some() {
        return Ok(());
    }
    let Some(mut contact) = txn.get::<contacts::Contacts>(&id)? else { return Ok(()) };
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
    };
    txn.put::<In>(&place, &message)?;
    txn.put::<Known>(&(id, body.id), &KnownRow { seq: body.seq, at: now, place })?;
    txn.put::<InIds>(&(body.id, id), &place)?;
    txn.put::<Received>(&(id, body.seq), &ReceivedRow { read: false })?;
    if body.seq < contact.unread_from || contact.unread_from == 0 {
        contact.unread_from = body.seq;
        txn.put::<contacts::Contacts>(&id, &contact)?;
    }
    txn.tell(Fact::Arrived);
    let shown = history::incoming(&contact.name, &message, row::ReceivedRow { read: false });
    txn.tell(Fact::event(Event::MessageReceived(ReceivedFact { message: shown })));
    Ok(())
}
