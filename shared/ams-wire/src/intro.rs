//! Introductions and approvals: how two daemons that never met agree on keys.
//!
//! Both are a [`Signed`] value: the CBOR of the fields, as one byte string, and the Ed25519
//! signature over a label and those bytes. What was signed is what travels, so no second encoding
//! of the same fields can pass. A relay sees an introduction in the clear; an approval only sealed.

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::frame::WireError;
use crate::id::{IntroId, Key, Signature};
use crate::limits::{KEM_CIPHERTEXT, KEM_KEY, MAX_BLOB, MAX_FIRST_OLM};
use crate::username::Username;

/// Fields and the signature over them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Signed {
    /// CBOR of [`Intro`] or [`Approval`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub fields: Vec<u8>,
    /// By the identity key named in the fields.
    #[n(1)]
    pub signature: Signature,
}

/// Where the two met: at a relay, by its static key, or directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Place {
    /// At the relay with this X25519 key.
    #[n(0)]
    Relay(#[n(0)] Key),
    /// Without a relay.
    #[n(1)]
    Direct,
}

/// Asks for contact: the requester's keys, made for this introduction where they are used once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Intro {
    /// Ed25519 identity key.
    #[n(0)]
    pub identity: Key,
    /// Curve25519 identity key of the device's Olm account.
    #[n(1)]
    pub olm: Key,
    /// Olm one-time key made for this introduction alone.
    #[n(2)]
    pub one_time: Key,
    /// X25519 key made for this introduction alone.
    #[n(3)]
    pub ephemeral: Key,
    /// ML-KEM-768 encapsulation key made for this introduction alone.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub kem: Vec<u8>,
    /// The requester's name there.
    #[n(5)]
    pub from: Username,
    /// The name that is asked.
    #[n(6)]
    pub to: Username,
    /// Where.
    #[n(7)]
    pub place: Place,
    /// Seconds since 1970 after which nobody should answer.
    #[n(8)]
    pub expires: u64,
}

/// Answers one introduction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approval {
    /// The introduction that is answered.
    #[n(0)]
    pub intro: IntroId,
    /// Ed25519 identity key.
    #[n(1)]
    pub identity: Key,
    /// Curve25519 identity key of the device's Olm account.
    #[n(2)]
    pub olm: Key,
    /// X25519 key made for this approval alone.
    #[n(3)]
    pub ephemeral: Key,
    /// ML-KEM-768 ciphertext to the introduction's key.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub kem: Vec<u8>,
    /// First Olm message: a pre-key message to the introduction's one-time key.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub first: Vec<u8>,
    /// The approver's name there.
    #[n(6)]
    pub from: Username,
    /// The requester's name there.
    #[n(7)]
    pub to: Username,
    /// Where.
    #[n(8)]
    pub place: Place,
}

impl Signed {
    /// The bytes that travel, and over which the introduction's id is taken.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.fields.len().saturating_add(80));
        cbor::encode(self, &mut out);
        out
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`WireError::TooLong`] above [`MAX_BLOB`], else [`WireError::Malformed`]. The encoding must
    /// be the one that [`Signed::encode`] makes: the id is a hash over it.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_BLOB {
            return Err(WireError::TooLong);
        }
        let signed: Self = cbor::decode(bytes)?;
        if signed.encode() == bytes { Ok(signed) } else { Err(WireError::Malformed) }
    }
}

impl Intro {
    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1536);
        cbor::encode(self, &mut out);
        out
    }

    /// Reads signed fields. The signature is the caller's to check.
    ///
    /// # Errors
    /// [`WireError::Malformed`].
    pub fn decode(fields: &[u8]) -> Result<Self, WireError> {
        let intro: Self = cbor::decode(fields)?;
        if intro.kem.len() == KEM_KEY { Ok(intro) } else { Err(WireError::Malformed) }
    }
}

impl Approval {
    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048);
        cbor::encode(self, &mut out);
        out
    }

    /// Reads signed fields. The signature is the caller's to check.
    ///
    /// # Errors
    /// [`WireError::Malformed`].
    pub fn decode(fields: &[u8]) -> Result<Self, WireError> {
        let approval: Self = cbor::decode(fields)?;
        let bounded = approval.kem.len() == KEM_CIPHERTEXT && approval.first.len() <= MAX_FIRST_OLM;
        if bounded { Ok(approval) } else { Err(WireError::Malformed) }
    }
}
