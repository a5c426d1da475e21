//! What is kept of a message from a contact.

use ams_wire::id::MessageId;
use minicbor::{Decode, Encode};

use crate::contacts::ContactId;
use crate::store::Table;

/// One received message. It does not change; whether it was read stands in [`Received`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InRow {
    /// From whom.
    #[n(0)]
    pub contact: ContactId,
    /// Chosen by the sender.
    #[n(1)]
    pub id: MessageId,
    /// The sender's number.
    #[n(2)]
    pub seq: u64,
    /// By the sender's clock, milliseconds since 1970.
    #[n(3)]
    pub sent_at: i64,
    /// By ours.
    #[n(4)]
    pub received_at: i64,
    /// Over which path it came.
    #[n(5)]
    pub via: String,
    /// Whether the contact was verified then.
    #[n(6)]
    pub verified: bool,
    /// The text.
    #[n(7)]
    pub text: String,
    /// The message that it answers.
    #[n(8)]
    pub reply_to: Option<MessageId>,
    /// Headline.
    #[n(9)]
    pub title: Option<String>,
    /// 1 to 5.
    #[n(10)]
    pub priority: Option<u8>,
    /// Words for filters.
    #[n(11)]
    pub tags: Vec<String>,
    /// Of a question: what may be answered, nothing where anything may; `None`: it is none.
    #[n(12)]
    pub choices: Option<Vec<String>>,
}

/// Place in the timeline → message.
pub struct In;
impl Table for In {
    const NAME: &'static str = "in";
    type Key = u64;
    type Row = InRow;
}

/// Contact and message id → when it came, by its `seq` and our clock. Outlives the message: what
/// stands here is never shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KnownRow {
    /// The sender's number.
    #[n(0)]
    pub seq: u64,
    /// Milliseconds since 1970.
    #[n(1)]
    pub at: i64,
    /// Its place in the timeline.
    #[n(2)]
    pub place: u64,
}

/// See [`KnownRow`].
pub struct Known;
impl Table for Known {
    const NAME: &'static str = "in_known";
    type Key = (ContactId, MessageId);
    type Row = KnownRow;
}

/// Message id and contact → place, to find a message by its id alone.
pub struct InIds;
impl Table for InIds {
    const NAME: &'static str = "in_ids";
    type Key = (MessageId, ContactId);
    type Row = u64;
}

/// Whether a message was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct ReceivedRow {
    /// A reader acknowledged it.
    #[n(0)]
    pub read: bool,
    /// When one did so first, milliseconds since 1970; not known of what was read before this was
    /// written down.
    #[n(1)]
    pub read_at: Option<i64>,
}

/// Contact and the sender's `seq` → whether it was read.
pub struct Received;
impl Table for Received {
    const NAME: &'static str = "in_received";
    type Key = (ContactId, u64);
    type Row = ReceivedRow;
}

/// Contact and `seq` of what was read although something before it was not.
pub struct ReadAhead;
impl Table for ReadAhead {
    const NAME: &'static str = "in_read_ahead";
    type Key = (ContactId, u64);
    type Row = ();
}

/// A named position in the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReaderRow {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Everything up to this place was acknowledged.
    #[n(1)]
    pub all: u64,
    /// Of these contacts, everything up to that place, which lies above `all`.
    #[n(2)]
    pub of: Vec<Position>,
    /// When it was last used, milliseconds since 1970.
    #[n(3)]
    pub used_at: i64,
}

/// A reader's position in what came from one contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Position {
    /// From whom.
    #[n(0)]
    pub contact: ContactId,
    /// Up to which place.
    #[n(1)]
    pub place: u64,
}

/// Blinded reader name → position.
pub struct Readers;
impl Table for Readers {
    const NAME: &'static str = "readers";
    type Key = [u8; 16];
    type Row = ReaderRow;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_time_is_still_read() {
        let old = [0xa1, 0x00, 0xf5];
        let row = ReceivedRow { read: true, read_at: None };
        assert_eq!(minicbor::decode::<ReceivedRow>(&old).unwrap(), row);
        assert_eq!(minicbor::to_vec(row).unwrap(), old);
        let row = ReceivedRow { read: true, read_at: Some(1) };
        let new = [0xa2, 0x00, 0xf5, 0x01, 0x01];
        assert_eq!(minicbor::to_vec(row).unwrap(), new);
        assert_eq!(minicbor::decode::<ReceivedRow>(&new).unwrap(), row);
    }
}
