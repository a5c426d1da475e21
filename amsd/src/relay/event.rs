//! What a link tells the router, and what the router gives a link.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ams_wire::id::{EnvelopeId, Handle, WorkMark};
use tokio::sync::mpsc;
use tokio::time::Instant;

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
/// Bytes of envelopes from which on the mailbox is full: a relay that takes nothing must not fill
/// the memory.
const MAILBOX_BYTES: usize = 4 << 20;

/// Gives a link envelopes. It ends with the link.
#[derive(Debug, Clone)]
pub struct LinkHandle {
    parcels: mpsc::Sender<Vec<Parcel>>,
    bytes: Arc<AtomicUsize>,
    heard: Arc<Mutex<Instant>>,
}

/// The link's end.
#[derive(Debug)]
pub struct Mailbox {
    parcels: mpsc::Receiver<Vec<Parcel>>,
    bytes: Arc<AtomicUsize>,
    heard: Arc<Mutex<Instant>>,
}

impl LinkHandle {
    /// The mailbox of a new link, both ends.
    pub fn pair() -> (Self, Mailbox) {
        let (sender, parcels) = mpsc::channel(MAILBOX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let heard = Arc::new(Mutex::new(Instant::now()));
        let handle = Self { parcels: sender, bytes: bytes.clone(), heard: heard.clone() };
        (handle, Mailbox { parcels, bytes, heard })
    }

    /// When anything was heard on the link: until then it was alive.
    pub fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `parcels` over, in order.
    ///
    /// # Errors
    /// The parcels, when the link is gone or its mailbox is full.
    pub fn offer(&self, parcels: Vec<Parcel>) -> Result<(), Vec<Parcel>> {
        if self.bytes.load(Ordering::Relaxed) >= MAILBOX_BYTES {
            return Err(parcels);
        }
        // Before the link can take them off again.
        let size = size(&parcels);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.parcels.try_send(parcels).map_err(|error| {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            error.into_inner()
        })
    }
}

impl Mailbox {
    /// Something was heard on the link.
    pub fn hears(&self, now: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Waits for the next parcels. Nothing is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Vec<Parcel>> {
        let parcels = self.parcels.recv().await;
        parcels.inspect(|parcels| self.took(parcels))
    }

    /// The next parcels, if there are any.
    pub fn try_recv(&mut self) -> Option<Vec<Parcel>> {
        let parcels = self.parcels.try_recv().ok();
        parcels.inspect(|parcels| self.took(parcels))
    }

    fn took(&self, parcels: &[Parcel]) {
        self.bytes.fetch_sub(size(parcels), Ordering::Relaxed);
    }
}

fn size(parcels: &[Parcel]) -> usize {
    parcels.iter().map(|parcel| parcel.envelope.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(size: usize) -> Vec<Parcel> {
        vec![Parcel {
            handle: Handle([1; 16]),
            ttl: 0,
            mark: WorkMark::default(),
            envelope: vec![0; size],
            key: None,
        }]
    }

    #[test]
    fn a_link_that_takes_nothing_is_offered_no_more() {
        let (link, mut mailbox) = LinkHandle::pair();
        for _ in 0..MAILBOX {
            assert!(link.offer(parcel(1)).is_ok());
        }
        assert!(link.offer(parcel(1)).is_err());
        while mailbox.try_recv().is_some() {}
        assert!(link.offer(parcel(MAILBOX_BYTES)).is_ok());
        assert!(link.offer(parcel(1)).is_err());
        assert!(mailbox.try_recv().is_some());
        assert!(link.offer(parcel(1)).is_ok());
        drop(mailbox);
        assert!(link.offer(parcel(1)).is_err());
    }
}
