//! The envelope: `nonce (24 random bytes) ‖ XChaCha20-Poly1305(key of the direction, padded inner)`,
//! with label, version, sender and recipient identity as associated data. No handle is in it: the
//! same bytes may travel over any path.

use ams_wire::id::EnvelopeId;
use ams_wire::limits::{ENVELOPE_OVERHEAD, PROTOCOL_VERSION};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};

use crate::identity::IdentityPublic;
use crate::labels;
use crate::pair::EnvelopeKey;
use crate::random;

/// The envelope is not under this key and for this pair, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the envelope does not open")]
pub struct BadEnvelope;

/// Who writes to whom.
#[derive(Debug, Clone, Copy)]
pub struct Direction<'a> {
    /// Identity of the sender.
    pub from: &'a IdentityPublic,
    /// Identity of the recipient.
    pub to: &'a IdentityPublic,
}

/// Seals a padded plaintext (`ams_wire::inner` pads it): the envelope is 40 bytes longer.
pub fn seal(key: &EnvelopeKey, direction: Direction<'_>, padded: &[u8]) -> Vec<u8> {
    let nonce: [u8; 24] = random::bytes();
    seal_with(key, direction, padded, nonce)
}

fn seal_with(
    key: &EnvelopeKey,
    direction: Direction<'_>,
    padded: &[u8],
    nonce: [u8; 24],
) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(padded.len().saturating_add(ENVELOPE_OVERHEAD));
    envelope.extend_from_slice(&nonce);
    envelope.extend_from_slice(padded);
    let body = envelope.get_mut(nonce.len()..).unwrap_or_default();
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    match cipher.encrypt_inout_detached(&nonce.into(), &associated(direction), body.into()) {
        Ok(tag) => envelope.extend_from_slice(&tag),
        // Only above 256 GiB.
        Err(_) => std::process::abort(),
    }
    envelope
}

/// Opens an envelope; gives the padded plaintext. The reader tries each of a contact's live roots.
///
/// # Errors
/// [`BadEnvelope`], the same for every cause.
pub fn open(
    key: &EnvelopeKey,
    direction: Direction<'_>,
    envelope: &[u8],
) -> Result<Vec<u8>, BadEnvelope> {
    let (nonce, rest) = envelope.split_first_chunk::<24>().ok_or(BadEnvelope)?;
    let (body, tag) = rest.split_last_chunk::<16>().ok_or(BadEnvelope)?;
    let mut body = body.to_vec();
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    cipher
        .decrypt_inout_detached(
            &XNonce::from(*nonce),
            &associated(direction),
            body.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| BadEnvelope)?;
    Ok(body)
}

/// Names an envelope: the first 16 bytes of its nonce. `None` if it is shorter.
pub fn id(envelope: &[u8]) -> Option<EnvelopeId> {
    envelope.first_chunk().copied().map(EnvelopeId)
}

fn associated(direction: Direction<'_>) -> Vec<u8> {
    let version = PROTOCOL_VERSION.to_be_bytes();
    labels::framed(
        labels::ENVELOPE,
        &[&version, direction.from.as_bytes(), direction.to.as_bytes()],
    )
}
