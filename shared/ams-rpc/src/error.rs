//! The one closed table of errors: kind, code, exit code, what to do next.
//!
//! The code of an error of our own is its exit code times 100 and a number, so that a program that
//! knows only the code can still exit right. The codes of JSON-RPC itself are kept.

use jsonrpsee_types::ErrorObjectOwned;
use serde::{Deserialize, Serialize};

/// The exit codes of every command, the same through every path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done; with a wait, the stage was reached.
    Done = 0,
    /// Failed, with the reason on stderr.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Relay or peer not reachable.
    NotReachable = 3,
    /// Key not trusted.
    KeyNotTrusted = 4,
    /// Rate limited.
    RateLimited = 5,
    /// Refused: wrong password, invite, not approved, not allowed.
    Refused = 6,
    /// No such contact, message, relay, request.
    NotFound = 7,
    /// `queued` or `waiting` when the wait ended.
    Queued = 8,
    /// Undelivered, discarded, expired, replaced.
    Undelivered = 9,
    /// `sent`, or delivered and not read, when the wait's timeout came.
    Sent = 10,
    /// The daemon is not running.
    NoDaemon = 11,
    /// Nothing came within the timeout.
    NothingCame = 12,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Declares the kinds and their constructors.
macro_rules! error_table {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident, $constructor:ident = $kind:literal, $code:literal, $exit:ident, $hint:literal;
    )+) => {
        /// The kind of an error. The list is closed: a new one is a new line in the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[doc = $doc])+ $variant,)+ }

        impl ErrorKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its stable name, `data.kind` in an answer.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $kind,)+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// Its JSON-RPC code.
            #[must_use]
            pub const fn code(self) -> i32 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The exit code of a command that ends with it.
            #[must_use]
            pub const fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit,)+ }
            }

            /// What to do next, where the error says nothing better.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)+ }
            }
        }

        impl RpcError {
            $(
                $(#[doc = $doc])+
                #[must_use]
                pub fn $constructor(message: impl Into<String>) -> Self {
                    Self::new(ErrorKind::$variant, message)
                }
            )+
        }
    };
}

