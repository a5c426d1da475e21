//! Messages on their way: durable before `send` answers, kept until the recipient's receipt.
//!
//! 1. [`push()`]: a message is accepted
//! 2. [`wish`]: what is wanted of it beyond what the config says
//! 3. [`seal`]: it becomes an envelope when its turn comes
//! 4. [`state`]: what happens to it, step by step
//! 5. [`queue`]: what the user decides about it
//! 6. [`show`]: what the user sees of it
//!
//! [`ids`] remembers for a while what is gone.

pub(crate) mod ids;
pub mod queue;
pub mod row;
pub mod seal;
pub mod show;
pub mod state;
#[cfg(test)]
mod tests;
pub mod wish;

use std::ops::ControlFlow;

use ams_rpc::types::{MAX_KEY, State};
use ams_wire::id::MessageId;
use ams_wire::limits::{MAX_BODY_TEXT, MAX_CHOICE, MAX_CHOICES, MAX_TAG, MAX_TAGS, MAX_TITLE};
use minicbor::bytes::ByteArray;

use crate::contacts::{self, ContactId, ContactRow, Stage};
use crate::fact::Fact;
use crate::relay;
use crate::store::{Read, StoreError, Table, Txn};
use crate::timeline::{self, Direction};
use row::{Digests, Ends, Live, Out, OutIds, OutRow, OutState, StepRow, TextRow, Texts};
use wish::{Way, Wish};

/// Newest − lowest living `seq` of one contact stays below this: the recipient remembers the ids
/// of that many.
const MAX_SPAN: u64 = 65_536;

/// A message that somebody wants sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// To whom, by name.
    pub to: String,
    /// Chosen by the caller, or `None` to have one made.
    pub id: Option<MessageId>,
    /// What it says.
    pub text: TextRow,
    /// What is wanted of it beyond what the config says.
    pub wish: Wish,
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody has that name.
    #[error("no contact is called {0}")]
    NoSuchContact(String),
    /// The contact did not approve yet.
    #[error("{0} has not approved you yet")]
    NotApproved(String),
    /// The user blocked the contact.
    #[error("{0} is blocked")]
    Blocked(String),
    /// The contact's identity key changed.
    #[error("the key of {0} changed")]
    KeyChanged(String),
    /// The id names another message.
    #[error("message {0} is another one: it has another contact or another text")]
    IdConflict(MessageId),
    /// It may only go through a relay that nobody knows.
    #[error("no relay is called {0}")]
    NoSuchRelay(String),
    /// A key that cannot be one.
    #[error("the key is empty or longer than {MAX_KEY} bytes")]
    BadKey,
    /// A bound of the message's fields.
    #[error("{0}")]
    Bounds(&'static str),
}

/// An accepted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// To whom.
    pub contact: ContactId,
    /// Its id.
    pub id: MessageId,
    /// Where it stands: `queued`, unless it was accepted before.
    pub state: State,
}

/// What becomes of a message that would be accepted.
pub(crate) enum Weighed {
    /// It was accepted before, and is not again.
    Before(Pushed),
    /// It is a new one, to this contact.
    New(ContactId, Box<ContactRow>),
}

/// Whether a message would be accepted. Everything for which it is refused is looked at here.
pub(crate) fn weigh(db: &impl Read, draft: &Draft) -> Result<Weighed, PushError> {
    check_bounds(&draft.text, &draft.wish)?;
    let (contact, row) = contacts::by_name(db, &draft.to)?
        .ok_or_else(|| PushError::NoSuchContact(draft.to.clone()))?;
    if let Some(id) = draft.id
        && let Some(earlier) = accepted_before(db, contact, id, &draft.text)?
    {
        return Ok(Weighed::Before(earlier));
    }
    match () {
        () if row.is_key_changed() => return Err(PushError::KeyChanged(row.name)),
        () if row.blocked => return Err(PushError::Blocked(row.name)),
        () if !matches!(row.stage, Stage::Approved | Stage::Active) => {
            return Err(PushError::NotApproved(row.name));
        }
        () => {}
    }
    if let Some(Way::Through(nick)) = &draft.wish.only
        && relay::by_nick(db, nick)?.is_none()
    {
        return Err(PushError::NoSuchRelay(nick.clone()));
    }
    Ok(Weighed::New(contact, Box::new(row)))
}

