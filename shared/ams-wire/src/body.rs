//! What the ratchet protects: the fields of one message. An empty plaintext is no message: it
//! carries a ratchet step alone.

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::frame::WireError;
use crate::id::MessageId;
use crate::limits::{MAX_BODY_TEXT, MAX_CHOICE, MAX_CHOICES, MAX_TAG, MAX_TAGS, MAX_TITLE};

/// Kind of a plain text message. A reader that does not know a kind shows its text.
pub const KIND_TEXT: u8 = 1;
/// Kind of a question: its text asks, and a message whose `reply_to` names it answers.
pub const KIND_QUESTION: u8 = 2;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Body {
    /// Chosen by the sender, kept when the message is sealed anew.
    #[n(0)]
    pub id: MessageId,
    /// The sender's device; 1 as long as an account has one.
    #[n(1)]
    pub device: u32,
    /// Position among the sender's messages to this contact, from 1.
    #[n(2)]
    pub seq: u64,
    /// Lowest `seq` that the sender may still send: below it nothing comes again.
    #[n(3)]
    pub low: u64,
    /// When it was accepted from the user, milliseconds since 1970 by the sender's clock.
    #[n(4)]
    pub sent_at: i64,
    /// [`KIND_TEXT`] or [`KIND_QUESTION`].
    #[n(5)]
    pub kind: u8,
    /// The text.
    #[n(6)]
    pub text: String,
    /// The message that this one answers.
    #[n(7)]
    pub reply_to: Option<MessageId>,
    /// A headline for notifications.
    #[n(8)]
    pub title: Option<String>,
    /// 1 (least) to 5.
    #[n(9)]
    pub priority: Option<u8>,
    /// Words for filters.
    #[n(10)]
    pub tags: Option<Vec<String>>,
    /// What may be answered to a question; `None`: anything.
    #[n(11)]
    pub choices: Option<Vec<String>>,
}

impl Body {
    /// The plaintext for the ratchet.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when a field is over its bound.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        if !self.is_bounded() {
            return Err(WireError::TooLong);
        }
        let mut out = Vec::with_capacity(self.text.len().saturating_add(64));
        cbor::encode(self, &mut out);
        Ok(out)
    }

    /// Reads a plaintext; `None` where it is empty.
    ///
    /// # Errors
    /// [`WireError`] when it is malformed or a field is over its bound.
    pub fn decode(plaintext: &[u8]) -> Result<Option<Self>, WireError> {
        if plaintext.is_empty() {
            return Ok(None);
        }
        let body: Self = cbor::decode(plaintext)?;
        if body.is_bounded() { Ok(Some(body)) } else { Err(WireError::TooLong) }
    }

    fn is_bounded(&self) -> bool {
        let tags = self.tags.as_deref().unwrap_or_default();
        let choices = self.choices.as_deref().unwrap_or_default();
        // They share the room of the text: a question fits where the longest text does.
        let room = choices.iter().map(|choice| choice.len().saturating_add(2));
        room.fold(self.text.len(), usize::saturating_add) <= MAX_BODY_TEXT
            && choices.len() <= MAX_CHOICES
            && choices.iter().all(|choice| choice.len() <= MAX_CHOICE)
            && self.title.as_ref().is_none_or(|title| title.len() <= MAX_TITLE)
            && self.priority.is_none_or(|priority| (1..=5).contains(&priority))
            && tags.len() <= MAX_TAGS
            && tags.iter().all(|tag| tag.len() <= MAX_TAG)
            && self.low <= self.seq
    }
}
