//! The pair secret: one root per approved introduction, and from it a public tag and one envelope
//! key per direction, so that a relay cannot reflect an envelope to who sent it.

use std::fmt;

use ams_wire::id::{IntroId, RootTag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::labels;
use crate::random;

/// The secret in a contact link: 16 random bytes that no relay sees.
pub struct LinkSecret(Zeroizing<[u8; 16]>);

/// The envelope key of one direction.
pub struct EnvelopeKey(Zeroizing<[u8; 32]>);

/// Which part a side had in the introduction that a root comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Made the introduction.
    Requester,
    /// Answered it.
    Approver,
}

/// What a root gives.
pub struct RootKeys {
    /// Names the root, alike on both sides; no secret.
    pub tag: RootTag,
    to_requester: EnvelopeKey,
    to_approver: EnvelopeKey,
}

/// What two sides agreed on, each by its own half.
pub(crate) struct Agreed<'a> {
    pub(crate) link: Option<&'a LinkSecret>,
    pub(crate) x25519: &'a [u8; 32],
    pub(crate) kem: &'a [u8; 32],
    pub(crate) intro: &'a IntroId,
    /// SHA-256 over the signed approval.
    pub(crate) approval: &'a [u8; 32],
}

impl LinkSecret {
    /// A new secret.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes()))
    }

    /// The secret out of a link.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the link itself and for sealed storage.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 16]> {
        self.0.clone()
    }

    /// The pre-shared key of `Npsk0`, which wants 32 bytes.
    pub(crate) fn psk(&self) -> Zeroizing<[u8; 32]> {
        expand(&Hkdf::new(None, &self.0[..]), labels::LINK_PSK)
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(secret)")
    }
}

impl EnvelopeKey {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EnvelopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvelopeKey(secret)")
    }
}

impl RootKeys {
    /// Bytes of [`RootKeys::to_bytes`].
    pub const LEN: usize = 72;

    /// `root = HKDF-SHA256(salt = link secret or 32 zeros, ikm = X25519 ‖ ML-KEM secret,
    /// info = label ‖ H(introduction) ‖ H(approval))`; tag and keys by HKDF-Expand from the root
    /// (RFC 5869).
    pub(crate) fn derive(agreed: &Agreed<'_>) -> Self {
        let mut ikm = Zeroizing::new([0; 64]);
        let (classical, quantum) = ikm.split_at_mut(32);
        classical.copy_from_slice(agreed.x25519);
        quantum.copy_from_slice(agreed.kem);
        let zeros = [0; 32];
        let salt: &[u8] = agreed.link.map_or(&zeros, |link| &link.0[..]);
        let info = labels::framed(labels::ROOT, &[agreed.intro.as_bytes(), agreed.approval]);
        let root = expand::<32>(&Hkdf::new(Some(salt), &ikm[..]), &info);
        let root = Hkdf::new(None, &root[..]);
        Self {
            tag: RootTag(*expand(&root, labels::ROOT_TAG)),
            to_requester: EnvelopeKey(expand(&root, labels::TO_REQUESTER)),
            to_approver: EnvelopeKey(expand(&root, labels::TO_APPROVER)),
        }
    }

    /// Seals what `side` sends.
    pub fn sealing(&self, side: Side) -> &EnvelopeKey {
        match side {
            Side::Requester => &self.to_approver,
            Side::Approver => &self.to_requester,
        }
    }

    /// Opens what `side` receives.
    pub fn opening(&self, side: Side) -> &EnvelopeKey {
        match side {
            Side::Requester => &self.to_requester,
            Side::Approver => &self.to_approver,
        }
    }

    /// Tag and both keys, for sealed storage.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut out = Zeroizing::new([0; Self::LEN]);
        let (tag, keys) = out.split_at_mut(RootTag::LEN);
        let (to_requester, to_approver) = keys.split_at_mut(32);
        tag.copy_from_slice(self.tag.as_bytes());
        to_requester.copy_from_slice(&self.to_requester.0[..]);
        to_approver.copy_from_slice(&self.to_approver.0[..]);
        out
    }

    /// From what [`RootKeys::to_bytes`] gave; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, keys) = bytes.split_first_chunk::<8>()?;
        let (to_requester, rest) = keys.split_first_chunk::<32>()?;
        let to_approver: &[u8; 32] = rest.try_into().ok()?;
        Some(Self {
            tag: RootTag(*tag),
            to_requester: EnvelopeKey(Zeroizing::new(*to_requester)),
            to_approver: EnvelopeKey(Zeroizing::new(*to_approver)),
        })
    }
}

impl fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKeys({}, secret)", self.tag)
    }
}

fn expand<const N: usize>(from: &Hkdf<Sha256>, info: &[u8]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    // HKDF-Expand fails only above 255 blocks, and N is at most one; a key of zeros must not go on.
    if from.expand(info, &mut out[..]).is_err() {
        std::process::abort();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn root(link: Option<&LinkSecret>) -> RootKeys {
        RootKeys::derive(&Agreed {
            link,
            x25519: &[3; 32],
            kem: &[4; 32],
            intro: &IntroId([1; 32]),
            approval: &[2; 32],
        })
    }

    #[test]
    fn derivation_is_frozen() {
        // Computed apart, from RFC 5869 and the text above.
        assert_eq!(
            HEXLOWER.encode(&root(None).to_bytes()[..]),
            "c6019196a7f494c2214a6de00d1c67802ab761e2badb748cbebe395c3ad4117c91bc3f5315f9feef\
             1f872026f722b868720b03ef6197ab8de0a65747bc68cbf353d98e52b08e03ce"
        );
        assert_eq!(
            HEXLOWER.encode(&root(Some(&LinkSecret::from_bytes([5; 16]))).to_bytes()[..]),
            "86f8231eaa97718e93b192889b07445097cf369e69629f566cda1934404334ab77e84562482008a6\
             f724c2005f89e3e7d86c94db73c61a1138fb7d28db090e8f583c3f81e8023d9c"
        );
    }

    #[test]
    fn what_one_side_seals_the_other_opens() {
        let root = root(None);
        for (one, other) in [(Side::Requester, Side::Approver), (Side::Approver, Side::Requester)] {
            assert_eq!(root.sealing(one).bytes(), root.opening(other).bytes());
            assert_ne!(root.sealing(one).bytes(), root.opening(one).bytes());
        }
    }

    #[test]
    fn stored_and_restored() {
        let bytes = root(None).to_bytes();
        assert_eq!(RootKeys::from_bytes(&bytes[..]).unwrap().to_bytes(), bytes);
        assert!(RootKeys::from_bytes(&bytes[1..]).is_none());
        assert!(RootKeys::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
        assert!(RootKeys::from_bytes(&[]).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let root = root(None);
        assert_eq!(format!("{root:?}"), "RootKeys(c6019196a7f494c2, secret)");
        assert_eq!(format!("{:?}", root.sealing(Side::Approver)), "EnvelopeKey(secret)");
        assert_eq!(format!("{:?}", LinkSecret::generate()), "LinkSecret(secret)");
    }
}