/// Accepts a message. Durable, and on its way, once the transaction is.
pub fn push(txn: &Txn<'_>, draft: &Draft, now: i64) -> Result<Pushed, PushError> {
    let (contact, mut row) = match weigh(txn, draft)? {
        Weighed::New(contact, row) => (contact, *row),
        Weighed::Before(earlier) => {
            // Where the commit that accepted it was said to have failed, nothing was told of it.
            if earlier.state == State::Queued {
                txn.tell(Fact::Due(earlier.contact));
            }
            return Ok(earlier);
        }
    };
    let id = draft.id.unwrap_or_else(|| MessageId(ams_crypto::random::bytes()));
    if let Some(key) = &draft.wish.key {
        wish::replace(txn, contact, key, id, now)?;
    }
    let before = row.clone();
    let seq = row.next_seq;
    row.next_seq = seq.saturating_add(1);
    contacts::put(txn, contact, Some(&before), &row)?;
    let place = timeline::append(txn, contact, Direction::Out, seq)?;
    let reason = match (goes_after(txn, contact, seq)?, &draft.wish.only) {
        (Some(reason), _) => Some(reason),
        (None, Some(only)) => Some(only.reason_for(txn, &row)?),
        (None, None) => None,
    };
    let step = StepRow { at: now, state: OutState::Queued, via: None, reason };
    wish::note(txn, contact, seq, &draft.wish)?;
    let out = OutRow {
        id,
        state: OutState::Queued,
        accepted_at: now,
        place,
        via: None,
        steps: vec![step],
        wish: Some(draft.wish.clone()).filter(|wish| *wish != Wish::default()),
    };
    txn.put::<Texts>(&(contact, seq), &draft.text)?;
    txn.put::<Out>(&(contact, seq), &out)?;
    txn.put::<OutIds>(&(id, contact), &seq)?;
    remember(txn, contact, id, &draft.text)?;
    state::file(txn, (contact, seq), None, OutState::Queued)?;
    txn.tell(Fact::Due(contact));
    Ok(Pushed { contact, id, state: State::Queued })
}

/// The message that was accepted under this id before, if it is the same one.
fn accepted_before(
    db: &impl Read,
    contact: ContactId,
    id: MessageId,
    text: &TextRow,
) -> Result<Option<Pushed>, PushError> {
    let known = db.list::<OutIds>(&id)?;
    let Some((_, seq)) = known.iter().find(|((_, other), _)| *other == contact) else {
        return if known.is_empty() { Ok(None) } else { Err(PushError::IdConflict(id)) };
    };
    let said = db.get::<Digests>(&(id, contact))?;
    if said.is_some_and(|said| Ok(said) != digest(db, text)) {
        return Err(PushError::IdConflict(id));
    }
    let state = state_of(db, contact, *seq, id)?;
    Ok(Some(Pushed { contact, id, state }))
}

/// Where a message stands, or stood when it was deleted from the history.
pub fn state_of(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
    id: MessageId,
) -> Result<State, StoreError> {
    if let Some(out) = db.get::<Out>(&(contact, seq))? {
        return Ok(out.state.into());
    }
    // Where nobody wrote it down, it was over.
    Ok(db.get::<Ends>(&(id, contact))?.map_or(State::Delivered, State::from))
}

/// The message to the contact about which the user has to decide before `seq` can leave. `None` also
/// where what `seq` waits for goes on by itself.
pub fn decide_first(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
) -> Result<Option<MessageId>, StoreError> {
    let first = first_to_end(db, contact, seq)?;
    Ok(first.filter(|out| !out.state.is_moving()).map(|out| out.id))
}

