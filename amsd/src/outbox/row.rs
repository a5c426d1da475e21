//! What is kept of a message to a contact.

use ams_rpc::types::State;
use ams_wire::id::MessageId;
use ams_wire::receipt::Window;
use minicbor::{Decode, Encode};

use super::wish::Wish;
use crate::contacts::ContactId;
use crate::store::Table;

/// State of a message, as it lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OutState {
    /// On this disk.
    #[n(0)]
    Queued,
    /// A relay or the peer took it.
    #[n(1)]
    Sent,
    /// On the recipient's disk.
    #[n(2)]
    Delivered,
    /// A reader of the recipient acknowledged it.
    #[n(3)]
    Read,
    /// Trying ended; the user decides.
    #[n(4)]
    Undelivered,
    /// Kept until the contact comes online.
    #[n(5)]
    Waiting,
    /// Ended by the user or the policy.
    #[n(6)]
    Discarded,
    /// Ended by its time to live.
    #[n(7)]
    Expired,
    /// Ended by a newer message with the same key.
    #[n(8)]
    Replaced,
}

impl OutState {
    /// Whether nothing more is tried.
    pub fn is_final(self) -> bool {
        State::from(self).is_final()
    }

    /// Whether its ciphertext is on the way, or is to be.
    pub fn is_moving(self) -> bool {
        matches!(self, Self::Queued | Self::Sent)
    }
}

impl From<OutState> for State {
    fn from(state: OutState) -> Self {
        match state {
            OutState::Queued => Self::Queued,
            OutState::Sent => Self::Sent,
            OutState::Delivered => Self::Delivered,
            OutState::Read => Self::Read,
            OutState::Undelivered => Self::Undelivered,
            OutState::Waiting => Self::Waiting,
            OutState::Discarded => Self::Discarded,
            OutState::Expired => Self::Expired,
            OutState::Replaced => Self::Replaced,
        }
    }
}

/// One step that a message took.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StepRow {
    /// Milliseconds since 1970.
    #[n(0)]
    pub at: i64,
    /// The state that it came to.
    #[n(1)]
    pub state: OutState,
    /// Over which path.
    #[n(2)]
    pub via: Option<String>,
    /// Why.
    #[n(3)]
    pub reason: Option<String>,
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OutRow {
    /// Chosen by who sent it.
    #[n(0)]
    pub id: MessageId,
    /// Where it stands.
    #[n(1)]
    pub state: OutState,
    /// When it was accepted, milliseconds since 1970.
    #[n(2)]
    pub accepted_at: i64,
    /// Its place in the timeline.
    #[n(3)]
    pub place: u64,
    /// Over which path it went last.
    #[n(4)]
    pub via: Option<String>,
    /// Every step, oldest first; at most [`MAX_STEPS`].
    #[n(5)]
    pub steps: Vec<StepRow>,
    /// What is wanted of it beyond what the config says.
    #[n(6)]
    pub wish: Option<Wish>,
}

/// Most steps kept of a message: beyond that the ones in the middle go.
pub const MAX_STEPS: usize = 40;

/// What a message says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TextRow {
    /// The text.
    #[n(0)]
    pub text: String,
    /// The message that it answers.
    #[n(1)]
    pub reply_to: Option<MessageId>,
    /// Headline.
    #[n(2)]
    pub title: Option<String>,
    /// 1 to 5.
    #[n(3)]
    pub priority: Option<u8>,
    /// Words for filters.
    #[n(4)]
    pub tags: Vec<String>,
    /// Of a question: what may be answered, nothing where anything may; `None`: it is none.
    #[n(5)]
    pub choices: Option<Vec<String>>,
}

/// Contact and `seq` → where the message stands.
pub struct Out;
impl Table for Out {
    const NAME: &'static str = "out";
    type Key = (ContactId, u64);
    type Row = OutRow;
}

/// Contact and `seq` → what the message says. Apart from [`Out`], which changes at every step.
pub struct Texts;
impl Table for Texts {
    const NAME: &'static str = "out_texts";
    type Key = (ContactId, u64);
    type Row = TextRow;
}

/// Message id and contact → `seq`. Outlives the message, so that a repeated `send` is noticed.
pub struct OutIds;
impl Table for OutIds {
    const NAME: &'static str = "out_ids";
    type Key = (MessageId, ContactId);
    type Row = u64;
}

/// Message id and contact → what the message said, blinded. Outlives the message as [`OutIds`] does.
pub struct Digests;
impl Table for Digests {
    const NAME: &'static str = "out_digests";
    type Key = (MessageId, ContactId);
    type Row = minicbor::bytes::ByteArray<16>;
}

/// Message id and contact → where the message stood when it was deleted here.
pub struct Ends;
impl Table for Ends {
    const NAME: &'static str = "out_ends";
    type Key = (MessageId, ContactId);
    type Row = OutState;
}

/// Contact and `seq` of every message that is not final → its state.
pub struct Live;
impl Table for Live {
    const NAME: &'static str = "out_live";
    type Key = (ContactId, u64);
    type Row = OutState;
}

/// Contact and `seq` of every message that is queued. A queue of a few behind thousands that are
/// undelivered is found without a look at those.
pub struct Queued;
impl Table for Queued {
    const NAME: &'static str = "out_queued";
    type Key = (ContactId, u64);
    type Row = ();
}

/// Contact and `seq` of every message that waits for the contact.
pub struct Waiting;
impl Table for Waiting {
    const NAME: &'static str = "out_waiting";
    type Key = (ContactId, u64);
    type Row = ();
}

/// Contact → what it said last of what it read.
pub struct ReadSeen;
impl Table for ReadSeen {
    const NAME: &'static str = "out_read_seen";
    type Key = ContactId;
    type Row = Window;
}
