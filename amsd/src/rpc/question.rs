//! `message.ask` and `message.answer`: a message that waits for one which answers it.

use ams_rpc::types::{
    AnswerParams, AskParams, Asked, Message, MessageId, Period, SendParams, SendResult, Stage,
};
use ams_rpc::{CallContext, Exit, RpcError};
use ams_wire::id::MessageId as WireId;
use tokio::time::Instant;

use super::message::{accept, ambiguous, draft, no_such_message, standing, until};
use super::{App, contact_called, error};
use crate::contacts::{ContactId, Contacts};
use crate::inbox::history;
use crate::inbox::row::{In, InRow};
use crate::outbox::row::{Out, OutIds};
use crate::store::{Read, StoreError};
use crate::timeline::Direction;

pub(super) async fn ask(
    app: App,
    caller: CallContext,
    params: AskParams,
) -> Result<Asked, RpcError> {
    let choices = params.choices.unwrap_or_default();
    let deadline = params.timeout.and_then(|Period(length)| Instant::now().checked_add(length));
    let sent = SendParams {
        id: params.id,
        title: params.title,
        priority: params.priority,
        ..SendParams::new(params.to, params.body)
    };
    let at = app.outside.clock.now();
    let mut draft = draft(sent, at)?;
    draft.text.choices = Some(choices.clone());
    let pushed = accept(&app, draft, at).await?;
    let (contact, id) = (pushed.contact, pushed.id);

    // Registered before the first look, so that nothing falls in between.
    let mut arrivals = app.dispatch.arrivals();
    let mut steps = app.dispatch.states(contact, id);
    let mut seen = app.store.read(move |db| place_of(db, contact, id)).await?;
    let mut timed_out = false;
    loop {
        let (wanted, from) = (choices.clone(), seen);
        let (state, key_changed, answer, looked) = app
            .store
            .read(move |db| {
                let (state, key_changed) = standing(db, contact, id)?;
                let (answer, seen) = find_answer(db, contact, from, id, &wanted)?;
                Ok::<_, RpcError>((state, key_changed, answer, seen))
            })
            .await?;
        seen = looked;
        let failed = Stage::Delivered.wait_end(state, true, false).filter(|end| !end.reached);
        let exit = match (&answer, failed) {
            (Some(_), _) => Some(Exit::Done),
            (None, Some(end)) => Some(end.exit),
            (None, None) if key_changed => Some(Exit::KeyNotTrusted),
            (None, None) => timed_out.then_some(Exit::NothingCame),
        };
        if let Some(exit) = exit {
            return Ok(Asked { id: MessageId(id.0), state, answer, exit: exit.code() });
        }
        tokio::select! {
            biased;
            () = caller.closed() => return Err(error::stopping()),
            () = arrivals.next() => {}
            () = steps.next() => {}
            () = until(deadline) => timed_out = true,
        }
    }
}

/// The place of our question: answers lie behind it.
fn place_of(db: &impl Read, contact: ContactId, id: WireId) -> Result<u64, RpcError> {
    let seq = db.get::<OutIds>(&(id, contact))?.ok_or_else(|| no_such_message(id))?;
    Ok(db.get::<Out>(&(contact, seq))?.map_or(0, |row| row.place))
}

/// The contact's first message behind the place `after` that answers `id` with one of `wanted`, and
/// how far that was looked.
fn find_answer(
    db: &impl Read,
    contact: ContactId,
    after: u64,
    id: WireId,
    wanted: &[String],
) -> Result<(Option<Message>, u64), StoreError> {
    let mut seen = after;
    for place in history::came_after(db, contact, after)? {
        seen = place;
        let Some(row) = db.get::<In>(&place)? else { continue };
        // What is no choice is talk, and the question stands.
        let answers = wanted.is_empty() || wanted.contains(&row.text);
        if row.reply_to == Some(id) && answers {
            return Ok((history::received(db, place)?, place));
        }
    }
    Ok((None, seen))
}

pub(super) async fn answer(
    app: App,
    _: CallContext,
    params: AnswerParams,
) -> Result<SendResult, RpcError> {
    let AnswerParams { id, answer, contact, answer_id } = params;
    let question = WireId(id.0);
    let found = app.store.read(move |db| asked_here(db, question, contact.as_deref())).await?;
    let (to, choices) = found;
    if !choices.is_empty() && !choices.contains(&answer) {
        return Err(RpcError::bad_value("this is not one of the answers that were asked for")
            .with_hint(format!("answer one of: {}", choices.join(", "))));
    }
    let sent = SendParams { id: answer_id, reply_to: Some(id), ..SendParams::new(to, answer) };
    let at = app.outside.clock.now();
    let pushed = accept(&app, draft(sent, at)?, at).await?;
    Ok(SendResult {
        id: MessageId(pushed.id.0),
        state: pushed.state,
        reached: true,
        exit: Exit::Done.code(),
    })
}

/// Who asked under that id, by name, and what may be answered.
fn asked_here(
    db: &impl Read,
    id: WireId,
    named: Option<&str>,
) -> Result<(String, Vec<String>), RpcError> {
    let wanted = named.map(|name| contact_called(db, name)).transpose()?;
    let mut found: Vec<InRow> = Vec::new();
    for (place, entry) in history::places(db, id)? {
        if entry.direction == Direction::In && wanted.is_none_or(|only| only == entry.contact) {
            found.extend(db.get::<In>(&place)?);
        }
    }
    let questions: Vec<&InRow> = found.iter().filter(|row| row.choices.is_some()).collect();
    let row = match (questions.as_slice(), found.is_empty()) {
        ([], true) => return Err(no_such_message(id)),
        ([], false) => {
            return Err(RpcError::bad_value(format!("message {id} is no question"))
                .with_hint(format!("to reply to it: amsctl send NAME --reply-to {id} TEXT")));
        }
        ([one], _) => *one,
        (several, _) => {
            let contacts: Vec<ContactId> = several.iter().map(|row| row.contact).collect();
            return Err(ambiguous(db, id, &contacts)?);
        }
    };
    let name = db.get::<Contacts>(&row.contact)?.map(|contact| contact.name);
    Ok((name.ok_or_else(|| no_such_message(id))?, row.choices.clone().unwrap_or_default()))
}
