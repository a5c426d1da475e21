//! A conversation on a terminal.
//!
//! 1. [`typing`]: the line that is being typed, its history, its completion
//! 2. [`listening`]: what happens meanwhile, shown above that line
//!
//! Both have the [`Talk`]: with whom, what was shown, and what was sent and where that is.

pub mod listening;
pub mod typing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ams_rpc::types::{Contact, Direction, Message, MessageId, State};
use rustyline::ExternalPrinter;

use crate::render;
use crate::text::line;

/// Between two tries to reach a daemon that went away.
pub const PAUSE: Duration = Duration::from_millis(500);
/// What of a message of ours is quoted where its state is told.
const MAX_QUOTE: usize = 40;

/// A message of ours.
#[derive(Debug, Clone)]
struct Sent {
    beginning: String,
    state: State,
}

/// What both sides of a conversation know.
#[derive(Debug, Default)]
pub struct Talk {
    name: String,
    contact_id: String,
    /// Whose, which way, which: an id is unique no further.
    shown: BTreeSet<(String, bool, MessageId)>,
    sent: BTreeMap<MessageId, Sent>,
}

/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SharedTalk(Arc<Mutex<Talk>>);

impl SharedTalk {
    fn with<T>(&self, look: impl FnOnce(&mut Talk) -> T) -> T {
        let mut talk: MutexGuard<'_, Talk> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut talk)
    }

    /// The conversation is with this contact from now on.
    pub fn turn_to(&self, contact: &Contact) {
        self.with(|talk| {
            (talk.name, talk.contact_id) = (contact.name.clone(), contact.id.clone());
        });
    }

    /// With whom.
    #[must_use]
    pub fn name(&self) -> String {
        self.with(|talk| talk.name.clone())
    }

    fn is_with(&self, contact_id: &str) -> bool {
        self.with(|talk| talk.contact_id == contact_id)
    }

    /// The message as it is shown, unless it was before.
    pub fn show(&self, message: &Message) -> Option<String> {
        let came = message.direction == Direction::In;
        let key = (message.contact_id.clone(), came, message.id);
        self.with(|talk| talk.shown.insert(key)).then(|| render::message(message))
    }

    /// A message of ours is to be sent.
    pub fn sends(&self, id: MessageId, text: &str) {
        let mut beginning: String =
            text.lines().next().unwrap_or_default().chars().take(MAX_QUOTE).collect();
        if beginning.len() < text.len() {
            beginning.push('…');
        }
        self.with(|talk| talk.sent.insert(id, Sent { beginning, state: State::Queued }));
    }

    /// It was not.
    pub fn takes_back(&self, id: MessageId) {
        self.with(|talk| talk.sent.remove(&id));
    }

    /// A message of ours is in this state: what to tell, where that is news. That it is on its way is
    /// told only where that is asked for.
    pub fn state(
        &self,
        id: MessageId,
        state: State,
        reason: Option<&str>,
        also_on_its_way: bool,
    ) -> Option<String> {
        self.with(|talk| {
            let sent = talk.sent.get_mut(&id)?;
            let moves = matches!(state, State::Queued | State::Sent);
            let news = if moves { also_on_its_way } else { sent.state != state };
            sent.state = state;
            let told = news.then(|| told(id, sent, reason));
            if matches!(state, State::Read) {
                talk.sent.remove(&id);
            }
            told
        })
    }

    /// Messages of ours that may have moved while nobody listened.
    fn unfinished(&self) -> Vec<MessageId> {
        self.with(|talk| talk.sent.keys().copied().collect())
    }
}

fn told(id: MessageId, sent: &Sent, reason: Option<&str>) -> String {
    let mut told = format!("  [{}] {}", sent.state, line(&sent.beginning));
    if let Some(reason) = reason {
        told.push_str(&format!(" ({})", line(reason)));
    }
    if sent.state == State::Undelivered {
        told.push_str(&format!("; amsctl queue retry {id}, or keep, or discard"));
    }
    told.push('\n');
    told
}

/// Prints above the line that is being typed. Clones share it.
pub struct Screen<P>(Arc<Mutex<P>>);

impl<P> Clone for Screen<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: ExternalPrinter> Screen<P> {
    /// On the terminal of this editor.
    #[must_use]
    pub fn new(printer: P) -> Self {
        Self(Arc::new(Mutex::new(printer)))
    }

    /// Whole lines. Nobody can be told when that fails: the terminal is gone, which whoever types
    /// notices.
    pub fn print(&self, lines: String) {
        if !lines.is_empty() {
            let mut printer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = printer.print(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_once_and_where_they_are_news() {
        let talk = SharedTalk::default();
        let id = MessageId([7; 16]);
        assert_eq!(talk.state(id, State::Delivered, None, false), None, "of another window");
        talk.sends(id, "hello\u{1b}[31m\nthere");
        assert_eq!(talk.state(id, State::Sent, None, false), None);
        let queued = talk.state(id, State::Sent, Some("not connected: home"), true).unwrap();
        assert_eq!(queued, "  [sent] hello\\u{1b}[31m… (not connected: home)\n");
        let delivered = talk.state(id, State::Delivered, None, false).unwrap();
        assert_eq!(delivered, "  [delivered] hello\\u{1b}[31m…\n");
        assert_eq!(talk.state(id, State::Delivered, None, false), None);
        assert!(talk.state(id, State::Read, None, false).is_some());
        assert_eq!(talk.state(id, State::Read, None, false), None);
        talk.sends(id, "again");
        let undelivered = talk.state(id, State::Undelivered, None, false).unwrap();
        assert!(undelivered.contains(&format!("amsctl queue retry {id}")), "{undelivered}");
        talk.takes_back(id);
        assert_eq!(talk.state(id, State::Discarded, None, false), None);
    }
}
