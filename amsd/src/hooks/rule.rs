//! A hook as the config has it, and for what it is run.

use std::path::PathBuf;
use std::time::Duration;

use ams_rpc::types::{EventType, Fact, MessageId};
use minicbor::{Decode, Encode};

/// A `[[hook]]` of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name, unique.
    pub name: String,
    /// For which events; at least one.
    pub on: Vec<EventType>,
    /// For which of them.
    pub filter: Filter,
    /// The program, an absolute path.
    pub program: PathBuf,
    /// Its arguments, as they are.
    pub args: Vec<String>,
    /// Variables of our environment that it gets beside the usual ones.
    pub pass_env: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// How often it is run again where it failed.
    pub retries: u32,
    /// How many of it may run at once.
    pub parallel: usize,
}

/// Which events of a type are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Filter {
    /// Only those about one of these contacts, by the names that they have here.
    #[n(0)]
    pub from: Option<Vec<String>>,
    /// None about a contact that is not verified.
    #[n(1)]
    pub verified_only: bool,
    /// Only messages that have one of these tags.
    #[n(2)]
    pub tags: Option<Vec<String>>,
}

/// What of an event a [`Filter`] looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// The contact's name; `None`: it is about none.
    pub contact: Option<&'a str>,
    /// Whether that contact is verified.
    pub verified: bool,
    /// Of a message.
    pub tags: &'a [String],
}

impl Filter {
    /// Whether an event is meant.
    pub fn takes(&self, about: About<'_>) -> bool {
        let from = self.from.as_ref().is_none_or(|names| {
            about.contact.is_some_and(|contact| names.iter().any(|name| name == contact))
        });
        let verified = !self.verified_only || about.contact.is_none() || about.verified;
        let tagged =
            self.tags.as_ref().is_none_or(|tags| about.tags.iter().any(|tag| tags.contains(tag)));
        from && verified && tagged
    }
}

/// Whether a hook is run for these at least once, by a note on disk.
pub fn is_durable(kind: EventType) -> bool {
    matches!(kind, EventType::MessageReceived | EventType::MessageUndelivered)
}

/// The contact that an event is about: its name, and its id where it has one. A stranger who asks
/// is none, whatever the name.
pub fn contact_of(fact: &Fact) -> Option<(&str, &str)> {
    match fact {
        Fact::MessageReceived(fact) => Some((&fact.message.contact, &fact.message.contact_id)),
        Fact::MessageState(fact) | Fact::MessageUndelivered(fact) => {
            Some((&fact.contact, &fact.contact_id))
        }
        Fact::ContactOnline(fact) | Fact::ContactOffline(fact) | Fact::ContactApproved(fact) => {
            Some((&fact.contact, &fact.contact_id))
        }
        Fact::ContactKeyChanged(fact) => Some((&fact.contact, &fact.contact_id)),
        Fact::ContactRequest(_)
        | Fact::RelayUp(_)
        | Fact::RelayDown(_)
        | Fact::PeerUp(_)
        | Fact::PeerDown(_)
        | Fact::StateCloned(_)
        | Fact::EventsLost(_) => None,
    }
}

/// The message that an event is about.
pub fn message_of(fact: &Fact) -> Option<MessageId> {
    match fact {
        Fact::MessageReceived(fact) => Some(fact.message.id),
        Fact::MessageState(fact) | Fact::MessageUndelivered(fact) => Some(fact.id),
        _ => None,
    }
}

/// No pause is longer.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// The pause before a run is tried again, after so many that failed: 1 s, 5 s, 25 s, and so on.
pub fn pause_after(tries: u32) -> Duration {
    let seconds = 5_u64.saturating_pow(tries.saturating_sub(1));
    Duration::from_secs(seconds).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(contact: &str) -> About<'_> {
        About { contact: Some(contact), ..About::default() }
    }

    #[test]
    fn a_filter_takes_what_it_names() {
        let all = Filter::default();
        assert!(all.takes(of("alice")) && all.takes(About::default()));
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let from = Filter { from: names(&["alice", "bob"]), ..Filter::default() };
        assert!(from.takes(of("bob")));
        assert!(!from.takes(of("carol")) && !from.takes(About::default()));
        let verified = Filter { verified_only: true, ..Filter::default() };
        assert!(!verified.takes(of("alice")));
        assert!(verified.takes(About { verified: true, ..of("alice") }));
        assert!(verified.takes(About::default()), "a relay has nothing to verify");
        let tagged = Filter { tags: names(&["cron", "disk"]), ..Filter::default() };
        let tags = ["load".to_owned(), "disk".to_owned()];
        assert!(tagged.takes(About { tags: &tags, ..of("alice") }));
        assert!(!tagged.takes(About { tags: &tags[..1], ..of("alice") }));
        assert!(!tagged.takes(of("alice")));
    }

    #[test]
    fn pauses_grow_to_ten_minutes() {
        let seconds = |tries| pause_after(tries).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6, 1000].map(seconds), [1, 5, 25, 125, 600, 600, 600]);
    }
}