error_table! {
    // What JSON-RPC itself defines.
    /// The line is not JSON.
    Parse, parse = "parse", -32700, Usage, "send one JSON value a line, in UTF-8";
    /// The JSON is not a request.
    InvalidRequest, invalid_request = "invalid_request", -32600, Usage,
        "a request is {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"…\",\"params\":{…}}";
    /// The method is not in the table.
    MethodNotFound, method_not_found = "method_not_found", -32601, Usage,
        "rpc.discover lists the methods; a method that is missing here may need a newer daemon";
    /// The params do not fit the method.
    InvalidParams, invalid_params = "invalid_params", -32602, Usage,
        "rpc.discover lists the parameters of every method";
    /// Something went wrong inside the program.
    Internal, internal = "internal", -32603, Failed, "look into the daemon's log";

    // 1: failed.
    /// The disk or the database failed.
    Storage, storage = "storage", 101, Failed, "look into the daemon's log, and at the disk";
    /// The disk is full.
    StorageFull, storage_full = "storage_full", 102, Failed,
        "free some space on the disk and try again; nothing was changed";
    /// Too many clients, requests or subscriptions at once.
    Busy, busy = "busy", 103, Failed, "close some, or try again in a moment";
    /// An answer would be larger than a line may be.
    AnswerTooLarge, answer_too_large = "answer_too_large", 104, Failed, "ask for less at once";

    /// A file that cannot be used, or is not what it should be.
    BadFile, bad_file = "bad_file", 105, Failed, "check the file and its folder";

    // 2: usage.
    /// A line is longer than 1 MiB.
    LineTooLong, line_too_long = "line_too_long", 201, Usage, "a line is at most 1 MiB long";
    /// A message is larger than it may be.
    TooLong, too_long = "too_long", 202, Usage,
        "a message is at most 46 KiB; send a link to it, or split it";
    /// A message without a text.
    EmptyBody, empty_body = "empty_body", 203, Usage, "give the text as arguments or on stdin";
    /// A link that is mistyped, incomplete or of the wrong kind.
    BadLink, bad_link = "bad_link", 204, Usage,
        "copy the whole link, from ams:// to its last character, in quotes";
    /// A name that cannot be one.
    BadName, bad_name = "bad_name", 205, Usage,
        "a name has 3 to 32 characters: a-z, 0-9, and after the first one also _ . -";
    /// A name that fits several.
    Ambiguous, ambiguous = "ambiguous", 206, Usage, "name one of them by its id";
    /// A password that is too short.
    BadPassword, bad_password = "bad_password", 207, Usage, "choose another one, like a few words that do not belong together";
    /// A value that is out of its range.
    BadValue, bad_value = "bad_value", 208, Usage, "rpc.discover lists what every method takes";

    // 3: not reachable.
    /// A relay or peer cannot be reached.
    NotReachable, not_reachable = "not_reachable", 301, NotReachable,
        "check the address, the network and whether the relay is running; then try again";
    /// What answered is not the relay of this link.
    WrongRelay, wrong_relay = "wrong_relay", 302, NotReachable,
        "ask the relay's operator for its present address link";
    /// The relay was switched off by the user.
    RelayOff, relay_off = "relay_off", 303, NotReachable, "amsctl relay connect NICK";

    // 4: key not trusted.
    /// The contact shows another key than the one that is known.
    KeyChanged, key_changed = "key_changed", 401, KeyNotTrusted,
        "ask for the fingerprint that amsctl id shows there, and take that key alone: amsctl contact trust NAME FINGERPRINT; or compare the number: amsctl contact verify NAME";
    /// The safety numbers differ.
    NumberMismatch, number_mismatch = "number_mismatch", 402, KeyNotTrusted,
        "compare again over a channel that you trust; if it still differs, somebody is in between";
    /// The key is not the one with this fingerprint.
    FingerprintMismatch, fingerprint_mismatch = "fingerprint_mismatch", 403, KeyNotTrusted,
        "compare again over a channel that you trust; if it still differs, somebody is in between";

    /// Nobody vouched for the key that an address shows.
    KeyUnknown, key_unknown = "key_unknown", 404, KeyNotTrusted,
        "compare it with what amsctl id shows there, then give it: --fingerprint F; or take it unseen: --accept-new";

    // 5: rate limited.
    /// Too often.
    RateLimited, rate_limited = "rate_limited", 501, RateLimited, "wait a while and try again";

    // 6: refused.
    /// Wrong name or password.
    WrongPassword, wrong_password = "wrong_password", 601, Refused,
        "check the user name and the password";
    /// The relay does not take this invite.
    InviteRefused, invite_refused = "invite_refused", 602, Refused,
        "ask the relay's operator for a new invite";
    /// The contact has not approved yet.
    NotApproved, not_approved = "not_approved", 603, Refused,
        "wait until the contact accepts: amsctl contact requests";
    /// The contact is blocked here.
    Blocked, blocked = "blocked", 604, Refused, "amsctl contact unblock NAME";
    /// The id was used for another message.
    IdConflict, id_conflict = "id_conflict", 605, Refused,
        "use a new id for a new message; nothing was sent";
    /// Another program holds this reader.
    ReaderBusy, reader_busy = "reader_busy", 606, Refused,
        "stop the other recv, or use a reader of your own: --reader NAME";
    /// The account has another device, which would be displaced.
    NeedsReplace, needs_replace = "needs_replace", 607, Refused,
        "add --replace to displace the account's other device";
    /// The name is in use here.
    NameTaken, name_taken = "name_taken", 608, Refused, "choose another name with --as";
    /// The relay does not accept this device any more.
    DeviceRefused, device_refused = "device_refused", 609, Refused,
        "amsctl relay login LINK --user NAME enrols this daemon again";
    /// An old or second copy of this profile was noticed.
    StateCloned, state_cloned = "state_cloned", 610, Refused,
        "if no other daemon uses this profile: amsctl relay resume NICK";
    /// Not allowed for this caller, or not in this state.
    NotAllowed, not_allowed = "not_allowed", 611, Refused,
        "run it as the user whose daemon this is";

    /// A contact link whose time is over.
    LinkExpired, link_expired = "link_expired", 612, Refused, "ask for a new one";
    /// A contact link that was redeemed before.
    LinkUsed, link_used = "link_used", 613, Refused,
        "a link is good once; amsctl contact list shows the contact that it made";
    /// The question was answered before.
    Answered, answered = "answered", 614, Refused,
        "a question is answered once; to say more: amsctl send NAME --reply-to ID TEXT";

    // 7: no such thing.
    /// There is no such contact.
    NoSuchContact, no_such_contact = "no_such_contact", 701, NotFound,
        "amsctl contact list shows the contacts; amsctl contact add USER@RELAY makes one";
    /// There is no such message.
    NoSuchMessage, no_such_message = "no_such_message", 702, NotFound,
        "amsctl history and amsctl queue list show messages with their ids when given --json";
    /// There is no such relay.
    NoSuchRelay, no_such_relay = "no_such_relay", 703, NotFound,
        "amsctl relay list shows the relays; amsctl relay join LINK adds one";
    /// There is no such request.
    NoSuchRequest, no_such_request = "no_such_request", 704, NotFound,
        "amsctl contact requests shows them";
    /// There is no such direct peer.
    NoSuchPeer, no_such_peer = "no_such_peer", 709, NotFound,
        "amsctl peer list shows them";
    /// There is no such reader.
    NoSuchReader, no_such_reader = "no_such_reader", 705, NotFound,
        "amsctl reader list shows them";
    /// There is no such user on this relay.
    NoSuchUser, no_such_user = "no_such_user", 706, NotFound, "ams-relay user list shows them";
    /// There is no such invite on this relay.
    NoSuchInvite, no_such_invite = "no_such_invite", 707, NotFound,
        "ams-relay invite list shows them";
    /// There is no such hook.
    NoSuchHook, no_such_hook = "no_such_hook", 708, NotFound,
        "amsctl hook list shows them; they are [[hook]] in the config";

    // 11: no daemon.
    /// The daemon is stopping.
    Stopping, stopping = "stopping", 1101, NoDaemon, "start it again: amsd --daemon";
}

