//! A message becomes an envelope when its turn comes: in the order of acceptance, as many as the
//! window has room for.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ams_wire::body::{Body, KIND_QUESTION, KIND_TEXT};
use ams_wire::id::WorkMark;

use super::queue::MAX_MOVED;
use super::row::{Out, OutRow, Queued, Texts};
use super::wish::seconds_left;
use super::{MAX_SPAN, low, state};
use crate::contacts::{ContactId, ContactRow};
use crate::peer::offer;
use crate::profile::Me;
use crate::relay::RelayId;
use crate::router::path::{Route, Routes};
use crate::session::row::{CipherRow, Envelopes};
use crate::session::seal::{CipherKey, Desk, Room};
use crate::settings::Undeliverable;
use crate::store::{Read, StoreError, Table, Txn};

/// The device that a profile is at its relays; there is one.
const DEVICE: u32 = 1;

/// An envelope that may leave: its ciphertext is on disk.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it is kept.
    pub key: CipherKey,
    /// Which way it goes.
    pub route: Route,
    /// Seconds until the relay is to give up; 0: when its window ends.
    pub ttl: u32,
    /// The bytes, the same every time.
    pub envelope: Vec<u8>,
    /// The work mark as of sealing, where it was sealed for this relay.
    pub mark: WorkMark,
}

/// Seals what is next for the contact, each for the way that it goes.
pub fn seal_due(
    txn: &Txn<'_>,
    me: &Me,
    desk: &mut Desk,
    row: &ContactRow,
    routes: &Routes,
    tell_read: bool,
    now: i64,
) -> Result<Vec<Outgoing>, StoreError> {
    let Room::For(slots) = desk.room() else { return Ok(Vec::new()) };
    let contact = desk.contact();
    let lowest = low(txn, contact, row.next_seq)?;
    let (mut contents, mut ends) = (BTreeMap::<Route, Vec<_>>::new(), BTreeMap::new());
    for seq in next_queued(txn, desk, routes, slots)? {
        if seq.saturating_sub(lowest) >= MAX_SPAN {
            break;
        }
        let Some(route) = routes.of(Some(seq)) else { continue };
        let out = txn.get::<Out>(&(contact, seq))?.ok_or_else(damaged)?;
        ends.insert(seq, seconds_left(out.wish.as_ref(), now));
        let plaintext = plaintext(txn, contact, seq, lowest, &out)?;
        contents.entry(route).or_default().push((Some(seq), plaintext));
    }
    let mut found = Vec::new();
    for (route, contents) in contents {
        let sealed = desk.seal(txn, me, row, route.relay, &contents, tell_read)?;
        found.extend(sealed.into_iter().map(|new| {
            let ttl = new.cipher.seq.and_then(|seq| ends.get(&seq)).copied().unwrap_or(0);
            outgoing(new.key, &new.cipher, new.envelope, route, ttl)
        }));
    }
    Ok(found)
}

/// Seals a full empty envelope: a step for the ratchet, and a question whether anybody is there.
/// The one that is out already, where there is one, is that question. `None`: nothing can be
/// sealed.
pub fn probe(
    txn: &Txn<'_>,
    me: &Me,
    desk: &mut Desk,
    row: &ContactRow,
    route: Route,
    tell_read: bool,
) -> Result<Option<Outgoing>, StoreError> {
    if desk.empty_out().is_some() {
        return Ok(None);
    }
    let sealed = desk.seal(txn, me, row, route.relay, &[(None, Vec::new())], tell_read)?;
    Ok(sealed.into_iter().next().map(|new| outgoing(new.key, &new.cipher, new.envelope, route, 0)))
}

/// Seals what this daemon has to say to the contact's daemon, where there is something: without a
/// message, as a probe is, and the question that a probe asks with it.
pub fn aside(
    txn: &Txn<'_>,
    me: &Me,
    desk: &mut Desk,
    row: &ContactRow,
    route: Route,
    tell_read: bool,
) -> Result<Option<Outgoing>, StoreError> {
    let Some((number, plaintext)) = offer::due(txn, desk)? else { return Ok(None) };
    let sealed = desk.seal(txn, me, row, route.relay, &[(None, plaintext)], tell_read)?;
    let Some(new) = sealed.into_iter().next() else { return Ok(None) };
    offer::was_told(txn, number, new.key)?;
    Ok(Some(outgoing(new.key, &new.cipher, new.envelope, route, 0)))
}

