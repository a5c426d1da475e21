//! `history.*`: what was said.

use ams_rpc::types::{HistoryClearParams, HistoryCleared, HistoryParams, MAX_LIMIT, Messages};
use ams_rpc::{CallContext, RpcError};
use ams_wire::id::MessageId;

use super::message::no_such_message;
use super::page::Page;
use super::{App, contact_called};
use crate::inbox::history::{self, Query};

/// Messages in an answer where no limit is given.
const LIMIT: u32 = 50;

pub(super) async fn list(
    app: App,
    _: CallContext,
    params: HistoryParams,
) -> Result<Messages, RpcError> {
    let limit = params.limit.unwrap_or(LIMIT);
    if limit > MAX_LIMIT {
        return Err(RpcError::bad_value(format!("limit is at most {MAX_LIMIT}"))
            .with_hint("ask for what is older with before"));
    }
    app.store
        .read(move |db| {
            let contact =
                params.contact.as_deref().map(|name| contact_called(db, name)).transpose()?;
            let before = match params.before {
                None => None,
                Some(id) => {
                    let id = MessageId(id.0);
                    let mut places = history::places(db, id)?;
                    places.retain(|(_, entry)| contact.is_none_or(|of| of == entry.contact));
                    let place = places.into_iter().map(|(place, _)| place).min();
                    Some(place.ok_or_else(|| no_such_message(id))?)
                }
            };
            let query = Query { contact, search: params.search, before };
            let mut page = Page::of(limit);
            history::find(db, &query, |message| page.take(message))?;
            let (mut messages, more) = page.end();
            messages.reverse();
            Ok(Messages { messages, more })
        })
        .await
}

pub(super) async fn clear(
    app: App,
    _: CallContext,
    params: HistoryClearParams,
) -> Result<HistoryCleared, RpcError> {
    app.store
        .write(move |txn| {
            let contact = contact_called(txn, &params.contact)?;
            Ok(history::clear(txn, contact)?)
        })
        .await
}