/// What to do about a changed key, as [`ErrorKind::KeyChanged`] says it, for one contact. Whoever has
/// a new device does not answer before its key is trusted, so that the number cannot come first.
#[must_use]
pub fn key_hint(name: &str, fingerprint: &str) -> String {
    ErrorKind::KeyChanged.hint().replace("FINGERPRINT", fingerprint).replace("NAME", name)
}

/// An error, as a method answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// Its kind, from which code and exit code follow.
    pub kind: ErrorKind,
    /// One sentence on what is wrong, without a full stop.
    pub message: String,
    /// What to do next, where the kind's own hint does not fit.
    pub hint: Option<String>,
    /// The fingerprint of a key that was shown and is not trusted.
    pub offered_fingerprint: Option<String>,
}

impl RpcError {
    /// An error with the hint of its kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, offered_fingerprint: None }
    }

    /// Says something better than the kind's own hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which key was shown.
    #[must_use]
    pub fn offering(mut self, fingerprint: impl Into<String>) -> Self {
        self.offered_fingerprint = Some(fingerprint.into());
        self
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or(self.kind.hint())
    }

    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.kind.exit()
    }
}

/// `data` of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// The stable name of its kind.
    pub kind: String,
    /// What to do next.
    pub hint: String,
    /// The exit code of a command that ends with it.
    pub exit: u8,
    /// The fingerprint of a key that was shown and is not trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered_fingerprint: Option<String>,
}

impl From<&RpcError> for ErrorData {
    fn from(error: &RpcError) -> Self {
        Self {
            kind: error.kind.as_str().to_owned(),
            hint: error.hint().to_owned(),
            exit: error.exit().code(),
            offered_fingerprint: error.offered_fingerprint.clone(),
        }
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let data = ErrorData::from(&error);
        Self::owned(error.kind.code(), error.message, Some(data))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn kinds_and_codes_are_unique_and_agree_with_the_exit_codes() {
        let mut kinds = HashSet::new();
        let mut codes = HashSet::new();
        for kind in ErrorKind::ALL {
            assert!(kinds.insert(kind.as_str()), "{kind:?}");
            assert!(codes.insert(kind.code()), "{kind:?}");
            assert!(!kind.hint().is_empty(), "{kind:?}");
            if kind.code() > 0 {
                assert_eq!(kind.code() / 100, i32::from(kind.exit().code()), "{kind:?}");
            } else {
                assert!((-32_768..=-32_600).contains(&kind.code()), "{kind:?}");
            }
            assert_ne!(kind.exit(), Exit::Done);
        }
    }

    #[test]
    fn an_error_on_the_wire() {
        let object = ErrorObjectOwned::from(RpcError::no_such_contact("there is no contact `bob`"));
        assert_eq!(
            serde_json::to_value(&object).unwrap(),
            serde_json::json!({
                "code": 701,
                "message": "there is no contact `bob`",
                "data": {
                    "kind": "no_such_contact",
                    "hint": "amsctl contact list shows the contacts; amsctl contact add USER@RELAY makes one",
                    "exit": 7
                }
            })
        );
        let error = RpcError::ambiguous("two").with_hint("one of a, b");
        assert_eq!(ErrorData::from(&error).hint, "one of a, b");
    }
}
