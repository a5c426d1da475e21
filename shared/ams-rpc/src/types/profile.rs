//! A profile as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Params of `profile.backup` and `profile.restore`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileParams {
    /// The file's absolute path. A backup is written into a new file.
    pub file: String,
    /// At least 8 characters.
    pub passphrase: Secret,
}

/// An account of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileAccount {
    /// The relay's address link.
    pub link: String,
    /// The user's name there.
    pub user: String,
}

/// Result of `profile.backup` and `profile.restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileSummary {
    /// Of the identity.
    pub fingerprint: String,
    /// How many contacts.
    pub contacts: u64,
    /// How many messages, both ways.
    pub messages: u64,
    /// The accounts. A restored profile logs in to them with `relay.login`.
    pub accounts: Vec<ProfileAccount>,
}
