//! Contacts, requests, verification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Period, Time};
use super::words;

words! {
    /// Where a contact is.
    pub enum ContactState {
        /// Asked, or accepted and not yet heard of.
        Pending = "pending",
        /// Both agreed; messages go both ways.
        Active = "active",
        /// Somebody shows another key under this address; nothing is sent until that is decided.
        KeyChanged = "key_changed",
        /// Blocked here; the other side sees somebody who is offline.
        Blocked = "blocked",
    }
}

words! {
    /// What is known of a contact's daemon.
    pub enum Presence {
        /// Connected.
        Online = "online",
        /// Not connected, or does not say.
        Offline = "offline",
        /// No path by which to know.
        Unknown = "unknown",
    }
}

words! {
    /// How a contact's key was verified.
    pub enum VerifiedBy {
        /// It was in a contact link.
        Link = "link",
        /// The 60 digits were compared.
        Number = "number",
        /// The fingerprint was given.
        Fingerprint = "fingerprint",
    }
}

words! {
    /// The kind of a path.
    pub enum PathKind {
        /// From daemon to daemon.
        Direct = "direct",
        /// Through a relay.
        Relay = "relay",
    }
}

words! {
    /// The state of a path to one contact.
    pub enum PathState {
        /// Its link is up.
        Up = "up",
        /// Its link is being made.
        Connecting = "connecting",
        /// Its link is down and will be tried again.
        Down = "down",
        /// Its relay is switched off.
        Off = "off",
        /// Its relay refuses this daemon.
        Refused = "refused",
        /// Asked for and not answered yet.
        Pending = "pending",
        /// The relay has no row for it any more; adding the contact again mends it.
        Missing = "missing",
        /// Another key was shown over it; nothing goes this way until that is decided.
        KeyChanged = "key_changed",
    }
}

/// One way to reach a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Path {
    /// Direct, or through a relay.
    pub kind: PathKind,
    /// The relay's nickname, or the address.
    pub name: String,
    /// Messages go this way now.
    pub active: bool,
    /// Its state.
    pub state: PathState,
    /// Since when its link is in that state.
    pub since: Option<Time>,
    /// Why it is not up.
    pub reason: Option<String>,
}

/// A contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// Stays the same whatever the name.
    pub id: String,
    /// The name it has here.
    pub name: String,
    /// `user@relay`, where there is one.
    pub address: Option<String>,
    /// Its state.
    pub state: ContactState,
    /// Whether it is there.
    pub presence: Presence,
    /// Its key has been verified.
    pub verified: bool,
    /// How.
    pub verified_by: Option<VerifiedBy>,
    /// Of its identity key, where it is known.
    pub fingerprint: Option<String>,
    /// Of the key that somebody shows instead, while the state is `key_changed`.
    pub offered_fingerprint: Option<String>,
    /// Every way to reach it.
    pub paths: Vec<Path>,
}

/// Result of `contact.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contacts {
    /// By name.
    pub contacts: Vec<Contact>,
}

/// The short form of a contact, after something was done to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactBrief {
    /// Stays the same whatever the name.
    pub id: String,
    /// The name it has here.
    pub name: String,
    /// Its state.
    pub state: ContactState,
}

/// Params of `contact.add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactAddParams {
    /// `USER@RELAY`, the relay as a nickname, `HOST` or `HOST:PORT`; or a contact link.
    pub address: String,
    /// The name it shall have here; default: the user's name, or the address when that is taken.
    #[serde(rename = "as")]
    pub local: Option<String>,
}

/// Params of `contact.link`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactLinkParams {
    /// The name that whoever redeems it shall have here; default: the user's name.
    #[serde(rename = "as")]
    pub local: Option<String>,
    /// The relay that it leads over, by its nickname, `HOST` or `HOST:PORT`; default: the one that
    /// was joined first.
    pub relay: Option<String>,
}

/// Result of `contact.link`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactLinkMade {
    /// To be handed over so that nobody else sees it: whoever has it is who is met.
    pub link: String,
    /// Until when it is good.
    pub expires: Time,
}

