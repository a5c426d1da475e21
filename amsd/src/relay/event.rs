//! What a link tells the router, and what the router gives a link.

use std::time::Duration;

use ams_wire::id::{EnvelopeId, Handle, WorkMark};
use tokio::sync::mpsc;

use super::row::RelayId;
use crate::inbox::Accepted;
use crate::session::seal::CipherKey;

/// What a link tells the router.
pub enum LinkEvent {
    /// The snapshot is complete: envelopes may go.
    Up {
        /// Which relay.
        relay: RelayId,
        /// Its name here.
        nick: String,
        /// Takes envelopes.
        link: LinkHandle,
        /// How long the relay tries.
        window: Duration,
    },
    /// The link is gone.
    Down {
        /// Which relay.
        relay: RelayId,
        /// Why, for people.
        reason: String,
    },
    /// Who came and who went.
    Presence {
        /// Which relay.
        relay: RelayId,
        /// Our handles of those who are online now.
        online: Vec<Handle>,
        /// Our handles of those who are offline now.
        offline: Vec<Handle>,
    },
    /// The relay took these.
    Taken {
        /// Which relay.
        relay: RelayId,
        /// In the order in which they were sent.
        keys: Vec<CipherKey>,
    },
    /// The relay gave up.
    Failed {
        /// Which relay.
        relay: RelayId,
        /// Which envelope.
        envelope: EnvelopeId,
    },
    /// Envelopes were handled, and the relay is told so.
    Handled {
        /// Which relay.
        relay: RelayId,
        /// What each turned out to be.
        of: Vec<Accepted>,
    },
}

/// One envelope to be sent.
#[derive(Debug)]
pub struct Parcel {
    /// Our handle of the recipient.
    pub handle: Handle,
    /// Seconds that the relay may try; 0: its whole window.
    pub ttl: u32,
    /// The work mark as of sealing.
    pub mark: WorkMark,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// Where it is kept; `None`: bare, nothing is kept.
    pub key: Option<CipherKey>,
}

/// Calls of [`LinkHandle::offer`] that may wait: those of a few looks of the router at 64 contacts
/// each. When it is full, the parcels are given back, and offered again a moment later.
const MAILBOX: usize = 256;

/// Gives a link envelopes. It ends with the link.
#[derive(Debug, Clone)]
pub struct LinkHandle {
    parcels: mpsc::Sender<Vec<Parcel>>,
}

impl LinkHandle {
    /// The mailbox of a new link.
    pub(super) fn new() -> (Self, mpsc::Receiver<Vec<Parcel>>) {
        let (parcels, mailbox) = mpsc::channel(MAILBOX);
        (Self { parcels }, mailbox)
    }

    /// Hands `parcels` over, in order.
    ///
    /// # Errors
    /// The parcels, when the link is gone or its mailbox is full.
    pub fn offer(&self, parcels: Vec<Parcel>) -> Result<(), Vec<Parcel>> {
        self.parcels.try_send(parcels).map_err(|error| error.into_inner())
    }
}
