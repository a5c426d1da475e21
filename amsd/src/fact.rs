//! What a commit tells the rest of the daemon once it is durable. A fact is told after the commit
//! that makes it true and never before, so nothing is announced that a crash could take back.

use ams_wire::id::MessageId;

use crate::contacts::ContactId;
use crate::relay::RelayId;

/// Something that is now true on disk.
#[derive(Debug, Clone)]
pub enum Fact {
    /// For everybody who follows events.
    Event(Box<ams_rpc::types::Fact>),
    /// This contact may have something to be sent, or a receipt to be given.
    Due(ContactId),
    /// This contact's approval was opened: it does not know yet.
    Greet(ContactId),
    /// Messages of this contact were read here: it may be told.
    Read(ContactId),
    /// This relay's account has something to say to the relay: requests, refusals, removals; or a
    /// direct way to the contact.
    Asks(RelayId),
    /// The set of relays, or what is wanted of one, changed.
    Relays,
    /// A hook is to be run.
    Hooks,
    /// The set of direct ways, or what is wanted of one, changed.
    Peers,
    /// A message came in.
    Arrived,
    /// An earlier commit failed and may be on the disk all the same, and nothing of it was told: whoever
    /// waits for anything looks.
    Unsure,
    /// A message of ours is in another state.
    State {
        /// To whom.
        contact: ContactId,
        /// Which.
        id: MessageId,
    },
}

impl Fact {
    /// For everybody who follows events.
    pub fn event(event: ams_rpc::types::Fact) -> Self {
        Self::Event(Box::new(event))
    }
}
