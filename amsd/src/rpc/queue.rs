//! `queue.*`: messages that are not delivered yet, and what is to become of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use ams_rpc::error::key_hint;
use ams_rpc::types::{
    QueueListParams, QueueOutcome, QueueOutcomes, QueueParams, QueuedMessage, QueuedMessages, State,
};
use ams_rpc::{CallContext, RpcError};
use ams_wire::id::MessageId;

use super::message::no_such_message;
use super::page::Page;
use super::{App, contact_called};
use crate::contacts::show::{direct_name, why_not};
use crate::contacts::{ContactId, ContactRow, Contacts, PathRow, Stage, lost};
use crate::live::Live;
use crate::outbox::queue::{self, Decision};
use crate::outbox::row::{Out, OutRow, OutState};
use crate::outbox::wish::Way;
use crate::outbox::{self, show};
use crate::relay::{RelayId, Relays};
use crate::router::path;
use crate::store::{Read, StoreError, Txn};

pub(super) async fn list(
    app: App,
    _: CallContext,
    params: QueueListParams,
) -> Result<QueuedMessages, RpcError> {
    let live = app.live.clone();
    app.store
        .read(move |db| {
            let to = params.to.as_deref().map(|name| contact_called(db, name)).transpose()?;
            let after = params.after.map(|id| place_of(db, MessageId(id.0))).transpose()?;
            let mut page = Page::of(params.limit.unwrap_or(u32::MAX));
            queue::in_order(db, to, after, |contact, seq| {
                let Some((message, row)) = show::with_row(db, contact, seq)? else {
                    return Ok(ControlFlow::Continue(()));
                };
                let reason = reason(db, &live, (contact, seq), row)?;
                Ok::<_, RpcError>(page.take(QueuedMessage { message, reason }))
            })?;
            let (messages, more) = page.end();
            Ok(QueuedMessages { messages, more })
        })
        .await
}

/// Why a message is where it is: what keeps it there now, else what its last step said.
fn reason(
    db: &impl Read,
    live: &Live,
    (contact, seq): (ContactId, u64),
    row: OutRow,
) -> Result<Option<String>, StoreError> {
    let held = match (row.state, db.get::<Contacts>(&contact)?) {
        (OutState::Queued, Some(to)) => {
            let only = row.wish.and_then(|wish| wish.only);
            match outbox::goes_after(db, contact, seq)? {
                Some(other) => Some(other),
                None => held_back(db, live, contact, &to, only)?,
            }
        }
        (OutState::Waiting, Some(to)) => no_way(db, contact, &to)?,
        _ => None,
    };
    Ok(held.or_else(|| row.steps.into_iter().next_back().and_then(|step| step.reason)))
}

/// What keeps a queued message from leaving, as far as it is the way that does.
fn held_back(
    db: &impl Read,
    live: &Live,
    contact: ContactId,
    to: &ContactRow,
    only: Option<Way>,
) -> Result<Option<String>, StoreError> {
    if let Some(closed) = no_way(db, contact, to)? {
        return Ok(Some(closed));
    }
    // Whether the contact has such a way is another question than when it was accepted.
    if let Some(only) = only {
        return Ok(Some(only.reason_for(db, to)?));
    }
    let mut away = Vec::new();
    for path in to.paths.iter().filter(|path| is_open(to, path)) {
        if live.is_up(path.relay) {
            return Ok((to.stage == Stage::Approved)
                .then(|| format!("{} was accepted and did not answer yet", to.name)));
        }
        if path.relay.is_direct() {
            away.push(direct_name(db, path.relay)?);
        }
        away.extend(db.get::<Relays>(&path.relay)?.map(|row| row.nick));
    }
    Ok((!away.is_empty()).then(|| format!("not connected: {}", away.join(", "))))
}

fn is_open(contact: &ContactRow, path: &PathRow) -> bool {
    !path.missing && !contact.is_in_doubt(path.relay)
}

/// Why nothing goes to a contact whichever link is up, where none of its paths may be used.
fn no_way(
    db: &impl Read,
    contact: ContactId,
    to: &ContactRow,
) -> Result<Option<String>, StoreError> {
    if to.paths.iter().any(|path| is_open(to, path)) {
        return Ok(None);
    }
    if let Some(command) = lost::add_again(db, to)? {
        return Ok(Some(format!("the relay no longer knows this contact: {command}")));
    }
    Ok(match to.paths.first() {
        Some(path) if path.missing => Some(why_not(db, contact)?),
        Some(_) => Some(format!(
            "the key of {} changed, so nothing more is sent: {}",
            to.name,
            key_hint(&to.name, "FINGERPRINT")
        )),
        None => None,
    })
}

/// Where a message of ours stands, also when it has left the queue since.
fn place_of(db: &impl Read, id: MessageId) -> Result<u64, RpcError> {
    let mut last = None;
    for (contact, seq) in queue::by_id(db, id)? {
        last = last.max(db.get::<Out>(&(contact, seq))?.map(|row| row.place));
    }
    last.ok_or_else(|| no_such_message(id))
}

pub(super) async fn keep(
    app: App,
    _: CallContext,
    params: QueueParams,
) -> Result<QueueOutcomes, RpcError> {
    decide(app, params, Decision::Keep).await
}

pub(super) async fn discard(
    app: App,
    _: CallContext,
    params: QueueParams,
) -> Result<QueueOutcomes, RpcError> {
    decide(app, params, Decision::Discard).await
}

pub(super) async fn retry(
    app: App,
    _: CallContext,
    params: QueueParams,
) -> Result<QueueOutcomes, RpcError> {
    decide(app, params, Decision::Retry).await
}

/// Messages that are decided about in one call: one transaction and one answer have room for them.
pub(super) const MAX_DECIDED: usize = 4096;

