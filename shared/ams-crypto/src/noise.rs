//! Links: the Noise Protocol Framework (revision 34) by the crate snow. One suite, no negotiation:
//! `25519_ChaChaPoly_BLAKE2s`. Roles and phases are types: each step consumes the one before it, and
//! all sizes are fixed, so nothing is ever allocated from a length that a stranger sent.
//!
//! 1. The initiator sends [`Pattern::byte`], then the messages of the pattern.
//! 2. Both sides hold a [`Transport`] and drop what the handshake kept (snow does not wipe keys, so
//!    they should at least not stay).
//! 3. The link counts as up only after the initiator's first record opened: until then a recorded
//!    first message could have been replayed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ams_wire::limits::{MAX_RECORD_CIPHERTEXT, PROTOCOL_VERSION, RECORD_TAG};
use snow::{Builder, HandshakeState, TransportState};

use crate::dh::{DhPublic, DhSecret};
use crate::labels;

/// Records after which a direction changes its key (Noise section 11.3).
pub const REKEY_AFTER: u32 = 1_000;

/// Bytes of the `XK` messages: `e, es` / `e, ee` / `s, se`, with empty payloads.
pub const XK: (usize, usize, usize) = (48, 48, 64);
/// Bytes of the `IK` messages: `e, es, s, ss` / `e, ee, se`, with empty payloads.
pub const IK: (usize, usize) = (96, 48);
/// Bytes of the `XX` messages beside their payloads: `e` / `e, ee, s, es` / `s, se`. The first has
/// no payload.
pub const XX: (usize, usize, usize) = (32, 96, 64);

/// How a link begins; its number is the first byte on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Pattern {
    /// A client to a relay whose key it has from the relay's address.
    Xk = 1,
    /// A daemon to a contact's daemon: the responder answers only keys that it knows.
    Ik = 2,
    /// A daemon to an address, at the first meeting.
    Xx = 3,
}

/// Why a handshake or a record failed. Which check failed is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// Not made with the expected keys, or changed on the way. The link is dead.
    #[error("the bytes were not made for this link")]
    Rejected,
    /// The other side sent a key of low order.
    #[error("the other side sent an unusable key")]
    WeakKey,
    /// Longer than a Noise message, or the output has not the size it needs.
    #[error("wrong size")]
    Size,
}

impl Pattern {
    /// The first byte of a link.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The pattern that a first byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Xk),
            2 => Some(Self::Ik),
            3 => Some(Self::Xx),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Xk => "Noise_XK_25519_ChaChaPoly_BLAKE2s",
            Self::Ik => "Noise_IK_25519_ChaChaPoly_BLAKE2s",
            Self::Xx => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        }
    }

    /// Label, protocol version, pattern, and the role of who answers (1 relay, 2 peer): a handshake
    /// made for one purpose cannot be completed for another.
    fn prologue(self) -> Vec<u8> {
        let answers = match self {
            Self::Xk => 1,
            Self::Ik | Self::Xx => 2,
        };
        let mut prologue = labels::LINK.to_vec();
        prologue.extend_from_slice(&PROTOCOL_VERSION.to_be_bytes());
        prologue.extend_from_slice(&[self.byte(), answers]);
        prologue
    }

    fn initiate(
        self,
        local: &DhSecret,
        remote: Option<&DhPublic>,
    ) -> Result<Box<HandshakeState>, NoiseError> {
        self.handshake(local, remote, |builder| builder.build_initiator())
    }

    fn respond(self, local: &DhSecret) -> Result<Box<HandshakeState>, NoiseError> {
        self.handshake(local, None, |builder| builder.build_responder())
    }

    fn handshake(
        self,
        local: &DhSecret,
        remote: Option<&DhPublic>,
        build: impl FnOnce(Builder<'_>) -> Result<HandshakeState, snow::Error>,
    ) -> Result<Box<HandshakeState>, NoiseError> {
        let prologue = self.prologue();
        let local = local.to_bytes();
        let params = self.name().parse().map_err(rejected)?;
        let mut builder = Builder::new(params)
            .prologue(&prologue)
            .and_then(|b| b.local_private_key(&local[..]))
            .map_err(rejected)?;
        if let Some(remote) = remote {
            builder = builder.remote_public_key(remote.as_bytes()).map_err(rejected)?;
        }
        // Over a kilobyte, and held while waiting for a stranger.
        build(builder).map(Box::new).map_err(rejected)
    }
}

/// `XK`, initiator: waits for the relay's answer.
pub struct XkInitiator(Box<HandshakeState>);
/// `XK`, responder: waits for the third message.
pub struct XkResponder(Box<HandshakeState>);
/// `IK`, initiator: waits for the peer's answer.
pub struct IkInitiator(Box<HandshakeState>);
/// `IK`, responder: knows who asks, has sent nothing yet.
pub struct IkResponder {
    state: Box<HandshakeState>,
    initiator: DhPublic,
}
/// `XX`, initiator: waits for the peer's answer.
pub struct XxInitiator(Box<HandshakeState>);
/// `XX`, initiator: knows who answers, has not said who it is.
pub struct XxAnswered {
    state: Box<HandshakeState>,
    responder: DhPublic,
}
/// `XX`, responder: waits for the third message.
pub struct XxResponder(Box<HandshakeState>);