/// Why `seq` cannot leave before another message to the contact has come to its end.
pub(crate) fn goes_after(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
) -> Result<Option<String>, StoreError> {
    Ok(first_to_end(db, contact, seq)?.map(|OutRow { id, state, .. }| match state.is_moving() {
        true => format!("it goes after {id}: too much was accepted since"),
        false => format!("decide {id} first: too much was accepted since"),
    }))
}

/// The message to the contact that has to come to an end before `seq` can leave: the recipient
/// remembers ids only so far back.
fn first_to_end(
    db: &impl Read,
    contact: ContactId,
    seq: u64,
) -> Result<Option<OutRow>, StoreError> {
    if seq < MAX_SPAN {
        return Ok(None);
    }
    let lowest = low(db, contact, seq)?;
    if seq.saturating_sub(lowest) < MAX_SPAN {
        return Ok(None);
    }
    db.get::<Out>(&(contact, lowest))
}

/// Remembers what a message said, for whoever sends its id again.
pub(crate) fn remember(
    txn: &Txn<'_>,
    contact: ContactId,
    id: MessageId,
    text: &TextRow,
) -> Result<(), StoreError> {
    txn.put::<Digests>(&(id, contact), &digest(txn, text)?)
}

/// What a message says, as something that can be compared and not read.
fn digest(db: &impl Read, text: &TextRow) -> Result<ByteArray<16>, StoreError> {
    let bytes = minicbor::to_vec(text).map_err(|_| StoreError::Damaged(Texts::NAME))?;
    Ok(db.sealer().blind(Digests::NAME, &bytes).into())
}

fn check_bounds(text: &TextRow, wish: &Wish) -> Result<(), PushError> {
    let bounds = |what| Err(PushError::Bounds(what));
    match text {
        _ if wish.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) => {
            Err(PushError::BadKey)
        }
        _ if text.text.is_empty() => bounds("the message is empty"),
        _ if text.text.len() > MAX_BODY_TEXT => bounds("the message is longer than 46 KiB"),
        _ if text.title.as_ref().is_some_and(|title| title.len() > MAX_TITLE) => {
            bounds("the title is longer than 256 bytes")
        }
        _ if text.priority.is_some_and(|priority| !(1..=5).contains(&priority)) => {
            bounds("the priority is not 1 to 5")
        }
        _ if !choices_fit(text) => bounds(
            "more than 8 choices, one that is empty or longer than 32 bytes, or no room for them",
        ),
        _ if text.tags.len() > MAX_TAGS => bounds("more than 16 tags"),
        _ if text.tags.iter().any(|tag| tag.is_empty() || tag.len() > MAX_TAG) => {
            bounds("a tag is empty or longer than 32 bytes")
        }
        _ => Ok(()),
    }
}

/// They share the room of the text, as in the message itself.
fn choices_fit(text: &TextRow) -> bool {
    let choices = text.choices.as_deref().unwrap_or_default();
    let room = choices.iter().map(|choice| choice.len().saturating_add(2));
    choices.len() <= MAX_CHOICES
        && choices.iter().all(|choice| (1..=MAX_CHOICE).contains(&choice.len()))
        && room.fold(text.text.len(), usize::saturating_add) <= MAX_BODY_TEXT
}

/// Lowest `seq` to the contact that may still be sent.
pub(crate) fn low(db: &impl Read, contact: ContactId, next: u64) -> Result<u64, StoreError> {
    Ok(db.first::<Live>(&contact)?.map_or(next, |((_, seq), _)| seq))
}

/// Contacts that have a message which is not final.
pub fn contacts_with_live(db: &impl Read) -> Result<Vec<ContactId>, StoreError> {
    let mut found = Vec::new();
    let mut from: Option<(ContactId, u64)> = None;
    loop {
        let mut next = None;
        db.each::<Live>(&(), from.as_ref(), |(contact, _), _| {
            next = Some(contact);
            ControlFlow::Break(())
        })?;
        let Some(contact) = next else { return Ok(found) };
        found.push(contact);
        from = Some((ContactId(contact.0.saturating_add(1)), 0));
    }
}
