//! `message.*`: sending, waiting, looking up, deleting.

use ams_rpc::types::{
    Contact, Done, MAX_BODY, MessageId, MessageParams, MessageShown, MessageSteps, Path, PathKind,
    PathState, Period, SendChecked, SendParams, SendResult, Stage, State, Step, Time, WaitParams,
};
use ams_rpc::{CallContext, Exit, RpcError};
use ams_wire::id::MessageId as WireId;
use tokio::time::Instant;

use super::{App, contact_called, error};
use crate::contacts::show::contact as show_contact;
use crate::contacts::{ContactId, Contacts};
use crate::inbox::history;
use crate::inbox::row::Received;
use crate::outbox::row::{OutIds, TextRow};
use crate::outbox::wish::{Way, Wish};
use crate::outbox::{self, Draft, Pushed, Weighed, queue, show};
use crate::store::{Read, StoreError};
use crate::timeline::{Direction, Entry};

pub(super) async fn send(
    app: App,
    caller: CallContext,
    params: SendParams,
) -> Result<SendResult, RpcError> {
    let (wait, timeout) = (params.wait, params.timeout);
    let at = app.outside.clock.now();
    let draft = draft(params, at)?;
    let pushed = accept(&app, draft, at).await?;
    match wait {
        Some(stage) => wait_for(&app, &caller, pushed.contact, pushed.id, stage, timeout).await,
        None => Ok(SendResult {
            id: MessageId(pushed.id.0),
            state: pushed.state,
            reached: true,
            exit: Exit::Done.code(),
        }),
    }
}

/// Puts a message into the queue; durable when this returns.
pub(super) async fn accept(app: &App, draft: Draft, at: i64) -> Result<Pushed, RpcError> {
    app.store
        .write(move |txn| {
            outbox::push(txn, &draft, at).map_err(|error| error::of_name(txn, &draft.to, error))
        })
        .await
}

pub(super) async fn check(
    app: App,
    _: CallContext,
    params: SendParams,
) -> Result<SendChecked, RpcError> {
    let size = params.body.len();
    let draft = draft(params, app.outside.clock.now())?;
    let live = app.live.clone();
    // A look and no more: a transaction that is given up would take that of others with it.
    let looked = app.store.read(move |db| {
        let weighed =
            outbox::weigh(db, &draft).map_err(|error| error::of_name(db, &draft.to, error))?;
        let (id, row) = error::contact_called(db, &draft.to)?;
        let contact = show_contact(db, &live, id, &row)?;
        let via = way(&contact, draft.wish.only.as_ref());
        let known = matches!(weighed, Weighed::Before(_));
        let reason = match draft.wish.only.as_ref().filter(|_| via.is_none()) {
            Some(only) => Some(only.reason_for(db, &row)?),
            None => None,
        };
        let bytes = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        Ok(SendChecked {
            to: contact.name,
            verified: contact.verified,
            presence: contact.presence,
            waits: via.is_none() && !known,
            via,
            reason,
            known,
            size: bytes(size),
            max_size: bytes(MAX_BODY),
            exit: Exit::Done.code(),
        })
    });
    looked.await
}

/// The path that a message to the contact takes now, if it may go there.
fn way(contact: &Contact, only: Option<&Way>) -> Option<String> {
    let of = |kind| {
        let up = move |path: &&Path| path.state == PathState::Up && path.kind == kind;
        contact.paths.iter().filter(up)
    };
    let direct = || of(PathKind::Direct).next().map(|_| "direct".to_owned());
    let relays = || of(PathKind::Relay);
    let relay = match only {
        Some(Way::Direct) => return direct(),
        Some(Way::Through(nick)) => relays().find(|path| path.name == *nick),
        // Whichever, where the direct link is the one in use.
        Some(Way::Relay) => relays().find(|path| path.active).or_else(|| relays().next()),
        None => match direct() {
            Some(direct) => return Some(direct),
            None => relays().find(|path| path.active),
        },
    };
    relay.map(|path| format!("relay:{}", path.name))
}

pub(super) fn draft(params: SendParams, at: i64) -> Result<Draft, RpcError> {
    if params.timeout.is_some() && params.wait.is_none() {
        return Err(RpcError::invalid_params("timeout without wait has no meaning")
            .with_hint("give wait as well: sent, delivered or read"));
    }
    if params.body.is_empty() {
        return Err(RpcError::empty_body("the message is empty"));
    }
    if params.body.len() > MAX_BODY {
        let length = params.body.len();
        return Err(RpcError::too_long(format!(
            "the message has {length} bytes; at most {MAX_BODY} can be sent"
        )));
    }
    if params.ttl.is_some_and(|ttl| ttl.0.is_zero()) {
        return Err(RpcError::bad_value("with a ttl of nothing the message could never leave")
            .with_hint("give the time in which it is worth something, like 30s or 2h"));
    }
    let ends =
        |Period(length)| at.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
    Ok(Draft {
        to: params.to,
        id: params.id.map(|id| WireId(id.0)),
        text: TextRow {
            text: params.body,
            reply_to: params.reply_to.map(|id| WireId(id.0)),
            title: params.title,
            priority: params.priority,
            tags: params.tags.unwrap_or_default(),
            choices: None,
        },
        wish: Wish {
            policy: params.if_undelivered.map(Into::into),
            expires_at: params.ttl.map(ends),
            key: params.key,
            only: params.via.map(Into::into),
        },
    })
}

pub(super) async fn wait(
    app: App,
    caller: CallContext,
    params: WaitParams,
) -> Result<SendResult, RpcError> {
    let id = WireId(params.id.0);
    let contact = app.store.read(move |db| recipient(db, id, params.contact.as_deref())).await?;
    wait_for(&app, &caller, contact, id, params.stage, params.timeout).await
}

