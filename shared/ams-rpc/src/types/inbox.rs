//! What arrived, and who has read how far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::message::Message;
use super::scalar::{Period, Time};

/// The reader that `recv` uses where none is named.
pub const DEFAULT_READER: &str = "default";

/// Params of `inbox.next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InboxNextParams {
    /// The reader's name; made at its first use.
    pub reader: String,
    /// At most so many messages; fewer where they would be more than 512 KiB, but at least one.
    pub max: Option<u32>,
    /// Wait this long for the first one; without it, answer at once.
    pub wait: Option<Period>,
    /// Only of this contact. Positions are kept per contact, so nothing of others is skipped.
    pub from: Option<String>,
    /// Where the reader is first made: begin with everything that is kept. The reader `default`
    /// always does.
    pub from_start: Option<bool>,
    /// Only look: do not hold the reader, nothing to acknowledge.
    pub peek: Option<bool>,
    /// With `peek`: only what lies behind this cursor of an earlier look.
    pub after: Option<String>,
}

/// Result of `inbox.next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InboxBatch {
    /// In order of arrival; none when nothing was there in time.
    pub messages: Vec<Message>,
    /// What to give to `inbox.ack` when all of these were taken, and when peeking to the next look
    /// as `after`; `null` where there are none.
    pub cursor: Option<String>,
    /// There are more already.
    pub more: bool,
}

/// Params of `inbox.ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InboxAckParams {
    /// The reader's name.
    pub reader: String,
    /// From `inbox.next`; it names an arrival number and whether all contacts or one are meant.
    pub cursor: String,
}

/// A reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReaderInfo {
    /// Its name.
    pub name: String,
    /// Messages that it has not had.
    pub unread: u64,
    /// When it was last used.
    pub used: Option<Time>,
}

/// Result of `inbox.readers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readers {
    /// By name.
    pub readers: Vec<ReaderInfo>,
}

/// Params of `inbox.forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReaderParams {
    /// The reader's name.
    pub reader: String,
}
