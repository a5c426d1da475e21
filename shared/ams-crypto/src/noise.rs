//! Links: the Noise Protocol Framework (revision 34) by the crate snow. One suite, no negotiation:
//! `25519_ChaChaPoly_BLAKE2s`. Roles and phases are types: each step consumes the one before it, and
//! all sizes are fixed, so nothing is ever allocated from a length that a stranger sent.
//!
//! 1. The initiator sends [`Pattern::byte`], then the messages of the pattern.
//! 2. Both sides hold a [`Transport`] and drop what the handshake kept (snow does not wipe keys, so
//!    they should at least not stay).
//! 3. The link counts as up only after the initiator's first record opened: until then a recorded
//!    first message could have been replayed.

use ams_wire::limits::PROTOCOL_VERSION;
use snow::{Builder, HandshakeState};

use crate::dh::{DhPublic, DhSecret};
use crate::labels;

mod handshake;
mod transport;

pub use handshake::{
    IK, IkInitiator, IkResponder, XK, XX, XkInitiator, XkResponder, XxAnswered, XxInitiator,
    XxResponder,
};
pub use transport::{Opener, REKEY_AFTER, Sealer, Transport};

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
    pub(crate) fn prologue(self) -> Vec<u8> {
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

fn rejected(_: snow::Error) -> NoiseError {
    NoiseError::Rejected
}

/// Debug that shows the name of a type and nothing in it.
macro_rules! mute {
    ($($name:ident)*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    )*};
}
use mute;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests;
#[cfg(test)]
mod vectors;