impl XkInitiator {
    /// Message 1, to the relay with static key `relay`.
    ///
    /// # Errors
    /// [`NoiseError::Rejected`] if snow cannot build the handshake.
    pub fn start(local: &DhSecret, relay: &DhPublic) -> Result<(Self, [u8; XK.0]), NoiseError> {
        let mut state = Pattern::Xk.initiate(local, Some(relay))?;
        let message = write(&mut state)?;
        Ok((Self(state), message))
    }

    /// Takes message 2, makes message 3.
    ///
    /// # Errors
    /// [`NoiseError`]: not the holder of the relay's key.
    pub fn finish(mut self, message: &[u8; XK.1]) -> Result<(Transport, [u8; XK.2]), NoiseError> {
        check_ephemeral(message)?;
        read(&mut self.0, message)?;
        let answer = write(&mut self.0)?;
        Ok((Transport::new(self.0)?, answer))
    }
}

impl XkResponder {
    /// Takes message 1, makes message 2.
    ///
    /// # Errors
    /// [`NoiseError`]: not meant for this relay.
    pub fn start(local: &DhSecret, message: &[u8; XK.0]) -> Result<(Self, [u8; XK.1]), NoiseError> {
        check_ephemeral(message)?;
        let mut state = Pattern::Xk.respond(local)?;
        read(&mut state, message)?;
        let answer = write(&mut state)?;
        Ok((Self(state), answer))
    }

    /// Takes message 3. The client's key is [`Transport::remote`].
    ///
    /// # Errors
    /// [`NoiseError`].
    pub fn finish(mut self, message: &[u8; XK.2]) -> Result<Transport, NoiseError> {
        read(&mut self.0, message)?;
        Transport::new(self.0)
    }
}

impl IkInitiator {
    /// Message 1, to the peer with static key `peer`.
    ///
    /// # Errors
    /// [`NoiseError::Rejected`] if snow cannot build the handshake.
    pub fn start(local: &DhSecret, peer: &DhPublic) -> Result<(Self, [u8; IK.0]), NoiseError> {
        let mut state = Pattern::Ik.initiate(local, Some(peer))?;
        let message = write(&mut state)?;
        Ok((Self(state), message))
    }

    /// Takes message 2.
    ///
    /// # Errors
    /// [`NoiseError`]: not the holder of the peer's key.
    pub fn finish(mut self, message: &[u8; IK.1]) -> Result<Transport, NoiseError> {
        check_ephemeral(message)?;
        read(&mut self.0, message)?;
        Transport::new(self.0)
    }
}

impl IkResponder {
    /// Takes message 1, sends nothing: whoever is not known must not learn that somebody is here.
    ///
    /// # Errors
    /// [`NoiseError`]: not meant for this key.
    pub fn read(local: &DhSecret, message: &[u8; IK.0]) -> Result<Self, NoiseError> {
        check_ephemeral(message)?;
        let mut state = Pattern::Ik.respond(local)?;
        read(&mut state, message)?;
        let initiator = remote(&state)?;
        Ok(Self { state, initiator })
    }

    /// Who asks. Message 1 may be a replay: this proves nothing yet.
    pub fn initiator(&self) -> DhPublic {
        self.initiator
    }

    /// Makes message 2.
    ///
    /// # Errors
    /// [`NoiseError::Rejected`] if snow fails.
    pub fn answer(mut self) -> Result<(Transport, [u8; IK.1]), NoiseError> {
        let message = write(&mut self.state)?;
        Ok((Transport::new(self.state)?, message))
    }
}

impl XxInitiator {
    /// Message 1.
    ///
    /// # Errors
    /// [`NoiseError::Rejected`] if snow cannot build the handshake.
    pub fn start(local: &DhSecret) -> Result<(Self, [u8; XX.0]), NoiseError> {
        let mut state = Pattern::Xx.initiate(local, None)?;
        // Nothing is encrypted yet, but snow wants room for a tag.
        let mut room = [0; XX.0 + RECORD_TAG];
        let written = state.write_message(&[], &mut room).map_err(rejected)?;
        let message = room.get(..written).and_then(|made| made.try_into().ok());
        Ok((Self(state), message.ok_or(NoiseError::Size)?))
    }

    /// Takes message 2, of [`XX`]`.1` bytes and the payload. Gives the payload.
    ///
    /// # Errors
    /// [`NoiseError`].
    pub fn read(mut self, message: &[u8]) -> Result<(XxAnswered, Vec<u8>), NoiseError> {
        check_ephemeral(message)?;
        let payload = read_payload(&mut self.0, message, XX.1)?;
        let responder = remote(&self.0)?;
        Ok((XxAnswered { state: self.0, responder }, payload))
    }
}

