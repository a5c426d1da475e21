//! X25519 keys (RFC 7748): the static keys of links (`LK`, `RK`) and the one-time key `E` of an
//! introduction.

use std::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::random;

/// A secret X25519 key.
pub struct DhSecret(StaticSecret);

/// A public X25519 key, canonical and not of low order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhPublic([u8; 32]);

/// The public key is all-zero, of low order, or not in its one canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable X25519 key")]
pub struct WeakKey;

/// 2^255 - 19, little-endian.
const PRIME: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The canonical low-order points besides 0, little-endian: 1, the two of order 8, and p - 1.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    {
        let mut p = PRIME;
        p[0] = 0xec;
        p
    },
];

impl DhSecret {
    /// A new key.
    pub fn generate() -> Self {
        Self::from_bytes(&Zeroizing::new(random::bytes()))
    }

    /// The key whose secret [`DhSecret::to_bytes`] gave.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(StaticSecret::from(*secret))
    }

    /// The secret, for sealed storage.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> DhPublic {
        DhPublic(PublicKey::from(&self.0).to_bytes())
    }

    /// The shared secret with `other`.
    ///
    /// # Errors
    /// [`WeakKey`] if the other side contributed nothing (RFC 7748 section 6.1).
    pub fn agree(&self, other: &DhPublic) -> Result<Zeroizing<[u8; 32]>, WeakKey> {
        let shared = self.0.diffie_hellman(&PublicKey::from(other.0));
        if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(WeakKey) }
    }
}

impl fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhSecret(secret)")
    }
}

impl DhPublic {
    /// Checks and takes a public key.
    ///
    /// # Errors
    /// [`WeakKey`] for zero and the other low-order points, where an attacker would know the shared
    /// secret, and for a second spelling of a key, which would pass for another key in a table.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, WeakKey> {
        let canonical = bytes.iter().rev().lt(PRIME.iter().rev());
        if canonical && !LOW_ORDER.contains(&bytes) { Ok(Self(bytes)) } else { Err(WeakKey) }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DhPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DhPublic({})", data_encoding::HEXLOWER.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree() {
        let (a, b) = (DhSecret::generate(), DhSecret::generate());
        assert_eq!(a.agree(&b.public()).unwrap(), b.agree(&a.public()).unwrap());
        let again = DhSecret::from_bytes(&a.to_bytes());
        assert_eq!(again.public(), a.public());
        assert_eq!(DhPublic::from_bytes(*a.public().as_bytes()), Ok(a.public()));
    }

    #[test]
    fn x25519_as_in_rfc_7748() {
        // RFC 7748 section 6.1.
        let hex = |text: &str| -> [u8; 32] {
            data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
        };
        let bob = DhSecret::from_bytes(&hex(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        assert_eq!(
            bob.public().as_bytes(),
            &hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let alice = DhPublic::from_bytes(hex(
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        ));
        assert_eq!(
            *bob.agree(&alice.unwrap()).unwrap(),
            hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        );
    }

    #[test]
    fn the_refused_points_are_the_low_order_ones() {
        let secret = StaticSecret::from([5; 32]);
        for point in LOW_ORDER {
            assert!(!secret.diffie_hellman(&PublicKey::from(point)).was_contributory());
            assert_eq!(DhPublic::from_bytes(point), Err(WeakKey));
            let mut high = point;
            high[31] |= 0x80;
            assert_eq!(DhPublic::from_bytes(high), Err(WeakKey));
        }
        let mut above = PRIME;
        for low in 0xed..=0xff {
            above[0] = low;
            assert_eq!(DhPublic::from_bytes(above), Err(WeakKey), "p + {}", low - 0xed);
        }
    }

    #[test]
    fn agreement_itself_refuses_too() {
        let weak = DhPublic([0; 32]);
        assert_eq!(DhSecret::generate().agree(&weak), Err(WeakKey));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", DhSecret::from_bytes(&[7; 32])), "DhSecret(secret)");
    }
}