/// Which messages are meant.
#[derive(Clone)]
enum Which {
    Ids(Vec<MessageId>),
    /// Of one contact or of all, from behind a place in the queue on.
    Live {
        to: Option<String>,
        after: Option<Place>,
    },
}

/// Where a message stands in the queue, as a text that callers only hand back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(ContactId, u64);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, RpcError> {
        let parts = text.split_once('-').and_then(|(contact, seq)| {
            Some(Self(ContactId(contact.parse().ok()?), seq.parse().ok()?))
        });
        parts.ok_or_else(|| {
            RpcError::invalid_params(format!("`{text}` is no place in the queue"))
                .with_hint("hand back in `after` what an answer had in `next`")
        })
    }
}

/// Messages by contact and `seq`, and where to go on.
type Found = (Vec<(ContactId, u64)>, Option<Place>);

impl Which {
    fn of(params: QueueParams) -> Result<Self, RpcError> {
        let after = params.after.as_deref().map(Place::parse).transpose()?;
        match (params.ids, params.all.unwrap_or(false), params.to, after) {
            (Some(ids), false, None, None) if ids.len() <= MAX_DECIDED => {
                Ok(Self::Ids(ids.into_iter().map(|id| MessageId(id.0)).collect()))
            }
            (Some(_), false, None, None) => {
                Err(RpcError::bad_value(format!("more than {MAX_DECIDED} ids; name fewer at once")))
            }
            (None, true, None, after) => Ok(Self::Live { to: None, after }),
            (None, false, to @ Some(_), after) => Ok(Self::Live { to, after }),
            _ => {
                Err(RpcError::invalid_params("exactly one of ids, all and to says which messages")
                    .with_hint("name the messages by their ids, or say --all, or --to NAME"))
            }
        }
    }

    /// The messages, and where to go on.
    fn find(&self, db: &impl Read) -> Result<Found, RpcError> {
        let (to, after) = match self {
            Self::Ids(ids) => {
                let mut found = Vec::new();
                for id in ids {
                    found.extend(undecided(db, *id)?);
                }
                return Ok((found, None));
            }
            Self::Live { to, after } => (to, after),
        };
        let contact = to.as_deref().map(|name| contact_called(db, name)).transpose()?;
        if let (Some(contact), Some(Place(other, _))) = (contact, after)
            && contact != *other
        {
            return Err(RpcError::invalid_params("`after` is a place in another contact's queue"));
        }
        let after = after.map(|Place(contact, seq)| (contact, seq));
        let mut live = queue::live_from(db, contact, after, MAX_DECIDED.saturating_add(1))?;
        let more = live.len() > MAX_DECIDED;
        live.truncate(MAX_DECIDED);
        let next = live.last().filter(|_| more).map(|(contact, seq, _)| Place(*contact, *seq));
        Ok((live.into_iter().map(|(contact, seq, _)| (contact, seq)).collect(), next))
    }
}

/// The messages of that id about which something can be decided: one that went to several may be
/// on its way to some of them.
fn undecided(db: &impl Read, id: MessageId) -> Result<Vec<(ContactId, u64)>, RpcError> {
    let mut found = Vec::new();
    let mut ended = None;
    for at in queue::by_id(db, id)? {
        match db.get::<Out>(&at)?.map(|row| State::from(row.state)) {
            Some(state) if state.is_final() => ended = Some(state),
            Some(_) => found.push(at),
            // Deleted here since.
            None => {}
        }
    }
    match ended {
        Some(state) if found.is_empty() => {
            Err(RpcError::not_allowed(format!("message {id} is {state}: nothing is to be decided"))
                .with_hint(format!("amsctl message show {id} shows every step it took")))
        }
        None if found.is_empty() => Err(no_such_message(id)),
        _ => Ok(found),
    }
}

async fn decide(
    app: App,
    params: QueueParams,
    decision: Decision,
) -> Result<QueueOutcomes, RpcError> {
    let (which, at) = (Which::of(params)?, app.outside.clock.now());
    let live = app.live.clone();
    app.store.write(move |txn| decide_all(txn, &live, &which, decision, at)).await
}

fn decide_all(
    txn: &Txn<'_>,
    live: &Live,
    which: &Which,
    decision: Decision,
    at: i64,
) -> Result<QueueOutcomes, RpcError> {
    let (found, next) = which.find(txn)?;
    let mut messages = Vec::new();
    let mut there = BTreeMap::new();
    for (contact, seq) in found {
        let before = txn.get::<Out>(&(contact, seq))?.map(|row| row.state);
        let Some(mut decided) = queue::decide(txn, contact, seq, decision, at)? else { continue };
        // What is sent is under way to it already.
        if decided.state == OutState::Waiting && before != Some(OutState::Sent) {
            let there = match there.entry(contact) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(where_it_is(txn, live, contact)?),
            };
            if queue::goes_at_once(txn, (contact, seq), there, at)? {
                decided.state = OutState::Queued;
            }
        }
        messages.push(QueueOutcome {
            id: ams_rpc::types::MessageId(decided.id.0),
            state: decided.state.into(),
        });
    }
    Ok(QueueOutcomes { messages, next: next.map(|place| place.to_string()) })
}

/// Where a contact is online now. Nobody says it a second time: what is kept from now on would wait
/// for the contact to go and come back, or for the router's next look.
fn where_it_is(
    db: &impl Read,
    live: &Live,
    contact: ContactId,
) -> Result<Vec<RelayId>, StoreError> {
    let row = db.get::<Contacts>(&contact)?.filter(ContactRow::is_open);
    let there = row.iter().flat_map(|row| path::there(row, live));
    Ok(there.map(|path| path.relay).collect())
}
