//! The states of a message, and every way from one to another.

use std::collections::BTreeSet;

use ams_rpc::types::{Fact as Event, StateFact};
use ams_wire::receipt::{Run, Window};

use super::row::{Live, MAX_STEPS, Out, OutRow, OutState, Queued, ReadSeen, StepRow, Waiting};
use super::wish;
use crate::contacts::{ContactId, Contacts};
use crate::fact::Fact;
use crate::hooks::jobs as hooks;
use crate::relay::RelayId;
use crate::session::row::{self as session, Ciphers, Roots};
use crate::session::seal::CipherKey;
use crate::settings::Undeliverable;
use crate::store::{Read, StoreError, Txn};
use crate::tally::{self, Tally};

/// What became of a message that had left, or could not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The relay took it.
    Sent,
    /// The relay gave up within its window.
    Failed,
    /// Nothing was heard of it for longer than the relay's window.
    Silence,
    /// Nothing was heard of it for long on a direct link that is up.
    Unconfirmed,
}

impl Outcome {
    /// What it means that nothing is heard of a message on that link.
    pub fn of_silence(on: RelayId) -> Self {
        if on.is_direct() { Self::Unconfirmed } else { Self::Silence }
    }
}

/// Records `outcome` for the message in ciphertext `key`, if it is still on its way.
pub fn settle(
    txn: &Txn<'_>,
    key: CipherKey,
    outcome: Outcome,
    via: &str,
    policy: Undeliverable,
    now: i64,
) -> Result<(), StoreError> {
    // A receipt may have come first: then there is nothing more to be said.
    let Some(cipher) = txn.get::<Ciphers>(&(key.contact, key.root, key.ctr))? else {
        return Ok(());
    };
    let Some(seq) = cipher.seq else { return Ok(()) };
    match outcome {
        Outcome::Sent => {
            change(txn, key.contact, seq, now, Some(via), None, |row| match row.state {
                OutState::Queued | OutState::Waiting => Some(OutState::Sent),
                _ => None,
            })
        }
        Outcome::Failed => gave_up(txn, key.contact, seq, policy, Some(via), FAILED, now),
        Outcome::Silence | Outcome::Unconfirmed if is_overtaken(txn, key, seq)? => {
            session::unseal(txn, key.contact, seq)?;
            txn.tell(Fact::Due(key.contact));
            requeue(txn, key.contact, seq, OVERTAKEN, now)
        }
        Outcome::Silence => gave_up(txn, key.contact, seq, policy, Some(via), SILENCE, now),
        // The contact is there: it goes again.
        Outcome::Unconfirmed => {
            txn.tell(Fact::Due(key.contact));
            requeue(txn, key.contact, seq, UNCONFIRMED, now)
        }
    }
}

/// Whether the contact's ratchet may refuse that ciphertext, however often it comes: so many that were
/// sealed later were taken, over another way, as its keys last for. Once for each message.
fn is_overtaken(txn: &Txn<'_>, key: CipherKey, seq: u64) -> Result<bool, StoreError> {
    let Some(root) = txn.get::<Roots>(&(key.contact, key.root))? else { return Ok(false) };
    let Some(row) = txn.get::<Out>(&(key.contact, seq))? else { return Ok(false) };
    let was_sealed_anew = row.steps.iter().any(|step| step.reason.as_deref() == Some(OVERTAKEN));
    let later = root.next_ctr.saturating_sub(1).saturating_sub(key.ctr);
    let ciphers = txn.list::<Ciphers>(&(key.contact, key.root))?;
    let out = ciphers.iter().filter(|((.., ctr), _)| *ctr > key.ctr).count();
    let gone = later.saturating_sub(u64::try_from(out).unwrap_or(u64::MAX));
    Ok(!was_sealed_anew && gone >= OVERTAKING)
}

/// Each may have begun a chain of the ratchet, and of those five are kept.
const OVERTAKING: u64 = 5;
const OVERTAKEN: &str = "sealed anew: much that was sent later came first, over another way";

