//! One-way sealing to a key, for what a relay carries but must not read: Noise `N` for approvals,
//! `Npsk0` for introductions by contact link (the secret of the link is the pre-shared key, so only
//! who holds the link can make one). 48 bytes longer than what is sealed.

use snow::Builder;

use crate::dh::{DhPublic, DhSecret};
use crate::labels;
use crate::pair::LinkSecret;

/// Bytes that a sealed blob is longer than its content: ephemeral key 32, tag 16.
pub const OVERHEAD: usize = 48;

/// The blob was not made for this key and purpose, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the blob does not open")]
pub struct BadBlob;

/// What a blob is for, and the secret that it needs beside the key.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// An approval, to the key `E` of its introduction.
    Approval,
    /// An introduction, to the one-time key of a contact link.
    Intro(&'a LinkSecret),
}

impl Purpose<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Approval => "Noise_N_25519_ChaChaPoly_BLAKE2s",
            Self::Intro(_) => "Noise_Npsk0_25519_ChaChaPoly_BLAKE2s",
        }
    }

    fn prologue(self) -> &'static [u8] {
        match self {
            Self::Approval => labels::SEALED_APPROVAL,
            Self::Intro(_) => labels::SEALED_INTRO,
        }
    }
}

/// Seals `content` to `recipient`.
///
/// # Errors
/// [`BadBlob`] if the content is longer than a Noise message holds.
pub fn seal(
    purpose: Purpose<'_>,
    recipient: &DhPublic,
    content: &[u8],
) -> Result<Vec<u8>, BadBlob> {
    let psk = psk(purpose);
    let mut builder = Builder::new(purpose.name().parse().map_err(bad)?)
        .prologue(purpose.prologue())
        .and_then(|b| b.remote_public_key(recipient.as_bytes()))
        .map_err(bad)?;
    if let Some(psk) = &psk {
        builder = builder.psk(0, psk).map_err(bad)?;
    }
    let mut state = builder.build_initiator().map_err(bad)?;
    let mut out = vec![0; content.len().checked_add(OVERHEAD).ok_or(BadBlob)?];
    let length = state.write_message(content, &mut out).map_err(bad)?;
    if length == out.len() { Ok(out) } else { Err(BadBlob) }
}

/// Opens what [`seal`] made for the same purpose and key.
///
/// # Errors
/// [`BadBlob`].
pub fn open(purpose: Purpose<'_>, recipient: &DhSecret, blob: &[u8]) -> Result<Vec<u8>, BadBlob> {
    let length = blob.len().checked_sub(OVERHEAD).ok_or(BadBlob)?;
    let ephemeral = blob.first_chunk().ok_or(BadBlob)?;
    DhPublic::from_bytes(*ephemeral).map_err(|_| BadBlob)?;
    let psk = psk(purpose);
    let secret = recipient.to_bytes();
    let mut builder = Builder::new(purpose.name().parse().map_err(bad)?)
        .prologue(purpose.prologue())
        .and_then(|b| b.local_private_key(&secret[..]))
        .map_err(bad)?;
    if let Some(psk) = &psk {
        builder = builder.psk(0, psk).map_err(bad)?;
    }
    let mut state = builder.build_responder().map_err(bad)?;
    let mut out = vec![0; blob.len()];
    let read = state.read_message(blob, &mut out).map_err(bad)?;
    if read != length {
        return Err(BadBlob);
    }
    out.truncate(length);
    Ok(out)
}

fn psk(purpose: Purpose<'_>) -> Option<zeroize::Zeroizing<[u8; 32]>> {
    match purpose {
        Purpose::Approval => None,
        Purpose::Intro(secret) => Some(secret.psk()),
    }
}

fn bad(_: snow::Error) -> BadBlob {
    BadBlob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_for_its_key_and_purpose_alone() {
        let (bob, eve) = (DhSecret::generate(), DhSecret::generate());
        let (link, other) = (LinkSecret::generate(), LinkSecret::generate());
        let approval = seal(Purpose::Approval, &bob.public(), b"yes").unwrap();
        assert_eq!(approval.len(), 3 + OVERHEAD);
        assert_eq!(open(Purpose::Approval, &bob, &approval).unwrap(), b"yes");
        assert_eq!(open(Purpose::Approval, &eve, &approval), Err(BadBlob));
        assert_eq!(open(Purpose::Intro(&link), &bob, &approval), Err(BadBlob));

        let intro = seal(Purpose::Intro(&link), &bob.public(), b"hi").unwrap();
        assert_eq!(open(Purpose::Intro(&link), &bob, &intro).unwrap(), b"hi");
        assert_eq!(open(Purpose::Intro(&other), &bob, &intro), Err(BadBlob));
        assert_eq!(open(Purpose::Approval, &bob, &intro), Err(BadBlob));
    }

    #[test]
    fn perturbed_bytes_do_not_open() {
        let bob = DhSecret::generate();
        let blob = seal(Purpose::Approval, &bob.public(), &[5; 100]).unwrap();
        for at in 0..blob.len() {
            let mut bent = blob.clone();
            bent[at] ^= 0x10;
            assert_eq!(open(Purpose::Approval, &bob, &bent), Err(BadBlob), "{at}");
            assert_eq!(open(Purpose::Approval, &bob, &blob[..at]), Err(BadBlob), "{at}");
        }
        assert_eq!(open(Purpose::Approval, &bob, &[0; 100]), Err(BadBlob));
    }

    #[test]
    fn a_content_over_the_bound_is_refused() {
        let bob = DhSecret::generate();
        let most = vec![0; 65_535 - OVERHEAD];
        assert!(seal(Purpose::Approval, &bob.public(), &most).is_ok());
        let over = vec![0; 65_535 - OVERHEAD + 1];
        assert_eq!(seal(Purpose::Approval, &bob.public(), &over), Err(BadBlob));
    }
}
