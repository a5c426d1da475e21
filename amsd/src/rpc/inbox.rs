//! `inbox.*`: what arrived, taken by readers.

use ams_rpc::types::{
    Done, InboxAckParams, InboxBatch, InboxNextParams, Period, ReaderInfo, ReaderParams, Readers,
    Time,
};
use ams_rpc::{CallContext, RpcError};
use tokio::time::Instant;

use super::message::until;
use super::{App, contact_called, error};
use crate::contacts::ContactId;
use crate::inbox::reader::{self, Batch, Cursor};

/// Messages in one answer; 512 KiB hold no more anyway.
const MAX_MESSAGES: u32 = 1024;
/// Characters of a reader's name.
const MAX_NAME: usize = 64;
/// That a reader was used is written down when the last note of it is older than this: it decides
/// about 90 days, and is not worth a commit at every call.
const USED_AGAIN: i64 = 60 * 60 * 1000;

pub(super) async fn next(
    app: App,
    caller: CallContext,
    params: InboxNextParams,
) -> Result<InboxBatch, RpcError> {
    check_name(&params.reader)?;
    let most = match params.max {
        Some(0) => return Err(RpcError::bad_value("max is at least 1")),
        most => usize::try_from(most.unwrap_or(MAX_MESSAGES).min(MAX_MESSAGES)).unwrap_or(1),
    };
    let peek = params.peek.unwrap_or(false);
    let after: Option<Cursor> = match params.after.as_deref() {
        Some(_) if !peek => {
            return Err(RpcError::invalid_params("after without peek has no meaning")
                .with_hint("a reader goes on where inbox.ack says; peek may go on by itself"));
        }
        after => after.map(cursor).transpose()?,
    };
    let deadline = params.wait.and_then(|Period(length)| Instant::now().checked_add(length));
    let hold = if peek { None } else { Some(app.holds.take(&params.reader, &caller)?) };
    let of = match params.from {
        None => None,
        Some(name) => Some(app.store.read(move |db| contact_called(db, &name)).await?),
    };
    let from_start = params.from_start.unwrap_or(false);
    if !peek {
        make(&app, &params.reader, from_start).await?;
    }
    // Registered before the first look, so that nothing arrives in between.
    let mut arrivals = app.dispatch.arrivals();
    let mut last = params.wait.is_none();
    loop {
        let batch = look(&app, &params.reader, from_start, after, of, most).await?;
        let found = !batch.messages.is_empty();
        if found || last {
            let cursor = found.then_some(batch.cursor);
            if let (Some(hold), Some(cursor)) = (hold, cursor) {
                hold.until_acknowledged(cursor);
            }
            return Ok(InboxBatch {
                messages: batch.messages,
                cursor: cursor.map(|cursor| cursor.to_string()),
                more: batch.more,
            });
        }
        tokio::select! {
            biased;
            () = caller.closed() => return Err(error::stopping()),
            () = arrivals.next() => {}
            () = until(deadline) => last = true,
        }
    }
}

/// Makes the reader where it is new, and notes that it is in use.
async fn make(app: &App, reader: &str, from_start: bool) -> Result<(), RpcError> {
    let (name, at) = (reader.to_owned(), app.outside.clock.now());
    let known = app.store.read(move |db| reader::find(db, &name)).await?;
    if known.is_some_and(|row| at.saturating_sub(row.used_at) < USED_AGAIN) {
        return Ok(());
    }
    let name = reader.to_owned();
    app.store.write(move |txn| reader::open(txn, &name, from_start, at).map(|_| ())).await?;
    Ok(())
}

async fn look(
    app: &App,
    reader: &str,
    from_start: bool,
    after: Option<Cursor>,
    of: Option<ContactId>,
    most: usize,
) -> Result<Batch, RpcError> {
    let name = reader.to_owned();
    app.store
        .read(move |db| {
            let mut row = match reader::find(db, &name)? {
                Some(row) => row,
                // Only looked at, and not made yet: what it would get.
                None => reader::unmade(db, &name, from_start)?,
            };
            if let Some(after) = after {
                reader::pass(&mut row, after);
            }
            Ok(reader::take(db, &row, of, most)?)
        })
        .await
}

pub(super) async fn ack(
    app: App,
    caller: CallContext,
    params: InboxAckParams,
) -> Result<Done, RpcError> {
    check_name(&params.reader)?;
    let cursor = cursor(&params.cursor)?;
    let (name, at) = (params.reader.clone(), app.outside.clock.now());
    app.store
        .write(move |txn| {
            if reader::find(txn, &name)?.is_none() {
                return Err(no_such_reader(&name));
            }
            Ok(reader::acknowledge(txn, &name, cursor, at)?)
        })
        .await?;
    app.holds.acknowledged(&params.reader, &caller, cursor);
    Ok(Done {})
}

fn cursor(text: &str) -> Result<Cursor, RpcError> {
    text.parse().map_err(|_| {
        RpcError::bad_value("this is not a cursor of inbox.next")
            .with_hint("give back the cursor that inbox.next answered")
    })
}

pub(super) async fn readers(app: App) -> Result<Readers, RpcError> {
    let readers = app.store.read(|db| Ok::<_, RpcError>(reader::list(db)?)).await?;
    let readers = readers.into_iter().map(|(row, unread)| ReaderInfo {
        name: row.name,
        unread,
        used: Some(row.used_at).filter(|at| *at > 0).map(Time::from_millis),
    });
    Ok(Readers { readers: readers.collect() })
}

pub(super) async fn forget(
    app: App,
    caller: CallContext,
    params: ReaderParams,
) -> Result<Done, RpcError> {
    // Whoever is in the middle of it would make it anew, elsewhere.
    let _hold = app.holds.take(&params.reader, &caller)?;
    let name = params.reader.clone();
    let known = app.store.write(move |txn| reader::forget(txn, &name)).await?;
    if known { Ok(Done {}) } else { Err(no_such_reader(&params.reader)) }
}

fn no_such_reader(name: &str) -> RpcError {
    RpcError::no_such_reader(format!("no reader is called {name}"))
}

fn check_name(name: &str) -> Result<(), RpcError> {
    let fits = (1..=MAX_NAME).contains(&name.chars().count());
    if fits && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(RpcError::bad_name("a reader's name has 1 to 64 characters")
        .with_hint("choose a short name, for example the script's"))
}