const FAILED: &str = "the relay could not deliver it within its window";
const SILENCE: &str = "nothing was heard of it within the relay's window";
const UNCONFIRMED: &str = "the contact did not confirm it";

/// A message that waited for its turn too long to be sealed ends as if it had failed.
pub fn never_sealed(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    policy: Undeliverable,
    why: &str,
    now: i64,
) -> Result<(), StoreError> {
    gave_up(txn, contact, seq, policy, None, why, now)
}

/// What was wanted of the message itself comes before the `policy` of the config.
fn gave_up(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    policy: Undeliverable,
    via: Option<&str>,
    reason: &str,
    now: i64,
) -> Result<(), StoreError> {
    change(txn, contact, seq, now, via, Some(reason), |row| {
        let wanted = row.wish.as_ref().and_then(|wish| wish.policy).unwrap_or(policy);
        row.state.is_moving().then_some(match wanted {
            Undeliverable::Ask => OutState::Undelivered,
            Undeliverable::Keep => OutState::Waiting,
            Undeliverable::Discard => OutState::Discarded,
        })
    })
}

/// The recipient has it on disk: its receipt came `via` that path. Whatever was decided about it
/// before, that is what happened.
pub fn delivered(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    via: &str,
    now: i64,
) -> Result<(), StoreError> {
    change(txn, contact, seq, now, Some(via), None, |row| match row.state {
        OutState::Delivered | OutState::Read => None,
        _ => Some(OutState::Delivered),
    })
}

/// The recipient read what `window` says: of what was delivered, all below its base and all in it, but
/// none that is in one of the runs `unread`. `delivered` is what the same envelope brought the receipt
/// of.
pub fn read(
    txn: &Txn<'_>,
    contact: ContactId,
    (window, unread): (&Window, &[Run]),
    delivered: &BTreeSet<u64>,
    now: i64,
) -> Result<(), StoreError> {
    let seen = txn.get::<ReadSeen>(&contact)?.unwrap_or_default();
    if seen == *window && delivered.is_empty() {
        return Ok(());
    }
    // The other side's word about numbers that were never given is not followed to its end.
    let newest = txn.last::<Out>(&contact)?.map_or(0, |((_, seq), _)| seq);
    let end = window.base().min(newest.saturating_add(1));
    let news = (seen.base()..end).filter(|seq| !seen.contains(*seq)).chain(window.iter());
    let late = delivered.iter().copied().filter(|seq| *seq < window.base());
    let numbers: BTreeSet<u64> = news.chain(late).collect();
    for seq in numbers {
        if unread.iter().any(|run| run.contains(seq)) {
            continue;
        }
        change(txn, contact, seq, now, None, None, |row| {
            (row.state == OutState::Delivered).then_some(OutState::Read)
        })?;
    }
    txn.put::<ReadSeen>(&contact, window)
}

/// A later message has a receipt and this one has none: its slot is free, unless it is moving.
pub fn passed_over(txn: &Txn<'_>, contact: ContactId, seq: u64) -> Result<(), StoreError> {
    let moving = txn.get::<Out>(&(contact, seq))?.is_some_and(|row| row.state.is_moving());
    if moving { Ok(()) } else { session::unseal(txn, contact, seq) }
}

/// Its ciphertext is gone with its root, or with the link: it is queued again.
pub fn requeue(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    why: &str,
    now: i64,
) -> Result<(), StoreError> {
    change(txn, contact, seq, now, None, Some(why), |row| {
        (row.state == OutState::Sent).then_some(OutState::Queued)
    })
}

/// What is `sent` to these contacts is queued again: no link is left of an earlier run.
pub fn restarted(txn: &Txn<'_>, contacts: &[ContactId], now: i64) -> Result<(), StoreError> {
    for &contact in contacts {
        for (_, cipher) in txn.list::<Ciphers>(&contact)? {
            if let Some(seq) = cipher.seq {
                requeue(txn, contact, seq, "the daemon was restarted", now)?;
            }
        }
    }
    Ok(())
}

