//! Events: facts, in the past, one shape.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contact::IncomingRequest;
use super::message::{Message, State};
use super::scalar::{MessageId, Time};
use super::words;

/// One event: the `result` of a notification with the method `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Opaque; `events.subscribe` with `since` goes on after it.
    pub cursor: String,
    /// When it happened.
    pub time: Time,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// A contact, in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactFact {
    /// Its name, now.
    pub contact: String,
    /// Its id.
    pub contact_id: String,
    /// Its key has been verified.
    pub verified: bool,
}

/// A relay or a direct peer, in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkFact {
    /// The nickname of the relay, or the peer's name.
    pub name: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
}

/// A message and where it is now, in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateFact {
    /// The message.
    pub id: MessageId,
    /// The contact's name, now.
    pub contact: String,
    /// The contact's id.
    pub contact_id: String,
    /// Its state.
    pub state: State,
    /// Why, where there is something to say.
    pub reason: Option<String>,
}

/// Declares the facts, their names, and the list of names from one table.
macro_rules! facts {
    ($($(#[doc = $doc:literal])+ $variant:ident($payload:ty) = $name:literal,)+) => {
        /// What happened; its `type` and what belongs to it.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "type")]
        pub enum Fact {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant($payload),)+
        }

        impl Fact {
            /// Its `type`.
            #[must_use]
            pub const fn kind(&self) -> EventType {
                match self { $(Self::$variant(_) => EventType::$variant,)+ }
            }
        }

        words! {
            /// The `type` of an event.
            pub enum EventType { $($(#[doc = $doc])+ $variant = $name,)+ }
        }
    };
}

/// Payload of `message.received`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceivedFact {
    /// The message.
    pub message: Message,
}

/// Payload of `contact.request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestFact {
    /// The request.
    pub request: IncomingRequest,
}

/// Payload of `contact.key_changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyChangedFact {
    /// The contact's name, now.
    pub contact: String,
    /// The contact's id.
    pub contact_id: String,
    /// Of the key that was known.
    pub fingerprint: String,
    /// Of the key that is shown now.
    pub offered_fingerprint: String,
}

/// Payload of `events.lost`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostFact {
    /// How many events were missed; `null` where it cannot be known, as after a restart.
    pub count: Option<u64>,
}

facts! {
    /// A message arrived and is on disk.
    MessageReceived(ReceivedFact) = "message.received",
    /// A message that was sent from here came into another state.
    MessageState(StateFact) = "message.state",
    /// A message could not be delivered and waits for a decision.
    MessageUndelivered(StateFact) = "message.undelivered",
    /// A contact came online.
    ContactOnline(ContactFact) = "contact.online",
    /// A contact went offline.
    ContactOffline(ContactFact) = "contact.offline",
    /// Somebody asks to be a contact.
    ContactRequest(RequestFact) = "contact.request",
    /// A contact is active now.
    ContactApproved(ContactFact) = "contact.approved",
    /// Somebody shows another key under a contact's address.
    ContactKeyChanged(KeyChangedFact) = "contact.key_changed",
    /// A relay is connected.
    RelayUp(LinkFact) = "relay.up",
    /// A relay is no longer connected.
    RelayDown(LinkFact) = "relay.down",
    /// A direct peer is connected.
    PeerUp(LinkFact) = "peer.up",
    /// A direct peer is no longer connected.
    PeerDown(LinkFact) = "peer.down",
    /// An old or second copy of this profile was noticed at a relay.
    StateCloned(LinkFact) = "state.cloned",
    /// Events were missed, because this subscriber was behind.
    EventsLost(LostFact) = "events.lost",
}

/// Params of `events.subscribe`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribeParams {
    /// Go on after this cursor; without it, from now on.
    pub since: Option<String>,
    /// Only these; `events.lost` always comes.
    pub types: Option<Vec<EventType>>,
}

/// Params of `events.unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeParams {
    /// What `events.subscribe` answered.
    pub subscription: String,
}
