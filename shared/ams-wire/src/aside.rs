//! What two daemons say to each other beside the messages of their users, under the same ratchet: it
//! is shown to nobody. A plaintext that begins an array is one; a message begins a map.

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::frame::WireError;
use crate::id::Key;
use crate::limits::{MAX_OFFERED, MAX_OFFERED_ADDRESS};

/// One word from daemon to daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// `[1, offer]`: how its daemon is reached directly.
    Direct(Offer),
}

const DIRECT: u32 = 1;

/// How a daemon is reached without a relay, whole, in the place of all that it said before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// Higher than in all that were made before: when it was made, milliseconds since 1970, or one
    /// more than the last.
    #[n(0)]
    pub number: u64,
    /// The daemon's key on direct links; `None`: it allows none, and what it said before is void.
    #[n(1)]
    pub link_key: Option<Key>,
    /// Where it listens, `HOST:PORT`; none: it can only dial.
    #[n(2)]
    pub addresses: Vec<String>,
}

impl Aside {
    /// The plaintext for the ratchet.
    ///
    /// # Errors
    /// [`WireError::TooLong`] when a field is over its bound.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let Self::Direct(offer) = self;
        if !offer.is_bounded() {
            return Err(WireError::TooLong);
        }
        let mut out = Vec::with_capacity(128);
        cbor::encode(&(DIRECT, offer), &mut out);
        Ok(out)
    }

    /// Reads a plaintext; `None` where it is of a kind that is not known.
    ///
    /// # Errors
    /// [`WireError`] when it is malformed or a field is over its bound.
    pub fn decode(plaintext: &[u8]) -> Result<Option<Self>, WireError> {
        let malformed = |_| WireError::Malformed;
        let mut decoder = minicbor::Decoder::new(plaintext);
        if decoder.array().map_err(malformed)? != Some(2) {
            return Err(WireError::Malformed);
        }
        if decoder.u32().map_err(malformed)? != DIRECT {
            return Ok(None);
        }
        let (_, offer): (u32, Offer) = cbor::decode(plaintext)?;
        if offer.is_bounded() { Ok(Some(Self::Direct(offer))) } else { Err(WireError::TooLong) }
    }
}

impl Offer {
    fn is_bounded(&self) -> bool {
        self.addresses.len() <= MAX_OFFERED
            && self.addresses.iter().all(|at| at.len() <= MAX_OFFERED_ADDRESS)
            && (self.link_key.is_some() || self.addresses.is_empty())
    }
}
