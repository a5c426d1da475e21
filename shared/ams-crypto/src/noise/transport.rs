//! A finished handshake: the keys of both directions.

use std::sync::{Arc, Mutex, PoisonError};

use ams_wire::limits::MAX_RECORD_CIPHERTEXT;
use snow::{HandshakeState, TransportState};

use super::handshake::remote;
use super::{NoiseError, mute, rejected};
use crate::dh::DhPublic;

/// Records after which a direction changes its key (Noise section 11.3).
pub const REKEY_AFTER: u32 = 1_000;

/// A finished handshake.
pub struct Transport {
    /// Makes records.
    pub sealer: Sealer,
    /// Opens records.
    pub opener: Opener,
    /// The static key that the other side proved to hold.
    pub remote: DhPublic,
    /// Names this handshake, for both sides alike (Noise section 11.2, channel binding).
    pub handshake_hash: [u8; 32],
}

/// The sending half of a link's keys.
pub struct Sealer {
    pub(super) state: Arc<Mutex<TransportState>>,
    sealed: u32,
}

/// The receiving half of a link's keys.
pub struct Opener {
    pub(super) state: Arc<Mutex<TransportState>>,
    opened: u32,
    dead: bool,
}

impl Transport {
    pub(super) fn new(state: Box<HandshakeState>) -> Result<Self, NoiseError> {
        let remote = remote(&state)?;
        let handshake_hash =
            state.get_handshake_hash().try_into().map_err(|_| NoiseError::Rejected)?;
        // The two directions have nothing in common but where snow keeps them, so the lock is never
        // contended for longer than one record.
        let state = Arc::new(Mutex::new(state.into_transport_mode().map_err(rejected)?));
        let opener = Opener { state: Arc::clone(&state), opened: 0, dead: false };
        Ok(Self { sealer: Sealer { state, sealed: 0 }, opener, remote, handshake_hash })
    }
}

impl Sealer {
    /// Writes the record of `plaintext` to the front of `out`, which has room for
    /// [`ams_wire::limits::RECORD_TAG`] bytes more than `plaintext`. Gives its length.
    ///
    /// # Errors
    /// [`NoiseError::Size`] when `out` is too small or the record too long; nothing was sealed then.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, NoiseError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let length = state.write_message(plaintext, out).map_err(|_| NoiseError::Size)?;
        if turn(&mut self.sealed) {
            state.rekey_outgoing();
        }
        Ok(length)
    }
}

impl Opener {
    /// Writes the plaintext of `record` to the front of `out`. Gives its length,
    /// [`ams_wire::limits::RECORD_TAG`] bytes less than the record's. `out` must be as long as `record`, tag
    /// included: the cipher works in it.
    ///
    /// # Errors
    /// [`NoiseError::Rejected`] ends the link: every further record is rejected too.
    /// [`NoiseError::Size`] when `out` or `record` has not the right size.
    pub fn open(&mut self, record: &[u8], out: &mut [u8]) -> Result<usize, NoiseError> {
        if out.len() < record.len() || record.len() > MAX_RECORD_CIPHERTEXT {
            return Err(NoiseError::Size);
        }
        if self.dead {
            return Err(NoiseError::Rejected);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(length) = state.read_message(record, out) else {
            self.dead = true;
            return Err(NoiseError::Rejected);
        };
        if turn(&mut self.opened) {
            state.rekey_incoming();
        }
        Ok(length)
    }
}

/// Counts a record; whether the key changes after it.
fn turn(records: &mut u32) -> bool {
    *records = records.saturating_add(1);
    let due = *records == REKEY_AFTER;
    if due {
        *records = 0;
    }
    due
}

mute!(Transport Sealer Opener);
