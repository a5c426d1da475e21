//! `queue.*`: messages that are not delivered yet, and what is to become of them.

use std::ops::ControlFlow;

use ams_rpc::types::{
    QueueListParams, QueueOutcome, QueueOutcomes, QueueParams, QueuedMessage, QueuedMessages, State,
};
use ams_rpc::{CallContext, RpcError};
use ams_wire::id::MessageId;

use super::message::no_such_message;
use super::page::Page;
use super::{App, contact_called};
use crate::contacts::{ContactId, Contacts, Stage};
use crate::live::Live;
use crate::outbox::queue::{self, Decision};
use crate::outbox::row::{Out, OutRow, OutState};
use crate::outbox::show;
use crate::relay::Relays;
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
                let reason = reason(db, &live, contact, row)?;
                Ok::<_, RpcError>(page.take(QueuedMessage { message, reason }))
            })?;
            let (messages, more) = page.end();
            Ok(QueuedMessages { messages, more })
        })
        .await
}

/// Why a message is where it is: what its last step said, or what keeps a queued one.
fn reason(
    db: &impl Read,
    live: &Live,
    contact: ContactId,
    row: OutRow,
) -> Result<Option<String>, StoreError> {
    let said = row.steps.into_iter().next_back().and_then(|step| step.reason);
    if row.state != OutState::Queued {
        return Ok(said);
    }
    let Some(to) = db.get::<Contacts>(&contact)? else { return Ok(said) };
    let only = row.wish.and_then(|wish| wish.only);
    // Whether the contact has such a way is another question than when it was accepted.
    if let (Some(said), Some(only)) = (&said, &only)
        && said.starts_with(&only.reason())
    {
        return Ok(Some(only.reason_for(db, &to)?));
    }
    if said.is_some() {
        return Ok(said);
    }
    let mut away = Vec::new();
    for path in &to.paths {
        if live.is_up(path.relay) {
            return Ok((to.stage == Stage::Approved)
                .then(|| format!("{} was accepted and did not answer yet", to.name)));
        }
        if path.relay.is_direct() {
            away.push(crate::contacts::show::direct_name(db, path.relay)?);
        }
        away.extend(db.get::<Relays>(&path.relay)?.map(|row| row.nick));
    }
    Ok((!away.is_empty()).then(|| format!("not connected: {}", away.join(", "))))
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
    app.store.write(move |txn| decide_all(txn, &which, decision, at)).await
}

fn decide_all(
    txn: &Txn<'_>,
    which: &Which,
    decision: Decision,
    at: i64,
) -> Result<QueueOutcomes, RpcError> {
    let (found, next) = which.find(txn)?;
    let mut messages = Vec::new();
    for (contact, seq) in found {
        if let Some(decided) = queue::decide(txn, contact, seq, decision, at)? {
            messages.push(QueueOutcome {
                id: ams_rpc::types::MessageId(decided.id.0),
                state: decided.state.into(),
            });
        }
    }
    Ok(QueueOutcomes { messages, next: next.map(|place| place.to_string()) })
}
