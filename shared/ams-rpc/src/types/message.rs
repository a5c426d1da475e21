//! Messages: what they look like, the states they go through, sending and waiting.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contact::Presence;
use super::scalar::{MessageId, Period, Time, Via};
use super::words;
use crate::error::Exit;

words! {
    /// Where a message is. `discarded`, `expired` and `replaced` are ends, except that a receipt
    /// which arrives after all still makes them `delivered`.
    pub enum State {
        /// On this disk; its path is not up, or it waits its turn.
        Queued = "queued",
        /// A relay or the peer took it.
        Sent = "sent",
        /// On the recipient's disk, said end to end.
        Delivered = "delivered",
        /// A reader of the recipient acknowledged it.
        Read = "read",
        /// Could not be delivered; waits for the user's decision.
        Undelivered = "undelivered",
        /// Kept; goes out by itself when the contact comes online.
        Waiting = "waiting",
        /// Given up by the user.
        Discarded = "discarded",
        /// Its time to live ended.
        Expired = "expired",
        /// A newer message with the same key took its place.
        Replaced = "replaced",
    }
}

impl State {
    /// Nothing more is tried for a message in this state.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::Read | Self::Discarded | Self::Expired | Self::Replaced
        )
    }
}

words! {
    /// What a `wait` waits for.
    pub enum Stage {
        /// Until a relay or the peer took it.
        Sent = "sent",
        /// Until it is on the recipient's disk.
        Delivered = "delivered",
        /// Until a reader of the recipient acknowledged it.
        Read = "read",
    }
}

words! {
    /// What becomes of a message that could not be delivered.
    pub enum IfUndelivered {
        /// It waits for the user's decision.
        Ask = "ask",
        /// It is kept, and goes out when the contact comes online.
        Keep = "keep",
        /// It is given up.
        Discard = "discard",
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitEnd {
    /// The stage was reached.
    pub reached: bool,
    /// The exit code that says so.
    pub exit: Exit,
}

impl Stage {
    /// A message in `state` has come this far.
    #[must_use]
    pub const fn reached_by(self, state: State) -> bool {
        match self {
            Self::Sent => matches!(state, State::Sent | State::Delivered | State::Read),
            Self::Delivered => matches!(state, State::Delivered | State::Read),
            Self::Read => matches!(state, State::Read),
        }
    }

    /// Whether a wait for this stage is over when the message is in `state`, and how. `None`: go
    /// on waiting. With `timed_out` a wait always ends.
    ///
    /// A message that is `waiting` ends a wait only where no timeout was given: it may take days.
    #[must_use]
    pub const fn wait_end(
        self,
        state: State,
        has_timeout: bool,
        timed_out: bool,
    ) -> Option<WaitEnd> {
        if self.reached_by(state) {
            return Some(WaitEnd { reached: true, exit: Exit::Done });
        }
        let exit = match state {
            State::Undelivered | State::Discarded | State::Expired | State::Replaced => {
                Exit::Undelivered
            }
            State::Waiting if !has_timeout => Exit::Queued,
            State::Queued | State::Waiting if timed_out => Exit::Queued,
            State::Sent | State::Delivered | State::Read if timed_out => Exit::Sent,
            State::Queued | State::Waiting | State::Sent | State::Delivered | State::Read => {
                return None;
            }
        };
        Some(WaitEnd { reached: false, exit })
    }
}

words! {
    /// Which way a message went.
    pub enum Direction {
        /// To this profile.
        In = "in",
        /// From this profile.
        Out = "out",
    }
}

/// A message, as every method and event shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The id that the sender chose.
    pub id: MessageId,
    /// The contact's name, now.
    pub contact: String,
    /// The contact's id, which a new name does not change.
    pub contact_id: String,
    /// In or out.
    pub direction: Direction,
    /// The contact's name, or `me`.
    pub from: String,
    /// The contact's name, or `me`.
    pub to: String,
    /// The text.
    pub body: String,
    /// Where it is. One that came in is `delivered`, and `read` once a reader took it.
    pub state: State,
    /// When the sender accepted it, by the sender's clock.
    pub time_sent: Time,
    /// When it was on the recipient's disk: by this clock for one that came in, `null` for one
    /// that went out and was not heard of.
    pub time_received: Option<Time>,
    /// The contact's key has been verified.
    pub verified: bool,
    /// The path it took: `direct`, `relay:NICK`, or `null` while it took none.
    pub via: Option<String>,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// A title, for notifications.
    pub title: Option<String>,
    /// 1 (lowest) to 5 (highest).
    pub priority: Option<u8>,
    /// Tags, for hooks and notifications.
    pub tags: Vec<String>,
    /// Of a question: what may be answered, an empty list where anything may; `null`: it is none.
    #[serde(default)]
    pub choices: Option<Vec<String>>,
}

/// One step that a message took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// When.
    pub time: Time,
    /// What happened, in one word where there is one: mostly the state that it came into.
    pub what: String,
    /// The path: `direct`, `relay:NICK` or `null`.
    pub via: Option<String>,
    /// Why, where there is something to say.
    pub reason: Option<String>,
}

