//! Relays that this daemon has an account on, and direct peers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::Time;
use super::secret::Secret;
use super::words;

words! {
    /// The state of a relay or a direct peer.
    pub enum LinkState {
        /// Connected.
        Up = "up",
        /// Being connected.
        Connecting = "connecting",
        /// Not connected; tried again by itself.
        Down = "down",
        /// Not connected, because the user said so.
        Off = "off",
        /// Not connected, because the relay does not want it, which is asked again every few minutes,
        /// or an old copy of this profile was noticed, which waits for `relay.resume`.
        Refused = "refused",
    }
}

/// A relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelayInfo {
    /// The nickname it has here.
    pub name: String,
    /// Its address link.
    pub address: String,
    /// The account's name.
    pub user: String,
    /// Its state.
    pub state: LinkState,
    /// Since when.
    pub since: Option<Time>,
    /// Why it is not up.
    pub reason: Option<String>,
}

/// A direct peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerInfo {
    /// The contact's name.
    pub name: String,
    /// Where it is dialled, `HOST:PORT`; `direct` where it dials.
    pub address: String,
    /// Its state: `up`, `connecting` or `down`.
    pub state: LinkState,
    /// Since when.
    pub since: Option<Time>,
    /// Why it is not up.
    pub reason: Option<String>,
    /// Of its identity key.
    pub fingerprint: Option<String>,
}

/// Result of `relay.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relays {
    /// In the order in which they were joined.
    pub relays: Vec<RelayInfo>,
}

/// Result of `peer.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Peers {
    /// By name.
    pub peers: Vec<PeerInfo>,
}

/// Params of `peer.connect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerConnectParams {
    /// `HOST:PORT` or `HOST`; a peer link, which says who has to be there; or the name of a contact
    /// that has a direct way.
    pub address: String,
    /// The name it shall have here; default: `direct-` and the beginning of its fingerprint.
    #[serde(rename = "as")]
    pub local: Option<String>,
    /// The fingerprint that has to be shown there, in any grouping. Given without `accept_new`, it
    /// counts as compared: the contact is verified.
    pub fingerprint: Option<String>,
    /// Take whoever is there, unverified.
    pub accept_new: Option<bool>,
}

/// Params of `peer.disconnect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerParams {
    /// The contact's name.
    pub name: String,
}

/// Params of `relay.join`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayJoinParams {
    /// The invite link.
    pub link: String,
    /// The password that the account shall have.
    pub password: Secret,
    /// The nickname it shall have here; default: the host's name.
    pub nick: Option<String>,
}

/// Params of `relay.login`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayLoginParams {
    /// The relay's address link.
    pub link: String,
    /// The account's name.
    pub user: String,
    /// The account's password.
    pub password: Secret,
    /// The nickname it shall have here; default: the host's name.
    pub nick: Option<String>,
    /// Displace the device that the account has; without it, an account that has one is refused
    /// with `needs_replace`.
    pub replace: Option<bool>,
}

/// Params of `relay.connect`, `relay.disconnect` and `relay.resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayParams {
    /// The relay's nickname.
    pub nick: String,
}

/// Params of `relay.leave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayLeaveParams {
    /// The relay's nickname.
    pub nick: String,
    /// Delete the account on the relay too; its name is never given again.
    pub delete_account: Option<bool>,
}

/// Params of `relay.password`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayPasswordParams {
    /// The relay's nickname.
    pub nick: String,
    /// The password that the account has.
    pub old_password: Secret,
    /// The password that it shall have.
    pub password: Secret,
}
