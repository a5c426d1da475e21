//! Messages to contacts, as the user sees them.

use ams_rpc::types::{Direction, Message, MessageId, MessageSteps, Step, Time};

use super::row::{Out, OutRow, Texts};
use crate::contacts::{ContactId, Contacts};
use crate::store::{Read, StoreError};

/// Our name for ourselves in `from` and `to`.
pub const ME: &str = "me";

/// One message; `None` when it was deleted.
pub fn message(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
) -> Result<Option<Message>, StoreError> {
    Ok(with_row(db, contact, seq)?.map(|(message, _)| message))
}

/// One message with every step that it took, and what is wanted of it.
pub fn with_steps(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
) -> Result<Option<MessageSteps>, StoreError> {
    let Some((message, row)) = with_row(db, contact, seq)? else { return Ok(None) };
    let wish = row.wish.unwrap_or_default();
    let steps = row.steps.into_iter().map(|step| Step {
        time: Time::from_millis(step.at),
        what: ams_rpc::types::State::from(step.state).to_string(),
        via: step.via,
        reason: step.reason,
    });
    Ok(Some(MessageSteps {
        message,
        steps: steps.collect(),
        if_undelivered: wish.policy.map(Into::into),
        expires: wish.expires_at.map(Time::from_millis),
        key: wish.key,
        only_via: wish.only.map(Into::into),
    }))
}

/// One message with its row; `None` when it was deleted.
pub fn with_row(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
) -> Result<Option<(Message, OutRow)>, StoreError> {
    let Some(row) = db.get::<Out>(&(contact, seq))? else { return Ok(None) };
    let Some(text) = db.get::<Texts>(&(contact, seq))? else { return Ok(None) };
    let to = db.get::<Contacts>(&contact)?;
    let (name, verified) =
        to.map_or((String::new(), false), |row| (row.name, row.verified.is_some()));
    let message = Message {
        id: MessageId(row.id.0),
        contact: name.clone(),
        contact_id: contact.to_string(),
        direction: Direction::Out,
        from: ME.to_owned(),
        to: name,
        body: text.text,
        state: row.state.into(),
        time_sent: Time::from_millis(row.accepted_at),
        time_received: None,
        verified,
        via: row.via.clone(),
        reply_to: text.reply_to.map(|id| MessageId(id.0)),
        title: text.title,
        priority: text.priority,
        tags: text.tags,
        choices: text.choices,
    };
    Ok(Some((message, row)))
}
