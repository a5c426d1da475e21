//! As many messages as an answer holds, so that no list, however long, takes more memory.

use std::ops::ControlFlow;

use serde::Serialize;

/// Bytes of JSON in one answer. A single message is always taken: it is smaller than this even
/// where every character of it has to be escaped.
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// A list that is being filled.
pub(super) struct Page<T> {
    messages: Vec<T>,
    more: bool,
    limit: usize,
    bytes: usize,
}

impl<T: Serialize> Page<T> {
    /// At most so many messages.
    pub(super) fn of(limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { messages: Vec::new(), more: false, limit, bytes: 0 }
    }

    /// Takes one more message; breaks when there is no room for it.
    pub(super) fn take(&mut self, message: T) -> ControlFlow<()> {
        let bytes = serde_json::to_vec(&message).map_or(MAX_BYTES, |json| json.len());
        self.bytes = self.bytes.saturating_add(bytes);
        let full = self.bytes > MAX_BYTES && !self.messages.is_empty();
        if full || self.messages.len() >= self.limit {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.messages.push(message);
        ControlFlow::Continue(())
    }

    /// In the order in which they were taken, and whether there are more.
    pub(super) fn end(self) -> (Vec<T>, bool) {
        (self.messages, self.more)
    }
}
