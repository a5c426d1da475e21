//! `queue.*`: messages that are not delivered yet, and what is to become of them.

use ams_rpc::types::{Messages, QueueListParams, QueueOutcome, QueueOutcomes, QueueParams};
use ams_rpc::{CallContext, RpcError};
use ams_wire::id::MessageId;

use super::message::no_such_message;
use super::page::Page;
use super::{App, contact_called};
use crate::contacts::ContactId;
use crate::outbox::queue::{self, Decision};
use crate::outbox::row::Out;
use crate::outbox::show;
use crate::store::{Read, Txn};

pub(super) async fn list(
    app: App,
    _: CallContext,
    params: QueueListParams,
) -> Result<Messages, RpcError> {
    app.store
        .read(move |db| {
            let to = params.to.as_deref().map(|name| contact_called(db, name)).transpose()?;
            let mut places = Vec::new();
            for (contact, seq, _) in queue::live(db, to)? {
                if let Some(row) = db.get::<Out>(&(contact, seq))? {
                    places.push((row.place, contact, seq));
                }
            }
            // By their places they stand in the order in which they were accepted.
            places.sort_unstable();
            let after = params.after.map(|id| place_of(db, MessageId(id.0))).transpose()?;
            let behind = |place: u64| after.is_none_or(|after| place > after);
            let mut page = Page::of(usize::MAX);
            for (_, contact, seq) in places.into_iter().filter(|(place, ..)| behind(*place)) {
                if let Some(message) = show::message(db, contact, seq)?
                    && page.take(message).is_break()
                {
                    break;
                }
            }
            Ok(page.messages())
        })
        .await
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

/// Which messages are meant.
#[derive(Clone)]
enum Which {
    Ids(Vec<MessageId>),
    All,
    To(String),
}

impl Which {
    fn of(params: QueueParams) -> Result<Self, RpcError> {
        match (params.ids, params.all.unwrap_or(false), params.to) {
            (Some(ids), false, None) => {
                Ok(Self::Ids(ids.into_iter().map(|id| MessageId(id.0)).collect()))
            }
            (None, true, None) => Ok(Self::All),
            (None, false, Some(to)) => Ok(Self::To(to)),
            _ => {
                Err(RpcError::invalid_params("exactly one of ids, all and to says which messages")
                    .with_hint("name the messages by their ids, or say --all, or --to NAME"))
            }
        }
    }

    fn find(&self, db: &impl Read) -> Result<Vec<(ContactId, u64)>, RpcError> {
        let contact = match self {
            Self::Ids(ids) => {
                let mut found = Vec::new();
                for id in ids {
                    let of_id = queue::by_id(db, *id)?;
                    if of_id.is_empty() {
                        return Err(no_such_message(*id));
                    }
                    found.extend(of_id);
                }
                return Ok(found);
            }
            Self::All => None,
            Self::To(name) => Some(contact_called(db, name)?),
        };
        let live = queue::live(db, contact)?;
        Ok(live.into_iter().map(|(contact, seq, _)| (contact, seq)).collect())
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
    let mut messages = Vec::new();
    for (contact, seq) in which.find(txn)? {
        if let Some(decided) = queue::decide(txn, contact, seq, decision, at)? {
            messages.push(QueueOutcome {
                id: ams_rpc::types::MessageId(decided.id.0),
                state: decided.state.into(),
            });
        }
    }
    Ok(QueueOutcomes { messages })
}
