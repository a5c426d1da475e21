//! Hooks: programs that the daemon runs for what happens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{EventType, Fact};
use super::scalar::{MessageId, Time};
use super::words;

words! {
    /// How a hook fares.
    pub enum HookState {
        /// Its last run was well.
        Ok = "ok",
        /// Its last run failed.
        Failing = "failing",
    }
}

/// A hook of the config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookInfo {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The program that it runs.
    pub run: String,
    /// For which events.
    #[serde(default)]
    pub on: Vec<EventType>,
    /// How it fares.
    pub state: HookState,
    /// Why it fails.
    pub reason: Option<String>,
    /// Events that it was not run for yet, or is to be run for again.
    #[serde(default)]
    pub waiting: u64,
    /// Events that it failed for, again and again: `hook.replay` runs it for them anew.
    #[serde(default)]
    pub failed: u64,
}

/// An event that a hook failed for until nothing more was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookFailure {
    /// The hook's name.
    pub hook: String,
    /// The event's type.
    pub event: EventType,
    /// The message that it is about.
    pub id: MessageId,
    /// The contact's name, now.
    pub contact: String,
    /// When the event happened.
    pub time: Time,
    /// How often the program was run for it.
    pub tries: u32,
    /// What came of the last time.
    pub reason: String,
}

/// Result of `hook.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookList {
    /// In the order of the config.
    pub hooks: Vec<HookInfo>,
    /// What they failed for: at most 1,000, and the oldest go first.
    pub failures: Vec<HookFailure>,
}

/// Params of `hook.test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookTestParams {
    /// The hook's name.
    pub name: String,
    /// With an event of this type; without it, the first that the hook is run for.
    pub event: Option<EventType>,
}

/// Result of `hook.test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookTested {
    /// The hook's name.
    pub name: String,
    /// The type of the event that it was given.
    pub event: EventType,
    /// Why it failed; `null` where it did not.
    pub reason: Option<String>,
    /// What the program wrote, stdout and stderr, as far as 64 KiB.
    pub output: String,
    /// The exit code of a command that ends with it.
    pub exit: u8,
}

/// Params of `hook.replay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookReplayParams {
    /// The hook's name.
    pub name: String,
    /// Only for events about these messages; without it, for all that it failed for.
    pub ids: Option<Vec<MessageId>>,
}

/// Result of `hook.replay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookReplayed {
    /// Events that the hook is run for again.
    pub replayed: u64,
}

/// What a hook's program reads on stdin: one JSON object, and then the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookEvent {
    /// The hook's name.
    pub hook: String,
    /// It is made up, by `hook.test`.
    pub test: bool,
    /// How often the program was run for this event before.
    pub tries: u32,
    /// When it happened.
    pub time: Time,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}
