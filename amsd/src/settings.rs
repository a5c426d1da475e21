//! What the user chose, as the core needs it.

use std::net::SocketAddr;

use ams_rpc::types::IfUndelivered;
use minicbor::{Decode, Encode};

/// What becomes of a message whose delivery failed. One can have its own, which lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, Encode, Decode)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum Undeliverable {
    /// It waits for the user's decision.
    #[default]
    #[n(0)]
    Ask,
    /// It is kept, and goes out when the contact comes online.
    #[n(1)]
    Keep,
    /// It is dropped.
    #[n(2)]
    Discard,
}

impl From<IfUndelivered> for Undeliverable {
    fn from(wanted: IfUndelivered) -> Self {
        match wanted {
            IfUndelivered::Ask => Self::Ask,
            IfUndelivered::Keep => Self::Keep,
            IfUndelivered::Discard => Self::Discard,
        }
    }
}

impl From<Undeliverable> for IfUndelivered {
    fn from(policy: Undeliverable) -> Self {
        match policy {
            Undeliverable::Ask => Self::Ask,
            Undeliverable::Keep => Self::Keep,
            Undeliverable::Discard => Self::Discard,
        }
    }
}

/// What becomes of a contact request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requests {
    /// It waits for the user's decision.
    #[default]
    Ask,
    /// It is accepted.
    Accept,
    /// It is refused, silently.
    Deny,
}

/// Who is told how this daemon is reached without a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direct {
    /// Nobody but whom the user hands a link.
    #[default]
    Off,
    /// Every contact: it learns where this daemon is.
    Contacts,
}

/// How long what was read stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// So long after it came.
    For(std::time::Duration),
    /// Until it is deleted by hand.
    Forever,
    /// Until every reader had it.
    Off,
}

impl Default for History {
    fn default() -> Self {
        Self::For(std::time::Duration::from_secs(90 * 24 * 60 * 60))
    }
}

/// The settings that can change while the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// See [`Undeliverable`].
    pub undeliverable: Undeliverable,
    /// See [`Requests`].
    pub requests: Requests,
    /// Tell senders when a message was read.
    pub read_receipts: bool,
    /// Let contacts see this daemon online.
    pub visible: bool,
    /// See [`History`].
    pub history: History,
    /// See [`Direct`].
    pub direct: Direct,
    /// The SOCKS5 proxy through which everything is dialled.
    pub socks5: Option<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            undeliverable: Undeliverable::default(),
            requests: Requests::default(),
            read_receipts: true,
            visible: true,
            history: History::default(),
            direct: Direct::default(),
            socks5: None,
        }
    }
}