/// A message with every step that it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageSteps {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// Oldest first.
    pub steps: Vec<Step>,
    /// What becomes of it if it is undelivered; `null`: what the config says then.
    pub if_undelivered: Option<IfUndelivered>,
    /// When trying ends, by the sender's clock.
    pub expires: Option<Time>,
    /// A newer message to the contact with the same key replaces it.
    pub key: Option<String>,
    /// The only way that it may go.
    pub only_via: Option<Via>,
}

/// Params of `message.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendParams {
    /// The contact's name.
    pub to: String,
    /// The text: not empty, at most 46 KiB of UTF-8.
    #[schemars(length(min = 1, max = MAX_BODY))]
    pub body: String,
    /// Answer only when this stage is reached or can no longer be.
    pub wait: Option<Stage>,
    /// How long to wait at most; without it, until the wait is decided.
    pub timeout: Option<Period>,
    /// The message's id; the daemon chooses one where none is given. Sending the same id again
    /// changes nothing and reports that message.
    pub id: Option<MessageId>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// A title, which travels inside the message: at most 256 bytes of UTF-8.
    #[schemars(length(max = MAX_TITLE))]
    pub title: Option<String>,
    /// 1 (lowest) to 5 (highest), which travels inside the message.
    #[schemars(range(min = 1, max = 5))]
    pub priority: Option<u8>,
    /// Tags, which travel inside the message: at most 16, each of 1 to 32 bytes of UTF-8.
    #[schemars(length(max = MAX_TAGS), inner(length(min = 1, max = MAX_TAG)))]
    pub tags: Option<Vec<String>>,
    /// What becomes of it if it is undelivered, whatever the config says.
    pub if_undelivered: Option<IfUndelivered>,
    /// Trying ends so long after now, by the sender's clock: then it is `expired`.
    pub ttl: Option<Period>,
    /// It replaces older messages to the contact with this key that are `queued`, `undelivered` or
    /// `waiting`. 1 to 256 bytes of UTF-8; it stays here.
    #[schemars(length(min = 1, max = MAX_KEY))]
    pub key: Option<String>,
    /// The only way that it may go.
    pub via: Option<Via>,
}

/// The longest key of a message, in bytes of UTF-8.
pub const MAX_KEY: usize = 256;
/// The longest title, in bytes of UTF-8.
pub const MAX_TITLE: usize = 256;
/// The most tags of a message.
pub const MAX_TAGS: usize = 16;
/// The longest tag, in bytes of UTF-8.
pub const MAX_TAG: usize = 32;
/// The most choices of a question.
pub const MAX_CHOICES: usize = 8;
/// The longest choice, in bytes of UTF-8.
pub const MAX_CHOICE: usize = 32;

impl SendParams {
    /// A message with nothing but a recipient and a text.
    #[must_use]
    pub fn new(to: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            to: to.into(),
            body: body.into(),
            wait: None,
            timeout: None,
            id: None,
            reply_to: None,
            title: None,
            priority: None,
            tags: None,
            if_undelivered: None,
            ttl: None,
            key: None,
            via: None,
        }
    }
}