/// Params of `contact.accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactAcceptParams {
    /// The name in the request, or the request's id.
    pub name: String,
    /// The name it shall have here.
    #[serde(rename = "as")]
    pub local: Option<String>,
}

/// Params of the methods that take one contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactParams {
    /// The contact's name; for a request its name or id.
    pub name: String,
}

/// Params of `contact.rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactRenameParams {
    /// The name it has.
    pub name: String,
    /// The name it shall have.
    pub new: String,
}

/// Params of `contact.verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactVerifyParams {
    /// The contact's name.
    pub name: String,
    /// The 60 digits that the other side read out, with or without spaces: records that they were
    /// compared. Others are `key_changed`'s exit code, 4.
    pub confirm: Option<String>,
}

words! {
    /// What a wait for a contact waits for.
    pub enum Awaited {
        /// Until it is online.
        Online = "online",
    }
}

/// Params of `contact.wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactWaitParams {
    /// The contact's name.
    pub name: String,
    /// What to wait for.
    #[serde(rename = "for")]
    pub awaited: Awaited,
    /// How long at most; without it, without end.
    pub timeout: Option<Period>,
}

/// Result of `contact.wait`: a result also when the time was over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactWaited {
    /// The contact's name.
    pub name: String,
    /// Whether it is there, now.
    pub presence: Presence,
    /// What was waited for is so.
    pub reached: bool,
    /// The exit code of a command that ends with this result.
    pub exit: u8,
}

/// Params of `contact.ping`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactPingParams {
    /// The contact's name.
    pub name: String,
    /// How long to wait for the answer; default: 5 s.
    pub timeout: Option<Period>,
    /// Dial the contact directly now, where that can be: without waiting for the pause after the
    /// last failure to end.
    pub hurry_direct: Option<bool>,
}

/// Result of `contact.ping`: a result also when no answer came in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactPinged {
    /// The contact's name.
    pub name: String,
    /// The way of the answer: `direct` or `relay:NICK`.
    pub via: Option<String>,
    /// From sending the ping to the answer, which is after a commit on either side.
    pub microseconds: Option<u64>,
    /// The exit code of a command that ends with this result.
    pub exit: u8,
}

/// Result of `contact.verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactVerified {
    /// The contact's name.
    pub name: String,
    /// 60 digits, the same on both sides.
    pub safety_number: String,
    /// Its key has been verified.
    pub verified: bool,
    /// How.
    pub verified_by: Option<VerifiedBy>,
}

/// Params of `contact.trust`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactTrustParams {
    /// The contact's name.
    pub name: String,
    /// `offered_fingerprint` of the contact, in any grouping. Another one is exit code 4.
    pub fingerprint: String,
}

/// Somebody asks to be a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncomingRequest {
    /// The request's id.
    pub id: String,
    /// `user@relay`, or `direct`.
    pub from: String,
    /// The name to accept it by.
    pub name: String,
    /// Of the key that asks.
    pub fingerprint: String,
    /// This key was a contact before, or is one now.
    pub again: bool,
    /// When it came.
    pub received: Time,
}

/// A request that was made here and not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutgoingRequest {
    /// The request's id.
    pub id: String,
    /// `user@relay`.
    pub to: String,
    /// The name it has here.
    pub name: String,
    /// When it was made.
    pub sent: Time,
}

/// A contact link that was made here and that nobody redeemed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingLink {
    /// The nickname of the relay that it leads over.
    pub relay: String,
    /// The name that whoever redeems it shall have here; `null`: its own.
    pub name: Option<String>,
    /// Until when it is good.
    pub expires: Time,
}

/// Result of `contact.requests`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// Oldest first.
    pub incoming: Vec<IncomingRequest>,
    /// Oldest first.
    pub outgoing: Vec<OutgoingRequest>,
    /// The soonest to end first.
    #[serde(default)]
    pub links: Vec<WaitingLink>,
}
