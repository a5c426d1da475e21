//! The table of the relay's admin socket. The same rules as the daemon's, another list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::methods::method_table;
use crate::types::{Done, NoParams, Period, Time, words};

/// Params of `invite.create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteCreateParams {
    /// The username that the invite is bound to.
    pub name: String,
    /// How long it is good; default 7 days.
    pub expires: Option<Period>,
}

/// Params of the methods that take one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameParams {
    /// The username.
    pub name: String,
}

/// An invite, at the one moment when its link can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InviteLink {
    /// For `amsctl relay join`.
    pub link: String,
    /// The username that it is bound to.
    pub name: String,
    /// Until when it is good.
    pub expires: Time,
    /// An invite for the same name that was made before is no longer good.
    #[serde(default)]
    pub replaced: bool,
}

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InviteInfo {
    /// The username that it is bound to.
    pub name: String,
    /// Until when it is good.
    pub expires: Time,
}

/// Result of `invite.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invites {
    /// By name.
    pub invites: Vec<InviteInfo>,
}

words! {
    /// The state of an account.
    pub enum UserState {
        /// May connect.
        Active = "active",
        /// May not, until enabled again.
        Disabled = "disabled",
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserInfo {
    /// The username.
    pub name: String,
    /// Its state.
    pub state: UserState,
    /// Its daemon is connected.
    pub online: bool,
    /// When it was made.
    pub created: Time,
}

/// Result of `user.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Users {
    /// By name.
    pub users: Vec<UserInfo>,
}

/// A limit of the relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitInfo {
    /// Its name in the config.
    pub name: String,
    /// What is used of it now, where that can be said.
    pub used: Option<u64>,
    /// Its value.
    pub max: u64,
}

/// Result of `relay.status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelayStatus {
    /// The relay's version.
    pub version: String,
    /// It is running; otherwise only what is on its disk is known.
    pub running: bool,
    /// Its process.
    pub pid: Option<u32>,
    /// When it started.
    pub started: Option<Time>,
    /// Its address link.
    pub address: String,
    /// How many accounts there are.
    pub accounts: u64,
    /// How many daemons are connected.
    pub connections: u64,
    /// How many messages are held in memory.
    pub held_messages: u64,
    /// How many bytes they are.
    pub held_bytes: u64,
    /// How long a message is held.
    pub retry_window: Period,
    /// Its limits.
    pub limits: Vec<LimitInfo>,
}

/// Result of `relay.address`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelayAddress {
    /// The address link.
    pub address: String,
}

/// Params of `relay.backup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayBackupParams {
    /// An absolute path where nothing is yet.
    pub file: String,
}

/// Result of `relay.backup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelayBackedUp {
    /// The accounts.
    pub file: String,
    /// The keys; keep this one somewhere else.
    pub keys_file: String,
}

method_table! {
    /// Every method that the relay's admin socket serves.
    ADMIN_METHODS:

    /// Invites.
    invite {
        /// Makes an invite for one username.
        Create = "invite.create" (InviteCreateParams) -> InviteLink;
        /// The invites that can still be used.
        List = "invite.list" (NoParams) -> Invites;
        /// Takes an invite back.
        Revoke = "invite.revoke" (NameParams) -> Done;
    }

    /// Accounts.
    user {
        /// The accounts.
        List = "user.list" (NoParams) -> Users;
        /// Locks an account and ends its links.
        Disable = "user.disable" (NameParams) -> Done;
        /// Unlocks an account.
        Enable = "user.enable" (NameParams) -> Done;
        /// Deletes an account; its name is never given again.
        Remove = "user.remove" (NameParams) -> Done;
        /// Makes a new invite for the same name, by which the account gets a new password.
        Reset = "user.reset" (NameParams) -> InviteLink;
    }

    /// The relay itself.
    relay {
        /// Connections, accounts, held messages, limits.
        Status = "relay.status" (NoParams) -> RelayStatus;
        /// The address link.
        Address = "relay.address" (NoParams) -> RelayAddress;
        /// Copies the accounts into a file, and the keys into a second one.
        Backup = "relay.backup" (RelayBackupParams) -> RelayBackedUp;
    }

    /// The interface itself.
    rpc {
        /// This interface as an OpenRPC document.
        Discover = "rpc.discover" (NoParams) -> serde_json::Value;
    }
}
