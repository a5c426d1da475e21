//! The daemon itself and its identity.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hook::HookInfo;
use super::relay::{PeerInfo, RelayInfo};
use super::scalar::Time;
use super::words;

words! {
    /// Whether contacts may see that this daemon is online.
    pub enum Visibility {
        /// They may.
        Visible = "visible",
        /// To everybody it looks offline.
        Invisible = "invisible",
    }
}

/// How many messages are on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueCounts {
    /// In state `queued`.
    pub queued: u64,
    /// In state `sent`.
    pub sent: u64,
    /// In state `undelivered`.
    pub undelivered: u64,
    /// In state `waiting`.
    pub waiting: u64,
}

/// What the inbox holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InboxCounts {
    /// Messages on disk, read or not.
    pub kept: u64,
}

/// What the daemon wrote to its store since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreCounts {
    /// Durable commits.
    pub commits: u64,
    /// Changes that were waited for; those that wait at the same time share a commit.
    pub writes: u64,
}

/// Result of `daemon.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonStatus {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: Time,
    /// Its home folder.
    pub home: String,
    /// Of its identity key.
    pub fingerprint: String,
    /// Whether contacts may see that it is online.
    pub presence: Visibility,
    /// Where it listens for direct peers.
    pub listen: Vec<String>,
    /// The SOCKS5 proxy through which it dials.
    pub socks5: Option<String>,
    /// In the order in which they were joined.
    pub relays: Vec<RelayInfo>,
    /// By name.
    pub peers: Vec<PeerInfo>,
    /// What is on its way.
    pub queue: QueueCounts,
    /// What was received.
    pub inbox: InboxCounts,
    /// What was written.
    #[serde(default)]
    pub store: StoreCounts,
    /// In the order of the config.
    pub hooks: Vec<HookInfo>,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

/// Result of `identity.show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// Of the identity key.
    pub fingerprint: String,
    /// `user@HOST:PORT` of every account.
    pub accounts: Vec<String>,
    /// Links to hand out, for direct peers.
    pub peer_links: Vec<String>,
}

/// Params and result of `presence.set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PresenceParams {
    /// Until changed again; survives restarts.
    pub presence: Visibility,
}
