//! Messages that are not delivered yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::message::{Message, State};
use super::scalar::MessageId;

/// Params of `queue.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueListParams {
    /// Only to this contact.
    pub to: Option<String>,
    /// Only what stands behind this message in the queue.
    pub after: Option<MessageId>,
    /// At most so many; without it, as many as fit into an answer.
    pub limit: Option<u32>,
}

/// A message that is not delivered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueuedMessage {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// Why it is where it is, where there is something to say: what its last step said, or what it
    /// waits for.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Result of `queue.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueuedMessages {
    /// Oldest first; as many as fit into an answer.
    pub messages: Vec<QueuedMessage>,
    /// There are more than these, which `after` gets.
    #[serde(default)]
    pub more: bool,
}

/// Params of `queue.keep`, `queue.discard` and `queue.retry`: exactly one of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueParams {
    /// These messages.
    pub ids: Option<Vec<MessageId>>,
    /// Every message that is not in a final state.
    pub all: Option<bool>,
    /// Every such message to this contact.
    pub to: Option<String>,
    /// With `all` or `to`: goes on where an answer ended that said `next`.
    pub after: Option<String>,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueOutcome {
    /// The message.
    pub id: MessageId,
    /// Its state now.
    pub state: State,
}

/// Result of `queue.keep`, `queue.discard` and `queue.retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueOutcomes {
    /// Contact by contact, those of one in the order in which they were sent; as many as are decided
    /// in one call.
    pub messages: Vec<QueueOutcome>,
    /// There are more than these: opaque, for `after`.
    #[serde(default)]
    pub next: Option<String>,
}
