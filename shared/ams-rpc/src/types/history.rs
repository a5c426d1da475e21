//! What was said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::MessageId;

/// The most messages that `history.list` can be asked for at once; `before` gets the rest.
pub const MAX_LIMIT: u32 = 10_000;

/// Params of `history.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// Only with this contact.
    pub contact: Option<String>,
    /// Only where body or title contain this, whatever the case.
    pub search: Option<String>,
    /// The newest so many, at most 10,000; default 50.
    #[schemars(range(max = MAX_LIMIT))]
    pub limit: Option<u32>,
    /// Only what is older than this message.
    pub before: Option<MessageId>,
}

/// Params of `history.clear`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryClearParams {
    /// With this contact.
    pub contact: String,
}

/// Result of `history.clear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryCleared {
    /// So many messages were removed here; what the other side has stays.
    pub removed: u64,
    /// So many of them had come, and some reader had not had them yet.
    #[serde(default)]
    pub unread: u64,
}
