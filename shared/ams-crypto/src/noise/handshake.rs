//! The steps of each pattern, as types.

use ams_wire::limits::{MAX_RECORD_CIPHERTEXT, RECORD_TAG};
use snow::HandshakeState;

use super::transport::Transport;
use super::{NoiseError, Pattern, mute, rejected};
use crate::dh::{DhPublic, DhSecret};

/// Bytes of the `XK` messages: `e, es` / `e, ee` / `s, se`, with empty payloads.
pub const XK: (usize, usize, usize) = (48, 48, 64);
/// Bytes of the `IK` messages: `e, es, s, ss` / `e, ee, se`, with empty payloads.
pub const IK: (usize, usize) = (96, 48);
/// Bytes of the `XX` messages beside their payloads: `e` / `e, ee, s, es` / `s, se`. The first has
/// no payload.
pub const XX: (usize, usize, usize) = (32, 96, 64);

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

/// The other side's static key, once the handshake has it.
pub(super) fn remote(state: &HandshakeState) -> Result<DhPublic, NoiseError> {
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

mute!(XkInitiator XkResponder IkInitiator IkResponder XxInitiator XxAnswered XxResponder);
