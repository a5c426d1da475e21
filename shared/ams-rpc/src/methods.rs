//! The one table of the daemon's methods: name, params, result, documentation.
//!
//! A new method is one entry here, one function in the daemon and one file in `amsctl`, all of one
//! name. What a type says of a field is its documentation in `rpc.discover` too.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::{
    AnswerParams, AskParams, Asked, ContactAcceptParams, ContactAddParams, ContactBrief,
    ContactParams, ContactRenameParams, ContactVerified, ContactVerifyParams, ContactWaitParams,
    Contacts, DaemonStatus, Done, Event, HistoryClearParams, HistoryCleared, HistoryParams,
    Identity, InboxAckParams, InboxBatch, InboxNextParams, MessageParams, MessageShown, Messages,
    NoParams, PeerConnectParams, PeerInfo, PeerParams, PresenceParams, QueueListParams,
    QueueOutcomes, QueueParams, QueuedMessages, ReaderParams, RelayInfo, RelayJoinParams,
    RelayLeaveParams, RelayLoginParams, RelayParams, RelayPasswordParams, Relays, SendChecked,
    SendParams, SendResult, SubscribeParams, UnsubscribeParams, WaitParams,
};

/// One method.
pub trait Method: 'static {
    /// `noun.verb`.
    const NAME: &'static str;
    /// What it does.
    const DOC: &'static str;
    /// What it takes: an object.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
    /// What it answers.
    type Result: Serialize + DeserializeOwned + JsonSchema + Clone + Send + 'static;
}