/// What is on its way, has no receipt, and was not `handed` to the relay over which it goes now, in
/// order: it goes first.
pub fn unreceipted(
    db: &impl Read,
    desk: &Desk,
    routes: &Routes,
    handed: &BTreeMap<CipherKey, RelayId>,
    now: i64,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut found = Vec::new();
    for (key, cipher) in desk.ciphers() {
        let Some(route) = routes.of(cipher.seq) else { continue };
        if handed.get(key) == Some(&route.relay) {
            continue;
        }
        let ttl = match cipher.seq {
            Some(seq) => match db.get::<Out>(&(key.contact, seq))? {
                Some(row) if row.state.is_moving() => seconds_left(row.wish.as_ref(), now),
                _ => continue,
            },
            None => 0,
        };
        let envelope = db.get::<Envelopes>(&(key.contact, key.root, key.ctr))?;
        let envelope = envelope.ok_or(StoreError::Damaged(Envelopes::NAME))?;
        found.push((cipher.seq, outgoing(*key, cipher, envelope.into(), route, ttl)));
    }
    // Across roots the order is that of the messages; within a root the counters have it.
    found.sort_by_key(|(seq, out)| (seq.unwrap_or(u64::MAX), out.key.ctr));
    Ok(found.into_iter().map(|(_, out)| out).collect())
}

fn outgoing(
    key: CipherKey,
    cipher: &CipherRow,
    envelope: Vec<u8>,
    route: Route,
    ttl: u32,
) -> Outgoing {
    // A mark speaks of one account: over another relay the envelope goes without.
    let mark = if cipher.relay == route.relay { cipher.mark } else { WorkMark::default() };
    Outgoing { key, route, ttl, envelope, mark }
}

/// The first `most` messages that are queued, have no ciphertext, and whose way is open.
fn next_queued(
    db: &impl Read,
    desk: &Desk,
    routes: &Routes,
    most: usize,
) -> Result<Vec<u64>, StoreError> {
    let (sealed, mut next) = (desk.sealed(), Vec::new());
    if most == 0 {
        return Ok(next);
    }
    db.each::<Queued>(&desk.contact(), None, |(_, seq), ()| {
        if !sealed.contains(&seq) && routes.of(Some(seq)).is_some() {
            next.push(seq);
        }
        if next.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(next)
}

/// Whether a message is queued, has no ciphertext, and its way is open.
pub fn has_unsealed(db: &impl Read, desk: &Desk, routes: &Routes) -> Result<bool, StoreError> {
    Ok(!next_queued(db, desk, routes, 1)?.is_empty())
}

/// Ends what is queued and could not be sealed for too long, some of it at a time; answers whether
/// there is more.
pub fn give_up(
    txn: &Txn<'_>,
    contact: ContactId,
    routes: &Routes,
    policy: Undeliverable,
    now: i64,
) -> Result<bool, StoreError> {
    let desk = Desk::open(txn, contact)?;
    let why = match desk.room() {
        Room::For(_) => return Ok(false),
        Room::NoRoot => NO_KEYS,
        Room::Full => NO_ROOM,
    };
    let ended = next_queued(txn, &desk, routes, MAX_MOVED)?;
    for seq in &ended {
        state::never_sealed(txn, contact, *seq, policy, why, now)?;
    }
    Ok(ended.len() == MAX_MOVED)
}

const NO_KEYS: &str = "the contact has not answered yet with the fresh keys that it was asked for";
const NO_ROOM: &str = "too many messages before it are without a receipt";

fn damaged() -> StoreError {
    StoreError::Damaged("a queued message")
}

fn plaintext(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
    low: u64,
    out: &OutRow,
) -> Result<Vec<u8>, StoreError> {
    let text = db.get::<Texts>(&(contact, seq))?.ok_or_else(damaged)?;
    let is_question = text.choices.is_some();
    let body = Body {
        id: out.id,
        device: DEVICE,
        seq,
        low,
        sent_at: out.accepted_at,
        kind: if is_question { KIND_QUESTION } else { KIND_TEXT },
        text: text.text,
        reply_to: text.reply_to,
        title: text.title,
        priority: text.priority,
        tags: Some(text.tags).filter(|tags| !tags.is_empty()),
        choices: text.choices.filter(|choices| !choices.is_empty()),
    };
    body.encode().map_err(|_| damaged())
}
