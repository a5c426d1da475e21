//! What of hooks lies on disk: what each wants, for what it is to be run, and for what it failed.

use ams_rpc::types::EventType;
use ams_wire::id::MessageId;
use minicbor::{Decode, Encode};

use super::rule::{Filter, Hook};
use crate::contacts::ContactId;
use crate::store::Table;

/// What a hook of the config wants, so that a commit knows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HookRow {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// It is run for messages that come in.
    #[n(1)]
    pub received: bool,
    /// It is run for messages that could not be delivered.
    #[n(2)]
    pub undelivered: bool,
    /// Which of them.
    #[n(3)]
    pub filter: Filter,
}

impl From<&Hook> for HookRow {
    fn from(hook: &Hook) -> Self {
        Self {
            name: hook.name.clone(),
            received: hook.on.contains(&EventType::MessageReceived),
            undelivered: hook.on.contains(&EventType::MessageUndelivered),
            filter: hook.filter.clone(),
        }
    }
}

/// Number of a hook, from 1, never used again → what it wants.
pub struct Hooks;
impl Table for Hooks {
    const NAME: &'static str = "hooks";
    type Key = u64;
    type Row = HookRow;
}

/// For what a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum JobEvent {
    /// A message came in.
    #[n(0)]
    Received,
    /// One of ours could not be delivered.
    #[n(1)]
    Undelivered,
}

impl From<JobEvent> for EventType {
    fn from(event: JobEvent) -> Self {
        match event {
            JobEvent::Received => Self::MessageReceived,
            JobEvent::Undelivered => Self::MessageUndelivered,
        }
    }
}

/// A hook is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobRow {
    /// Counts all of them: another one may come to stand under the same key.
    #[n(0)]
    pub serial: u64,
    /// For what.
    #[n(1)]
    pub event: JobEvent,
    /// The message is from, or to, this contact.
    #[n(2)]
    pub contact: ContactId,
    /// The message.
    #[n(3)]
    pub id: MessageId,
    /// When it happened, milliseconds since 1970.
    #[n(4)]
    pub at: i64,
    /// Why, where there is something to say.
    #[n(5)]
    pub reason: Option<String>,
    /// How often it was run.
    #[n(6)]
    pub tries: u32,
}

/// A hook, from when on it may be run (milliseconds since 1970, 0: at once), and the place of the
/// message in the timeline → that it is to be run.
pub struct HookJobs;
impl Table for HookJobs {
    const NAME: &'static str = "hook_jobs";
    type Key = (u64, u64, u64);
    type Row = JobRow;
}

/// A hook failed, and is not run again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FailureRow {
    /// What it was to be run for.
    #[n(0)]
    pub job: JobRow,
    /// What came of the last time.
    #[n(1)]
    pub why: String,
}

/// A hook and the place of the message in the timeline → that it failed.
pub struct HookFailures;
impl Table for HookFailures {
    const NAME: &'static str = "hook_failures";
    type Key = (u64, u64);
    type Row = FailureRow;
}