/// A method whose answer is the name of a stream of notifications.
pub trait Subscription: Method<Result = String> {
    /// The method name of its notifications.
    const NOTIFICATION: &'static str;
    /// The method that ends it.
    type Unsubscribe: Method<Params = UnsubscribeParams, Result = bool>;
    /// What each notification carries.
    type Item: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

/// A method as a row of a table that can be walked through.
#[derive(Clone, Copy)]
pub struct Entry {
    /// `noun.verb`.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// The schema of its params, whole.
    pub params: fn(&mut SchemaGenerator) -> Schema,
    /// The schema of its result, by reference.
    pub result: fn(&mut SchemaGenerator) -> Schema,
}

impl Entry {
    /// The row of `M`.
    #[must_use]
    pub const fn of<M: Method>() -> Self {
        Self {
            name: M::NAME,
            doc: M::DOC,
            params: <M::Params as JsonSchema>::json_schema,
            result: SchemaGenerator::subschema_for::<M::Result>,
        }
    }
}

/// The notifications of a subscription, as a row of a table.
#[derive(Clone, Copy)]
pub struct Notices {
    /// The method name that they have.
    pub name: &'static str,
    /// The method that asks for them.
    pub subscribe: &'static str,
    /// The method that ends them.
    pub unsubscribe: &'static str,
    /// The schema of what each carries, by reference.
    pub item: fn(&mut SchemaGenerator) -> Schema,
}

impl Notices {
    /// The row of `S`.
    #[must_use]
    pub const fn of<S: Subscription>() -> Self {
        Self {
            name: S::NOTIFICATION,
            subscribe: S::NAME,
            unsubscribe: <S::Unsubscribe as Method>::NAME,
            item: SchemaGenerator::subschema_for::<S::Item>,
        }
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Makes a module per noun, a type per method and the table.
macro_rules! method_table {
    (
        $(#[doc = $table_doc:literal])+
        $table:ident:
        $(
            $(#[doc = $noun_doc:literal])+
            $noun:ident {
                $(
                    $(#[doc = $doc:literal])+
                    $method:ident = $name:literal ($params:ty) -> $result:ty;
                )+
            }
        )+
    ) => {
        $(
            $(#[doc = $noun_doc])+
            pub mod $noun {
                #[allow(unused_imports, reason = "not every noun uses types of the table's file")]
                use super::*;
                $(
                    $(#[doc = $doc])+
                    #[derive(Debug)]
                    pub enum $method {}

                    impl $crate::methods::Method for $method {
                        const NAME: &'static str = $name;
                        const DOC: &'static str = concat!($($doc,)+).trim_ascii();
                        type Params = $params;
                        type Result = $result;
                    }
                )+
            }
        )+

        $(#[doc = $table_doc])+
        pub const $table: &[$crate::methods::Entry] =
            &[$($($crate::methods::Entry::of::<$noun::$method>(),)+)+];
    };
}
pub(crate) use method_table;

method_table! {
    /// Every method that the daemon serves.
    METHODS:

    /// The daemon itself.
    daemon {
        /// The daemon, its identity, each relay and peer, what is queued and received, warnings.
        Status = "daemon.status" (NoParams) -> DaemonStatus;
        /// Stops the daemon, in order.
        Stop = "daemon.stop" (NoParams) -> Done;
    }

    /// This profile's identity.
    identity {
        /// The own fingerprint, accounts and links to hand out.
        Show = "identity.show" (NoParams) -> Identity;
    }

    /// The profile as a whole.
    profile {
        /// Writes identity, contacts and kept messages into a new file, sealed under a passphrase;
        /// never ratchets.
        Backup = "profile.backup" (crate::types::ProfileParams) -> crate::types::ProfileSummary;
        /// Restores a backup into a profile that nothing was done with yet.
        Restore = "profile.restore" (crate::types::ProfileParams) -> crate::types::ProfileSummary;
    }

    /// Whether contacts see this daemon.
    presence {
        /// Shows or hides that this daemon is online, until changed again.
        Set = "presence.set" (PresenceParams) -> PresenceParams;
    }

    /// Single messages.
    message {
        /// Puts a message into the queue and answers when it is durable there, or, with `wait`,
        /// when that stage is reached or can no longer be.
        Send = "message.send" (SendParams) -> SendResult;
        /// Asks a contact something, and answers when the contact has, or the time is over.
        Ask = "message.ask" (AskParams) -> Asked;
        /// Answers a question that came in, and answers itself when that is durable in the queue.
        Answer = "message.answer" (AnswerParams) -> SendResult;
        /// What sending this message would come to, without sending it: the same refusals, and
        /// where it would go.
        Check = "message.check" (SendParams) -> SendChecked;
        /// A message, its state and every step that it took.
        Show = "message.show" (MessageParams) -> MessageShown;
        /// Waits until a message reached a stage or can no longer reach it.
        Wait = "message.wait" (WaitParams) -> SendResult;
        /// Deletes a message here; what the other side has stays.
        Delete = "message.delete" (MessageParams) -> Done;
    }

    /// What arrived.
    inbox {
        /// What a reader has not had yet. A call that waits or returned messages holds the reader
        /// for its connection until the last of them was acknowledged or the connection closed.
        Next = "inbox.next" (InboxNextParams) -> InboxBatch;
        /// Acknowledges everything up to a cursor.
        Ack = "inbox.ack" (InboxAckParams) -> Done;
        /// The readers, and how many messages each has not had.
        Readers = "inbox.readers" (NoParams) -> crate::types::Readers;
        /// Forgets a reader and its position.
        Forget = "inbox.forget" (ReaderParams) -> Done;
    }

    /// What was said.
    history {
        /// Messages that went and came, oldest first.
        List = "history.list" (HistoryParams) -> Messages;
        /// Removes the messages with a contact here; what the other side has stays.
        Clear = "history.clear" (HistoryClearParams) -> HistoryCleared;
    }

    /// Messages that are not delivered yet.
    queue {
        /// Messages that are not delivered yet, in the order in which they were sent.
        List = "queue.list" (QueueListParams) -> QueuedMessages;
        /// Keeps messages: they go out by themselves when the contact comes online.
        Keep = "queue.keep" (QueueParams) -> QueueOutcomes;
        /// Gives messages up. What already left cannot be recalled.
        Discard = "queue.discard" (QueueParams) -> QueueOutcomes;
        /// Tries messages again now.
        Retry = "queue.retry" (QueueParams) -> QueueOutcomes;
    }

    /// Programs that are run for what happens.
    hook {
        /// The hooks of the config, how they fare, and what they failed for.
        List = "hook.list" (NoParams) -> crate::types::HookList;
        /// Runs a hook's program now, with an event that is made up.
        Test = "hook.test" (crate::types::HookTestParams) -> crate::types::HookTested;
        /// Runs a hook again for what it failed for.
        Replay = "hook.replay" (crate::types::HookReplayParams) -> crate::types::HookReplayed;
    }

    /// Relays.
    relay {
        /// Makes the account that an invite link names, and connects.
        Join = "relay.join" (RelayJoinParams) -> RelayInfo;
        /// Enrols this daemon on an account that exists, and connects.
        Login = "relay.login" (RelayLoginParams) -> RelayInfo;
        /// The relays and their states.
        List = "relay.list" (NoParams) -> Relays;
        /// Connects now, skipping the pause between two tries.
        Connect = "relay.connect" (RelayParams) -> RelayInfo;
        /// Disconnects and stays so until `relay.connect`.
        Disconnect = "relay.disconnect" (RelayParams) -> RelayInfo;
        /// Forgets a relay here; with `delete_account` deletes the account there as well.
        Leave = "relay.leave" (RelayLeaveParams) -> Done;
        /// Changes the account's password.
        Password = "relay.password" (RelayPasswordParams) -> Done;
        /// Goes on from a copied or restored profile.
        Resume = "relay.resume" (RelayParams) -> RelayInfo;
    }

    /// Direct links.
    peer {
        /// Asks whoever answers at an address to be a contact, directly; to somebody who is one,
        /// connects now. Who is there has to be vouched for: by a link, a fingerprint, or
        /// `accept_new`. The name of a contact that has an address connects it again, and is
        /// answered when that try has ended.
        Connect = "peer.connect" (PeerConnectParams) -> PeerInfo;
        /// The direct peers and their states.
        List = "peer.list" (NoParams) -> crate::types::Peers;
        /// Disconnects and stays so until `peer.connect`.
        Disconnect = "peer.disconnect" (PeerParams) -> PeerInfo;
    }

    /// Contacts.
    contact {
        /// Asks somebody to be a contact. Answers `pending` at once, whoever it is.
        Add = "contact.add" (ContactAddParams) -> ContactBrief;
        /// Makes a link to hand to somebody, good once and for 7 days: whoever redeems it with
        /// `contact.add` is a contact, verified on both sides.
        Link = "contact.link" (crate::types::ContactLinkParams) -> crate::types::ContactLinkMade;
        /// Requests that came in, and those that were made here and not answered yet.
        Requests = "contact.requests" (NoParams) -> crate::types::Requests;
        /// Accepts a request.
        Accept = "contact.accept" (ContactAcceptParams) -> ContactBrief;
        /// Rejects a request. The other side sees somebody who is offline.
        Reject = "contact.reject" (ContactParams) -> Done;
        /// Blocks a contact. The other side sees somebody who is offline.
        Block = "contact.block" (ContactParams) -> ContactBrief;
        /// Ends a block.
        Unblock = "contact.unblock" (ContactParams) -> ContactBrief;
        /// The contacts, by name.
        List = "contact.list" (NoParams) -> Contacts;
        /// One contact, with every way to reach it.
        Show = "contact.show" (ContactParams) -> crate::types::Contact;
        /// Waits until a contact is online.
        Wait = "contact.wait" (ContactWaitParams) -> crate::types::ContactWaited;
        /// Asks a contact's daemon for a sign of life, over the path that messages take now. The other
        /// side is shown nothing of it.
        Ping = "contact.ping" (crate::types::ContactPingParams) -> crate::types::ContactPinged;
        /// Gives a contact another name here.
        Rename = "contact.rename" (ContactRenameParams) -> ContactBrief;
        /// Removes a contact; cancels a request that was made here.
        Remove = "contact.remove" (ContactParams) -> Done;
        /// Shows the safety number; with `confirm`, records that it was compared.
        Verify = "contact.verify" (ContactVerifyParams) -> ContactVerified;
        /// Accepts a contact's changed key, exactly the one with this fingerprint.
        Trust = "contact.trust" (crate::types::ContactTrustParams) -> ContactBrief;
    }

    /// What happens.
    events {
        /// Follows events as notifications with the method `event`.
        Subscribe = "events.subscribe" (SubscribeParams) -> String;
        /// Ends a subscription of this connection; `false` where there was none.
        Unsubscribe = "events.unsubscribe" (UnsubscribeParams) -> bool;
    }

    /// The interface itself.
    rpc {
        /// This interface as an OpenRPC document.
        Discover = "rpc.discover" (NoParams) -> serde_json::Value;
    }
}

/// Everything that is told without being an answer.
pub const NOTICES: &[Notices] = &[Notices::of::<events::Subscribe>()];

impl Subscription for events::Subscribe {
    const NOTIFICATION: &'static str = "event";
    type Unsubscribe = events::Unsubscribe;
    type Item = Event;
}
