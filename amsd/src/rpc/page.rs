//! As many messages as an answer holds, so that no list, however long, takes more memory.

use std::ops::ControlFlow;

use ams_rpc::types::{Message, Messages};

/// Bytes of JSON in one answer. A single message is always taken: it is smaller than this even
/// where every character of it has to be escaped.
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// A list that is being filled.
pub(super) struct Page {
    list: Messages,
    limit: usize,
    bytes: usize,
}

impl Page {
    /// At most so many messages.
    pub(super) fn of(limit: usize) -> Self {
        Self { list: Messages { messages: Vec::new(), more: false }, limit, bytes: 0 }
    }

    /// Takes one more message; breaks when there is no room for it.
    pub(super) fn take(&mut self, message: Message) -> ControlFlow<()> {
        let bytes = serde_json::to_vec(&message).map_or(MAX_BYTES, |json| json.len());
        self.bytes = self.bytes.saturating_add(bytes);
        let full = self.bytes > MAX_BYTES && !self.list.messages.is_empty();
        if full || self.list.messages.len() >= self.limit {
            self.list.more = true;
            return ControlFlow::Break(());
        }
        self.list.messages.push(message);
        ControlFlow::Continue(())
    }

    /// In the order in which they were taken.
    pub(super) fn messages(self) -> Messages {
        self.list
    }
}
