//! What was said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::MessageId;

/// Params of `history.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// Only with this contact.
    pub contact: Option<String>,
    /// Only where body or title contain this, whatever the case.
    pub search: Option<String>,
    /// The newest so many; default 50.
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
}
