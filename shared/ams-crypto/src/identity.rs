//! The identity key `IK`: Ed25519 (RFC 8032), one per profile, kept for years. It signs
//! introductions, approvals and device records, never messages: those stay deniable.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::labels;
use crate::random;

/// The secret half of an identity.
pub struct IdentityKey(SigningKey);

/// The public half of an identity: a point of the curve, checked, and not of small order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityPublic([u8; 32]);

/// The bytes are no usable Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable identity key")]
pub struct BadIdentity;

/// The signature is not by this key over these bytes under this label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not hold")]
pub struct BadSignature;

/// The text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 52 of a-z 2-7, in groups of 4")]
pub struct BadFingerprint;

/// Characters between two dashes of a fingerprint.
const GROUP: usize = 4;

impl IdentityKey {
    /// A new identity.
    pub fn generate() -> Self {
        Self::from_bytes(&Zeroizing::new(random::bytes()))
    }

    /// The identity whose secret [`IdentityKey::to_bytes`] gave.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The secret, for sealed storage and backups.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> IdentityPublic {
        IdentityPublic(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` under `label` (one of [`crate::labels`]).
    pub fn sign(&self, label: &[u8], message: &[u8]) -> [u8; 64] {
        self.0.sign(&labels::framed(label, &[message])).to_bytes()
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(secret)")
    }
}

impl IdentityPublic {
    /// Checks and takes a public key.
    ///
    /// # Errors
    /// [`BadIdentity`] for bytes that are no point, for the points of small order, under which
    /// signatures hold that nobody made, and for a second spelling of a point, which would pass for
    /// another person.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadIdentity> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| BadIdentity)?;
        let canonical = key.to_edwards().compress().to_bytes() == bytes;
        if canonical && !key.is_weak() { Ok(Self(bytes)) } else { Err(BadIdentity) }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks a signature that [`IdentityKey::sign`] made, by the strict rules (no malleable
    /// signature, no small-order component).
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(
        &self,
        label: &[u8],
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = Signature::from_bytes(signature);
        key.verify_strict(&labels::framed(label, &[message]), &signature).map_err(|_| BadSignature)
    }

    /// The key as people compare it: lower-case base32 in 13 groups of 4, joined by dashes.
    pub fn fingerprint(&self) -> String {
        let text = BASE32_NOPAD.encode(&self.0).to_ascii_lowercase();
        let mut out = String::with_capacity(text.len().saturating_add(12));
        for (at, character) in text.chars().enumerate() {
            if at > 0 && at.is_multiple_of(GROUP) {
                out.push('-');
            }
            out.push(character);
        }
        out
    }

    /// Reads a fingerprint, in either case and however it is grouped.
    ///
    /// # Errors
    /// [`BadFingerprint`], also for the fingerprint of an unusable key.
    pub fn from_fingerprint(text: &str) -> Result<Self, BadFingerprint> {
        let plain: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '-' | ':'))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let bytes = BASE32_NOPAD.decode(plain.as_bytes()).map_err(|_| BadFingerprint)?;
        let bytes = bytes.try_into().map_err(|_| BadFingerprint)?;
        Self::from_bytes(bytes).map_err(|_| BadFingerprint)
    }
}

impl fmt::Display for IdentityPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl fmt::Debug for IdentityPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityPublic({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_for_one_label_and_message() {
        let key = IdentityKey::from_bytes(&[7; 32]);
        let public = key.public();
        let signature = key.sign(labels::INTRO, b"hello");
        assert_eq!(public.verify(labels::INTRO, b"hello", &signature), Ok(()));
        assert_eq!(public.verify(labels::APPROVAL, b"hello", &signature), Err(BadSignature));
        assert_eq!(public.verify(labels::INTRO, b"hellp", &signature), Err(BadSignature));
        let other = IdentityKey::from_bytes(&[8; 32]).public();
        assert_eq!(other.verify(labels::INTRO, b"hello", &signature), Err(BadSignature));
        for at in 0..64 {
            let mut bent = signature;
            bent[at] ^= 1;
            assert_eq!(public.verify(labels::INTRO, b"hello", &bent), Err(BadSignature), "{at}");
        }
    }

    #[test]
    fn signature_is_frozen() {
        // Ed25519 is deterministic. Computed apart, from RFC 8032 and the framing of labels.
        let key = IdentityKey::from_bytes(&[7; 32]);
        let signature = data_encoding::HEXLOWER.encode(&key.sign(b"AMS-intro-1", b"abc"));
        assert_eq!(signature, SIGNATURE);
    }

    #[test]
    fn ed25519_as_in_rfc_8032() {
        // RFC 8032 section 7.1, test 1.
        let secret = data_encoding::HEXLOWER
            .decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .unwrap();
        let key = IdentityKey::from_bytes(&secret.try_into().unwrap());
        assert_eq!(
            data_encoding::HEXLOWER.encode(key.public().as_bytes()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn fingerprint_round_trip() {
        let public = IdentityKey::from_bytes(&[7; 32]).public();
        let text = public.fingerprint();
        assert_eq!(text, FINGERPRINT);
        assert_eq!(IdentityPublic::from_fingerprint(&text), Ok(public));
        let spoken = format!(" {} ", text.to_uppercase().replace('-', " "));
        assert_eq!(IdentityPublic::from_fingerprint(&spoken), Ok(public));
        assert_eq!(IdentityPublic::from_fingerprint(&text[1..]), Err(BadFingerprint));
        assert_eq!(IdentityPublic::from_fingerprint(""), Err(BadFingerprint));
        assert_eq!(IdentityPublic::from_fingerprint(&"é".repeat(52)), Err(BadFingerprint));
    }

    #[test]
    fn small_order_and_second_spellings_are_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        for weak in [[0; 32], one, [0xff; 32]] {
            assert_eq!(IdentityPublic::from_bytes(weak), Err(BadIdentity));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", IdentityKey::from_bytes(&[7; 32])), "IdentityKey(secret)");
    }

    const SIGNATURE: &str = "ea775ca5a4a0bdf0cfa64d5e031d43873fbde581e8243ec6284f27aff1e3c2b8\
        7440112cdccbdcd747f7cebdc2f936e93c50e70da91dcb52fb35cb74b3f91709";
    const FINGERPRINT: &str = "5jfg-yy7c-trja-vpxv-kb5r-glwf-7gku-o5vo-x27h-xesc-d3vg-sfcg-2iwa";
}