impl XxAnswered {
    /// Who answered.
    pub fn responder(&self) -> DhPublic {
        self.responder
    }

    /// Makes message 3, once the user or a pinned fingerprint agreed to who answered.
    ///
    /// # Errors
    /// [`NoiseError::Size`] if the payload does not fit.
    pub fn finish(mut self, payload: &[u8]) -> Result<(Transport, Vec<u8>), NoiseError> {
        let message = write_payload(&mut self.state, payload, XX.2)?;
        Ok((Transport::new(self.state)?, message))
    }
}

impl XxResponder {
    /// Takes message 1, makes message 2 with `payload` (encrypted to whoever asks).
    ///
    /// # Errors
    /// [`NoiseError`].
    pub fn start(
        local: &DhSecret,
        message: &[u8; XX.0],
        payload: &[u8],
    ) -> Result<(Self, Vec<u8>), NoiseError> {
        check_ephemeral(message)?;
        let mut state = Pattern::Xx.respond(local)?;
        read(&mut state, message)?;
        let answer = write_payload(&mut state, payload, XX.1)?;
        Ok((Self(state), answer))
    }

    /// Takes message 3, of [`XX`]`.2` bytes and the payload. Gives the payload.
    ///
    /// # Errors
    /// [`NoiseError`].
    pub fn finish(mut self, message: &[u8]) -> Result<(Transport, Vec<u8>), NoiseError> {
        let payload = read_payload(&mut self.0, message, XX.2)?;
        Ok((Transport::new(self.0)?, payload))
    }
}

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
    state: Arc<Mutex<TransportState>>,
    sealed: u32,
}

/// The receiving half of a link's keys.
pub struct Opener {
    state: Arc<Mutex<TransportState>>,
    opened: u32,
    dead: bool,
}

impl Transport {
    fn new(state: Box<HandshakeState>) -> Result<Self, NoiseError> {
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
    /// [`RECORD_TAG`] bytes more than `plaintext`. Gives its length.
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
    /// [`RECORD_TAG`] bytes less than the record's. `out` must be as long as `record`, tag
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

fn rejected(_: snow::Error) -> NoiseError {
    NoiseError::Rejected
}

/// The other side's static key, once the handshake has it.
fn remote(state: &HandshakeState) -> Result<DhPublic, NoiseError> {
    let key = state.get_remote_static().ok_or(NoiseError::Rejected)?;
    let key = key.try_into().map_err(|_| NoiseError::Rejected)?;
    DhPublic::from_bytes(key).map_err(|_| NoiseError::WeakKey)
}

/// Writes a message with an empty payload.
fn write<const N: usize>(state: &mut HandshakeState) -> Result<[u8; N], NoiseError> {
    let mut out = [0; N];
    let written = state.write_message(&[], &mut out).map_err(rejected)?;
    if written == N { Ok(out) } else { Err(NoiseError::Size) }
}

/// Reads a message with an empty payload.
fn read(state: &mut HandshakeState, message: &[u8]) -> Result<(), NoiseError> {
    let mut room = [0; 128];
    let length = state.read_message(message, &mut room).map_err(rejected)?;
    if length == 0 { Ok(()) } else { Err(NoiseError::Rejected) }
}

fn write_payload(
    state: &mut HandshakeState,
    payload: &[u8],
    around: usize,
) -> Result<Vec<u8>, NoiseError> {
    let length = around.checked_add(payload.len()).ok_or(NoiseError::Size)?;
    if length > MAX_RECORD_CIPHERTEXT {
        return Err(NoiseError::Size);
    }
    let mut out = vec![0; length];
    let written = state.write_message(payload, &mut out).map_err(rejected)?;
    if written == length { Ok(out) } else { Err(NoiseError::Size) }
}

fn read_payload(
    state: &mut HandshakeState,
    message: &[u8],
    around: usize,
) -> Result<Vec<u8>, NoiseError> {
    let length = message.len().checked_sub(around).ok_or(NoiseError::Size)?;
    if message.len() > MAX_RECORD_CIPHERTEXT {
        return Err(NoiseError::Size);
    }
    let mut out = vec![0; message.len()];
    let read = state.read_message(message, &mut out).map_err(rejected)?;
    if read != length {
        return Err(NoiseError::Size);
    }
    out.truncate(length);
    Ok(out)
}

/// The first two messages of every pattern begin with an ephemeral key, which snow takes as it is.
fn check_ephemeral(message: &[u8]) -> Result<(), NoiseError> {
    let key = message.first_chunk::<32>().ok_or(NoiseError::Size)?;
    DhPublic::from_bytes(*key).map(|_| ()).map_err(|_| NoiseError::WeakKey)
}

macro_rules! mute {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    )*};
}
mute!(XkInitiator XkResponder IkInitiator IkResponder XxInitiator XxAnswered XxResponder);
mute!(Transport Sealer Opener);

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests;
#[cfg(test)]
mod vectors;
