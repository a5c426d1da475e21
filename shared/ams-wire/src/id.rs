//! The fixed-size names of things. Each is a type of its own, so that none can stand for another.

use data_encoding::HEXLOWER;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::limits::MAX_BLOB;

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        fixed_bytes! { @secret $(#[$doc])* $name, $len }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
    (@secret $(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// From a slice of exactly [`Self::LEN`] bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From lower-case hex.
            pub fn from_hex(text: &str) -> Option<Self> {
                Self::from_slice(&HEXLOWER.decode(text.as_bytes()).ok()?)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Self::from_slice(d.bytes()?)
                    .ok_or_else(|| minicbor::decode::Error::message(concat!(stringify!($name), ": wrong length")))
            }
        }
    };
}

fixed_bytes! {
    /// One side's name for a contact at a relay: 16 random bytes chosen by its owner's daemon.
    Handle, 16
}
fixed_bytes! {
    /// A message, unique per contact and direction: 16 random bytes chosen by the sender.
    MessageId, 16
}
fixed_bytes! {
    /// An envelope: the first 16 bytes of its nonce.
    EnvelopeId, 16
}
fixed_bytes! {
    /// A root key, derived from it (so both sides name it alike).
    RootTag, 8
}
fixed_bytes! {
    /// A ping: 8 random bytes, which the contact says back.
    PingToken, 8
}
fixed_bytes! {
    /// An introduction: SHA-256 over its bytes.
    IntroId, 32
}
fixed_bytes! {
    /// A sealed approval: SHA-256 over its bytes.
    ApprovalId, 32
}
fixed_bytes! {
    /// An Ed25519 or X25519 public key, not yet checked.
    Key, 32
}
fixed_bytes! {
    /// An Ed25519 signature (RFC 8032).
    Signature, 64
}
fixed_bytes! {
    /// A contact link at its relay: 16 random bytes, under which whoever redeems it asks.
    RoutingId, 16
}
fixed_bytes! {
    @secret
    /// The secret of an invite.
    InviteToken, 16
}
fixed_bytes! {
    @secret
    /// The secret of a contact link, which no relay sees.
    ContactSecret, 16
}

impl std::fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteToken(secret)")
    }
}

impl std::fmt::Debug for ContactSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContactSecret(secret)")
    }
}

/// How far one device has worked over one relay account: a counter, and bytes drawn anew with
/// every step. Two copies of a profile cannot both know the same next mark, which is how a
/// restored backup or a clone is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkMark {
    /// Raised by one in every commit that seals or opens an envelope.
    pub counter: u64,
    /// Random, new in every such commit.
    pub nonce: [u8; 8],
}

impl WorkMark {
    /// Length in bytes: counter big-endian, nonce.
    pub const LEN: usize = 16;

    /// The bytes that travel.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let (counter, nonce) = out.split_at_mut(8);
        counter.copy_from_slice(&self.counter.to_be_bytes());
        nonce.copy_from_slice(&self.nonce);
        out
    }

    /// The mark in `bytes`.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, nonce @ ..] = bytes;
        Self { counter: u64::from_be_bytes([a, b, c, d, e, f, g, h]), nonce }
    }

    /// Of two marks the later one. Marks with one counter and different bytes are of two copies;
    /// which of them wins does not matter, so the first does.
    pub fn later(self, other: Self) -> Self {
        if other.counter > self.counter { other } else { self }
    }
}

impl<C> Encode<C> for WorkMark {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for WorkMark {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        d.bytes()?
            .try_into()
            .map(Self::from_bytes)
            .map_err(|_| minicbor::decode::Error::message("WorkMark: wrong length"))
    }
}

/// An introduction or a sealed approval on a contact row, at most [`MAX_BLOB`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Vec<u8>);

impl Blob {
    /// `None` above the bound.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX_BLOB).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl<C> Encode<C> for Blob {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Blob {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        // Compared before the copy: the length is the other side's word.
        if bytes.len() > MAX_BLOB {
            return Err(minicbor::decode::Error::message("blob too long"));
        }
        Ok(Self(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_lower_case_and_of_one_length() {
        let handle = Handle([0xab; 16]);
        assert_eq!(Handle::from_hex(&handle.to_string()), Some(handle));
        assert_eq!(Handle::from_hex(&handle.to_string().to_uppercase()), None);
        assert_eq!(Handle::from_hex(&handle.to_string()[2..]), None);
    }

    #[test]
    fn debug_shows_no_token_and_no_blob() {
        assert_eq!(format!("{:?}", Handle([1; 16])), format!("Handle({})", "01".repeat(16)));
        assert_eq!(format!("{:?}", InviteToken([1; 16])), "InviteToken(secret)");
        assert_eq!(format!("{:?}", Blob::new(vec![1; 9])), "Some(Blob(9 bytes))");
    }

    #[test]
    fn the_later_of_two_marks() {
        let mark = |counter, byte| WorkMark { counter, nonce: [byte; 8] };
        assert_eq!(mark(1, 1).later(mark(2, 2)), mark(2, 2));
        assert_eq!(mark(2, 1).later(mark(1, 2)), mark(2, 1));
        assert_eq!(mark(2, 1).later(mark(2, 2)), mark(2, 1));
        assert_eq!(WorkMark::from_bytes(mark(7, 9).to_bytes()), mark(7, 9));
    }
}