/// Whom the message of that id went to; `named` picks one of several.
fn recipient(db: &impl Read, id: WireId, named: Option<&str>) -> Result<ContactId, RpcError> {
    let mut found: Vec<_> = queue::by_id(db, id)?.into_iter().map(|(contact, _)| contact).collect();
    if let Some(name) = named {
        let wanted = contact_called(db, name)?;
        found.retain(|contact| *contact == wanted);
    }
    match found.as_slice() {
        [] => Err(no_such_message(id)),
        [one] => Ok(*one),
        several => Err(ambiguous(db, id, several)?),
    }
}

/// Waits until the message reached `stage` or can no longer.
async fn wait_for(
    app: &App,
    caller: &CallContext,
    contact: ContactId,
    id: WireId,
    stage: Stage,
    timeout: Option<Period>,
) -> Result<SendResult, RpcError> {
    // A timeout beyond what a clock can show is none at all, and still counts as one.
    let deadline = timeout.and_then(|Period(length)| Instant::now().checked_add(length));
    // Registered before the first look, so that no step falls in between.
    let mut steps = app.dispatch.states(contact, id);
    let mut timed_out = false;
    loop {
        let (state, key_changed) = app.store.read(move |db| standing(db, contact, id)).await?;
        let answer = |reached, exit: Exit| SendResult {
            id: MessageId(id.0),
            state,
            reached,
            exit: exit.code(),
        };
        if let Some(end) = stage.wait_end(state, timeout.is_some(), timed_out) {
            return Ok(answer(end.reached, end.exit));
        }
        if key_changed {
            return Ok(answer(false, Exit::KeyNotTrusted));
        }
        tokio::select! {
            biased;
            () = caller.closed() => return Err(error::stopping()),
            () = steps.next() => {}
            () = until(deadline) => timed_out = true,
        }
    }
}

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Where a message of ours stands, and whether its recipient's key is in doubt.
pub(super) fn standing(
    db: &impl Read,
    contact: ContactId,
    id: WireId,
) -> Result<(State, bool), RpcError> {
    let seq = db.get::<OutIds>(&(id, contact))?.ok_or_else(|| no_such_message(id))?;
    let state = outbox::state_of(db, contact, seq, id)?;
    let to = db.get::<Contacts>(&contact)?;
    Ok((state, to.is_some_and(|row| row.is_key_changed())))
}

pub(super) async fn show(
    app: App,
    _: CallContext,
    params: MessageParams,
) -> Result<MessageShown, RpcError> {
    app.store
        .read(move |db| {
            let mut messages = Vec::new();
            for (place, entry) in found(db, &params)? {
                messages.extend(with_steps(db, place, entry)?);
            }
            if messages.is_empty() {
                return Err(no_such_message(WireId(params.id.0)));
            }
            Ok(MessageShown { messages })
        })
        .await
}

fn with_steps(
    db: &impl Read,
    place: u64,
    entry: Entry,
) -> Result<Option<MessageSteps>, StoreError> {
    if entry.direction == Direction::Out {
        return show::with_steps(db, entry.contact, entry.seq);
    }
    let Some(message) = history::received(db, place)? else { return Ok(None) };
    let step = |time, what: State, via| Step { time, what: what.to_string(), via, reason: None };
    let mut steps = Vec::with_capacity(2);
    if let Some(time) = message.time_received {
        steps.push(step(time, State::Delivered, message.via.clone()));
    }
    let received = db.get::<Received>(&(entry.contact, entry.seq))?;
    if let Some(read) = received.and_then(|row| row.read_at) {
        steps.push(step(Time::from_millis(read), State::Read, None));
    }
    Ok(Some(MessageSteps {
        message,
        steps,
        if_undelivered: None,
        expires: None,
        key: None,
        only_via: None,
    }))
}

pub(super) async fn delete(
    app: App,
    _: CallContext,
    params: MessageParams,
) -> Result<Done, RpcError> {
    app.store
        .write(move |txn| {
            let id = WireId(params.id.0);
            let found = found(txn, &params)?;
            let Some((_, first)) = found.first() else { return Err(no_such_message(id)) };
            let mut contacts: Vec<_> = found.iter().map(|(_, entry)| entry.contact).collect();
            contacts.dedup();
            if contacts.iter().any(|contact| *contact != first.contact) {
                return Err(ambiguous(txn, id, &contacts)?);
            }
            for (place, entry) in &found {
                if !history::delete(txn, *place, *entry)? {
                    return Err(RpcError::not_allowed(format!("message {id} is on its way"))
                        .with_hint(format!("first give it up: amsctl queue discard {id}")));
                }
            }
            Ok(Done {})
        })
        .await
}

/// The messages of that id, of one contact where one is named.
fn found(db: &impl Read, params: &MessageParams) -> Result<Vec<(u64, Entry)>, RpcError> {
    let mut found = history::places(db, WireId(params.id.0))?;
    if let Some(name) = &params.contact {
        let wanted = contact_called(db, name)?;
        found.retain(|(_, entry)| entry.contact == wanted);
    }
    Ok(found)
}

pub(super) fn no_such_message(id: WireId) -> RpcError {
    RpcError::no_such_message(format!("there is no message {id}"))
}

pub(super) fn ambiguous(
    db: &impl Read,
    id: WireId,
    contacts: &[ContactId],
) -> Result<RpcError, StoreError> {
    let mut names = Vec::with_capacity(contacts.len());
    for contact in contacts {
        names.extend(db.get::<Contacts>(contact)?.map(|row| row.name));
    }
    let names = names.join(", ");
    Ok(RpcError::ambiguous(format!("message {id} is one with each of {names}"))
        .with_hint("say which: --contact NAME"))
}
