//! `message.ask` and `message.answer`: a message that waits for one which answers it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

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
use crate::outbox;
use crate::outbox::row::{Out, OutIds, OutState, Texts};
use crate::store::{Read, StoreError};
use crate::timeline::{ByContact, Direction};

pub(super) async fn ask(
    app: App,
    caller: CallContext,
    params: AskParams,
) -> Result<Asked, RpcError> {
    let choices = params.choices.unwrap_or_default();
    let mut different = BTreeSet::new();
    if let Some(twice) = choices.iter().find(|choice| !different.insert(choice.as_str())) {
        return Err(RpcError::bad_value(format!("the choice `{twice}` is there twice"))
            .with_hint("give every choice once, like --choices yes,no"));
    }
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
    let asked = app.store.read(move |db| asked_here(db, question, contact.as_deref())).await?;
    let Question { to, choices, .. } = &asked;
    if !choices.is_empty() && !choices.contains(&answer) {
        return Err(RpcError::bad_value("this is not one of the answers that were asked for")
            .with_hint(format!("answer one of: {}", choices.join(", "))));
    }
    let sent = SendParams { id: answer_id, reply_to: Some(id), ..SendParams::new(to, answer) };
    let at = app.outside.clock.now();
    let draft = draft(sent, at)?;
    // In the commit that takes the answer: of two at once, one is the answer.
    let pushed = app
        .store
        .write(move |txn| {
            if let Some(before) = answered(txn, &asked, draft.id)? {
                return Err(RpcError::answered(format!(
                    "question {question} was answered before: {before}"
                )));
            }
            outbox::push(txn, &draft, at).map_err(|error| error::of_name(txn, &draft.to, error))
        })
        .await?;
    Ok(SendResult {
        id: MessageId(pushed.id.0),
        state: pushed.state,
        reached: true,
        exit: Exit::Done.code(),
    })
}

/// A question that came in.
struct Question {
    id: WireId,
    contact: ContactId,
    /// Who asked, by name.
    to: String,
    place: u64,
    /// What may be answered; anything where there are none.
    choices: Vec<String>,
}

/// What was answered to it from here, by another message than `id`. An answer that was given up
/// before it arrived is none.
fn answered(
    db: &impl Read,
    asked: &Question,
    id: Option<WireId>,
) -> Result<Option<String>, StoreError> {
    let mut sent = Vec::new();
    let from = (asked.contact, asked.place);
    db.each::<ByContact>(&asked.contact, Some(&from), |_, entry| {
        if entry.direction == Direction::Out {
            sent.push((entry.contact, entry.seq));
        }
        ControlFlow::Continue(())
    })?;
    for at in sent {
        let (row, text) = (db.get::<Out>(&at)?, db.get::<Texts>(&at)?);
        let (Some(row), Some(text)) = (row, text) else { continue };
        let given_up =
            matches!(row.state, OutState::Discarded | OutState::Expired | OutState::Replaced);
        let answers = asked.choices.is_empty() || asked.choices.contains(&text.text);
        let is_this = id == Some(row.id);
        if text.reply_to == Some(asked.id) && answers && !given_up && !is_this {
            return Ok(Some(text.text));
        }
    }
    Ok(None)
}

/// The question of that id, and who asked.
fn asked_here(db: &impl Read, id: WireId, named: Option<&str>) -> Result<Question, RpcError> {
    let wanted = named.map(|name| contact_called(db, name)).transpose()?;
    let mut found: Vec<(u64, InRow)> = Vec::new();
    for (place, entry) in history::places(db, id)? {
        if entry.direction == Direction::In && wanted.is_none_or(|only| only == entry.contact) {
            found.extend(db.get::<In>(&place)?.map(|row| (place, row)));
        }
    }
    let questions: Vec<&(u64, InRow)> =
        found.iter().filter(|(_, row)| row.choices.is_some()).collect();
    let (place, row) = match (questions.as_slice(), found.is_empty()) {
        ([], true) => return Err(no_such_message(id)),
        ([], false) => {
            return Err(RpcError::bad_value(format!("message {id} is no question"))
                .with_hint(format!("to reply to it: amsctl send NAME --reply-to {id} TEXT")));
        }
        ([one], _) => *one,
        (several, _) => {
            let contacts: Vec<ContactId> = several.iter().map(|(_, row)| row.contact).collect();
            return Err(ambiguous(db, id, &contacts)?);
        }
    };
    let name = db.get::<Contacts>(&row.contact)?.map(|contact| contact.name);
    Ok(Question {
        id,
        contact: row.contact,
        to: name.ok_or_else(|| no_such_message(id))?,
        place: *place,
        choices: row.choices.clone().unwrap_or_default(),
    })
}