/// The largest body of a message, in bytes of UTF-8: 46 KiB, which with all that travels around it
/// fits into the largest envelope.
pub const MAX_BODY: usize = 46 * 1024;

/// Result of `message.send` and `message.wait`: a result also when the stage was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendResult {
    /// The message.
    pub id: MessageId,
    /// Its state now.
    pub state: State,
    /// The stage that was waited for was reached; true where nothing was waited for.
    pub reached: bool,
    /// The exit code of a command that ends with this result.
    pub exit: u8,
}

/// Params of `message.ask`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskParams {
    /// The contact's name.
    pub to: String,
    /// The question: not empty, at most 46 KiB of UTF-8, choices included.
    #[schemars(length(min = 1, max = MAX_BODY))]
    pub body: String,
    /// What may be answered: at most 8, all different, each of 1 to 32 bytes of UTF-8; without it,
    /// anything.
    #[schemars(length(max = MAX_CHOICES), inner(length(min = 1, max = MAX_CHOICE)))]
    pub choices: Option<Vec<String>>,
    /// How long to wait for the answer; without it, without end.
    pub timeout: Option<Period>,
    /// The question's id. Asking again with the same id goes on waiting for the same answer.
    pub id: Option<MessageId>,
    /// A title, which travels inside the message: at most 256 bytes of UTF-8.
    #[schemars(length(max = MAX_TITLE))]
    pub title: Option<String>,
    /// 1 (lowest) to 5 (highest), which travels inside the message.
    #[schemars(range(min = 1, max = 5))]
    pub priority: Option<u8>,
}

/// Result of `message.ask`: a result also when no answer came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// The question.
    pub id: MessageId,
    /// Its state now.
    pub state: State,
    /// The message that answered it; `null`: none came.
    pub answer: Option<Message>,
    /// The exit code of a command that ends with this result.
    pub exit: u8,
}

/// Params of `message.answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerParams {
    /// The question's id.
    pub id: MessageId,
    /// The answer: one of the question's choices, where it has some.
    #[schemars(length(min = 1, max = MAX_BODY))]
    pub answer: String,
    /// Who asked, where several asked under the same id.
    pub contact: Option<String>,
    /// The answer's own id; the daemon chooses one where none is given.
    pub answer_id: Option<MessageId>,
}

/// Result of `message.check`: what `message.send` would find now. What it would refuse is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendChecked {
    /// The contact's name.
    pub to: String,
    /// Its key has been verified.
    pub verified: bool,
    /// Whether it is there; `unknown` on a socket that may only send.
    pub presence: Presence,
    /// The path that it would take now; `null`: none is up, or the socket may only send.
    pub via: Option<String>,
    /// It would wait here, because no path is up.
    pub waits: bool,
    /// Why it stays here, where it may only go one way.
    #[serde(default)]
    pub reason: Option<String>,
    /// It has this id and was accepted before: sending it again would change nothing.
    pub known: bool,
    /// Bytes of its text.
    pub size: u64,
    /// Bytes that a text may have.
    pub max_size: u64,
    /// The exit code of sending it.
    pub exit: u8,
}

/// Params of `message.show` and `message.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageParams {
    /// The message's id.
    pub id: MessageId,
    /// Only the one with this contact: an id is unique per contact and direction only.
    pub contact: Option<String>,
}

/// Result of `message.show`: every message with this id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageShown {
    /// The messages, each with its steps.
    pub messages: Vec<MessageSteps>,
}

/// Params of `message.wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// The message's id.
    pub id: MessageId,
    /// The stage to wait for.
    #[serde(rename = "for")]
    pub stage: Stage,
    /// How long at most; without it, until the wait is decided.
    pub timeout: Option<Period>,
    /// The contact that it was sent to, where the id was used for several.
    pub contact: Option<String>,
}

/// A list of messages: result of `history.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Messages {
    /// Oldest first; as many as fit into an answer.
    pub messages: Vec<Message>,
    /// There are older ones than these, which `before` gets.
    #[serde(default)]
    pub more: bool,
}
