//! The envelope: `nonce (24 random bytes) ‖ XChaCha20-Poly1305(key of the direction, padded inner)`,
//! with label, version, sender and recipient identity as associated data. No handle is in it: the
//! same bytes may travel over any path.

use ams_wire::id::EnvelopeId;
use ams_wire::limits::{ENVELOPE_OVERHEAD, PROTOCOL_VERSION};

use crate::identity::IdentityPublic;
use crate::labels;
use crate::pair::EnvelopeKey;
use crate::random;
use crate::xchacha::{self, NONCE};

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
    let tag = xchacha::seal(key.bytes(), &nonce, &associated(direction), body);
    envelope.extend_from_slice(&tag);
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
    let (nonce, sealed) = envelope.split_first_chunk::<NONCE>().ok_or(BadEnvelope)?;
    let mut body = sealed.to_vec();
    let opened = xchacha::open(key.bytes(), nonce, &associated(direction), &mut body);
    let length = opened.map_err(|_| BadEnvelope)?.len();
    body.truncate(length);
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

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use super::*;
    use crate::identity::IdentityKey;
    use crate::pair::{RootKeys, Side};
    use proptest::prelude::*;

    fn people() -> [IdentityPublic; 2] {
        [7, 8].map(|byte| IdentityKey::from_bytes(&[byte; 32]).public())
    }

    /// Root keys whose key towards the approver is 32 times 9.
    fn roots() -> RootKeys {
        RootKeys::from_bytes(&[&[0; 8][..], &[1; 32], &[9; 32]].concat()).unwrap()
    }

    #[test]
    fn the_bytes_are_frozen() {
        let [alice, bob] = people();
        let nonce = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let direction = Direction { from: &alice, to: &bob };
        let sealed = seal_with(roots().sealing(Side::Requester), direction, b"padded inner", nonce);
        // Computed apart.
        assert_eq!(
            data_encoding::HEXLOWER.encode(&sealed),
            "000102030405060708090a0b0c0d0e0f1011121314151617\
             2f26340f67d26e7b09c7028cb0a8c5f8bf05683ffce378d8ea9caa4c"
        );
        assert_eq!(id(&sealed).unwrap().as_bytes(), &nonce[..16]);
    }

    #[test]
    fn opens_for_its_direction_and_people_alone() {
        let [alice, bob] = people();
        let eve = IdentityKey::generate().public();
        let roots = roots();
        let (there, back) =
            (Direction { from: &alice, to: &bob }, Direction { from: &bob, to: &alice });
        let sealed = seal(roots.sealing(Side::Requester), there, &[5; 433]);
        assert_eq!(sealed.len(), 433 + ENVELOPE_OVERHEAD);
        assert_eq!(open(roots.opening(Side::Approver), there, &sealed).unwrap(), [5; 433]);
        // Reflected by a relay, to somebody else, or as if from somebody else.
        assert_eq!(open(roots.opening(Side::Requester), back, &sealed), Err(BadEnvelope));
        assert_eq!(open(roots.opening(Side::Approver), back, &sealed), Err(BadEnvelope));
        for direction in [Direction { from: &eve, to: &bob }, Direction { from: &alice, to: &eve }]
        {
            assert_eq!(open(roots.opening(Side::Approver), direction, &sealed), Err(BadEnvelope));
        }
        assert_ne!(sealed, seal(roots.sealing(Side::Requester), there, &[5; 433]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let [alice, bob] = people();
            let direction = Direction { from: &alice, to: &bob };
            prop_assert_eq!(open(roots().opening(Side::Approver), direction, &bytes), Err(BadEnvelope));
        }

        #[test]
        fn one_bit_is_an_error(at in 0_usize..(512 + 40) * 8, len in 0_usize..=512) {
            let [alice, bob] = people();
            let direction = Direction { from: &alice, to: &bob };
            let mut sealed = seal(roots().sealing(Side::Requester), direction, &vec![1; len]);
            let at = at % (sealed.len() * 8);
            sealed[at / 8] ^= 1 << (at % 8);
            prop_assert_eq!(open(roots().opening(Side::Approver), direction, &sealed), Err(BadEnvelope));
            sealed.truncate(at / 8);
            prop_assert_eq!(open(roots().opening(Side::Approver), direction, &sealed), Err(BadEnvelope));
        }
    }
}
