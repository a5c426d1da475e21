//! Desktop notifications: what is shown of an event, and showing it over D-Bus.
//!
//! What somebody else wrote is made harmless twice: nothing in it is a control character, and where
//! the desktop reads markup, nothing in it is markup.

#[cfg(all(unix, not(target_os = "macos")))]
mod unix;

use ams_rpc::types::{Fact, HookEvent, Message};
#[cfg(all(unix, not(target_os = "macos")))]
pub use unix::show;

use crate::text::line;

/// Characters that are shown of a headline and of a text; a desktop shows no more anyway.
const MAX_HEADLINE: usize = 100;
const MAX_TEXT: usize = 1000;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The headline.
    pub headline: String,
    /// Beneath it; may be empty, and have several lines.
    pub text: String,
    /// How much it hurries, from 1 to 5, where the sender said so.
    pub priority: Option<u8>,
}

impl Shown {
    /// Of what a hook reads on its stdin.
    #[must_use]
    pub fn of_event(event: &HookEvent) -> Self {
        let (headline, text) = match &event.fact {
            Fact::MessageReceived(fact) => return Self::of_message(&fact.message),
            Fact::MessageUndelivered(fact) => {
                (format!("Not delivered to {}", fact.contact), fact.reason.clone())
            }
            Fact::MessageState(fact) => {
                (format!("To {}: {}", fact.contact, fact.state), fact.reason.clone())
            }
            Fact::ContactOnline(fact) => (format!("{} is online", fact.contact), None),
            Fact::ContactOffline(fact) => (format!("{} is offline", fact.contact), None),
            Fact::ContactApproved(fact) => (format!("{} is a contact now", fact.contact), None),
            Fact::ContactRequest(fact) => (
                format!("{} asks to be a contact", fact.request.from),
                Some(format!("amsctl contact accept {}", fact.request.name)),
            ),
            Fact::ContactKeyChanged(fact) => (
                format!("The key of {} changed", fact.contact),
                Some(format!("amsctl contact verify {}", fact.contact)),
            ),
            Fact::RelayUp(fact) | Fact::PeerUp(fact) => {
                (format!("{} is connected", fact.name), fact.reason.clone())
            }
            Fact::RelayDown(fact) | Fact::PeerDown(fact) => {
                (format!("{} is not connected", fact.name), fact.reason.clone())
            }
            Fact::StateCloned(fact) => {
                (format!("A copy of this profile was seen at {}", fact.name), fact.reason.clone())
            }
            Fact::EventsLost(_) => ("Events were missed".to_owned(), None),
        };
        Self::new(&headline, &text.unwrap_or_default(), None)
    }

    /// Of a message, as `amsctl recv --json` hands it over.
    #[must_use]
    pub fn of_message(message: &Message) -> Self {
        let mut headline = message.from.clone();
        if !message.verified {
            headline.push_str(" (unverified)");
        }
        if let Some(title) = &message.title {
            headline.push_str(": ");
            headline.push_str(title);
        }
        let mut shown = Self::new(&headline, &message.body, message.priority);
        // Behind what is cut: they are few, and short.
        if let Some(choices) = message.choices.as_ref().filter(|choices| !choices.is_empty()) {
            shown.text.push_str(&format!("\nAnswer: {}", line(&choices.join(" | "))));
        }
        shown
    }

    fn new(headline: &str, text: &str, priority: Option<u8>) -> Self {
        let lines: Vec<String> = text.lines().map(|of| line(&of.replace('\t', "    "))).collect();
        Self {
            headline: cut(&line(headline), MAX_HEADLINE),
            text: cut(&lines.join("\n"), MAX_TEXT),
            priority,
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Shows it on the desktop of this session, which takes D-Bus.
///
/// # Errors
/// Always: there is no D-Bus on this system.
#[cfg(not(all(unix, not(target_os = "macos"))))]
pub fn show(_shown: &Shown) -> Result<(), String> {
    Err("amsctl does not show notifications on this system".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> HookEvent {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_somebody_wrote_is_harmless() {
        let shown = Shown::new(
            "bob\u{1b}]0;t\u{7}\nx",
            "<b>bold</b> & <a href=\"x\">\n\u{202e}two\r\u{0}\tend",
            None,
        );
        assert_eq!(shown.headline, r"bob\u{1b}]0;t\u{7}\u{a}x");
        assert_eq!(shown.text, "<b>bold</b> & <a href=\"x\">\n\\u{202e}two\\u{d}\\u{0}    end");
    }

    #[test]
    fn a_question_shows_what_may_be_answered() {
        let of = |body: &str, choices: &str| {
            let id = "000102030405060708090a0b0c0d0e0f";
            let time = "2026-11-24T10:45:00Z";
            let text = format!(
                "{{\"id\":\"{id}\",\"contact\":\"bob\",\"contact_id\":\"1\",\"direction\":\"in\",\
                 \"from\":\"bob\",\"to\":\"me\",\"body\":\"{body}\",\"state\":\"delivered\",\
                 \"time_sent\":\"{time}\",\"time_received\":\"{time}\",\"verified\":true,\
                 \"via\":null,\"reply_to\":null,\"title\":null,\"priority\":null,\"tags\":[],\
                 \"choices\":{choices}}}"
            );
            Shown::of_message(&serde_json::from_str(&text).unwrap()).text
        };
        assert_eq!(of("Deploy?", "[\"yes\",\"no\"]"), "Deploy?\nAnswer: yes | no");
        assert_eq!(of("Deploy?", "[]"), "Deploy?", "anything may be answered");
        assert_eq!(of("hi", "null"), "hi");
        assert_eq!(of("x", "[\"\u{202e}\"]"), "x\nAnswer: \\u{202e}");
        assert!(of(&"x".repeat(5000), "[\"yes\"]").ends_with("…\nAnswer: yes"), "however long");
    }

    #[test]
    fn it_is_short() {
        let shown = Shown::new(&"é".repeat(500), &"x".repeat(5000), Some(5));
        assert_eq!(shown.headline.chars().count(), MAX_HEADLINE + 1);
        assert_eq!(shown.text.chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn every_event_has_its_words() {
        let of = |fact: &str| {
            let text = format!(
                "{{\"hook\":\"n\",\"test\":false,\"tries\":0,\"time\":\"2026-11-24T10:45:00Z\",{fact}}}"
            );
            Shown::of_event(&read(&text)).headline
        };
        let contact = "\"contact\":\"bob\",\"contact_id\":\"1\",\"verified\":true";
        assert_eq!(of(&format!("\"type\":\"contact.online\",{contact}")), "bob is online");
        assert_eq!(
            of("\"type\":\"relay.down\",\"name\":\"home\",\"reason\":null"),
            "home is not connected"
        );
        assert_eq!(
            of("\"type\":\"message.undelivered\",\"id\":\"000102030405060708090a0b0c0d0e0f\",\
                \"contact\":\"bob\",\"contact_id\":\"1\",\"state\":\"undelivered\",\"reason\":null"),
            "Not delivered to bob"
        );
    }
}