/// What these ciphertexts carry is queued again: the link that had them is gone.
pub fn link_lost(txn: &Txn<'_>, keys: &[CipherKey], why: &str, now: i64) -> Result<(), StoreError> {
    for key in keys {
        let cipher = txn.get::<Ciphers>(&(key.contact, key.root, key.ctr))?;
        if let Some(seq) = cipher.and_then(|cipher| cipher.seq) {
            requeue(txn, key.contact, seq, why, now)?;
        }
    }
    Ok(())
}

/// Takes a message from its state to the one that `next` names, with the step recorded and told.
/// `None`: it stays.
pub(super) fn change(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    now: i64,
    via: Option<&str>,
    reason: Option<&str>,
    next: impl FnOnce(&OutRow) -> Option<OutState>,
) -> Result<(), StoreError> {
    let Some(mut row) = txn.get::<Out>(&(contact, seq))? else { return Ok(()) };
    let Some(state) = next(&row) else { return Ok(()) };
    let before = std::mem::replace(&mut row.state, state);
    // A receipt comes over the way that the contact has, and names the message's own only where it overtook
    // the word that the message was taken.
    let via = via.filter(|_| state != OutState::Delivered || row.via.is_none());
    if let Some(via) = via {
        row.via = Some(via.to_owned());
    }
    record(&mut row, now, via, reason);
    txn.put::<Out>(&(contact, seq), &row)?;
    file(txn, (contact, seq), Some(before), state)?;
    if state.is_final()
        && let Some(wish) = &row.wish
    {
        wish::forget(txn, contact, seq, wish)?;
    }
    if state == OutState::Waiting {
        // The contact may be there now, or has to be asked.
        txn.tell(Fact::Due(contact));
    }
    tell(txn, contact, seq, &row, reason)
}

/// Files a message under its state; `before` is the one that it was filed under.
pub(crate) fn file(
    txn: &Txn<'_>,
    at: (ContactId, u64),
    before: Option<OutState>,
    state: OutState,
) -> Result<(), StoreError> {
    match before {
        Some(OutState::Queued) => txn.delete::<Queued>(&at)?,
        Some(OutState::Waiting) => txn.delete::<Waiting>(&at)?,
        _ => {}
    }
    match state {
        OutState::Queued => txn.put::<Queued>(&at, &())?,
        OutState::Waiting => txn.put::<Waiting>(&at, &())?,
        _ => {}
    }
    if let Some(tally) = before.and_then(Tally::of) {
        tally::less(txn, tally)?;
    }
    match Tally::of(state) {
        Some(tally) => {
            tally::more(txn, tally)?;
            txn.put::<Live>(&at, &state)
        }
        None => txn.delete::<Live>(&at),
    }
}

fn record(row: &mut OutRow, now: i64, via: Option<&str>, reason: Option<&str>) {
    if row.steps.len() >= MAX_STEPS {
        row.steps.remove(MAX_STEPS / 2);
    }
    row.steps.push(StepRow {
        at: now,
        state: row.state,
        via: via.map(str::to_owned),
        reason: reason.map(str::to_owned),
    });
}

fn tell(
    txn: &Txn<'_>,
    contact: ContactId,
    seq: u64,
    row: &OutRow,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let name = txn.get::<Contacts>(&contact)?.map_or_else(String::new, |row| row.name);
    let fact = StateFact {
        id: ams_rpc::types::MessageId(row.id.0),
        contact: name,
        contact_id: contact.to_string(),
        state: row.state.into(),
        reason: reason.map(str::to_owned),
    };
    txn.tell(Fact::State { contact, id: row.id });
    if row.state == OutState::Undelivered {
        hooks::undelivered(txn, contact, seq, row, reason)?;
        txn.tell(Fact::event(Event::MessageUndelivered(fact.clone())));
    }
    txn.tell(Fact::event(Event::MessageState(fact)));
    Ok(())
}
