//! Device records: whose a device is. `IK ‖ signature by IK over the device's link key`. On a first
//! meeting each side shows its own inside the handshake, which proves that it holds the link key;
//! whoever repeats somebody else's record cannot complete that handshake.

use crate::dh::DhPublic;
use crate::identity::{BadSignature, IdentityKey, IdentityPublic};
use crate::labels;

/// Bytes of a record: identity 32, signature 64.
pub const DEVICE_RECORD: usize = 96;

/// Says that the device which holds `link` is that of `identity`.
pub fn record(identity: &IdentityKey, link: &DhPublic) -> [u8; DEVICE_RECORD] {
    let mut out = [0; DEVICE_RECORD];
    let (key, signature) = out.split_at_mut(32);
    key.copy_from_slice(identity.public().as_bytes());
    signature.copy_from_slice(&identity.sign(labels::DEVICE, link.as_bytes()));
    out
}

/// Whose the device that proved to hold `link` is.
///
/// # Errors
/// [`BadSignature`], also for a key that is none.
pub fn verify(
    record: &[u8; DEVICE_RECORD],
    link: &DhPublic,
) -> Result<IdentityPublic, BadSignature> {
    let (key, signature) = record.split_first_chunk::<32>().ok_or(BadSignature)?;
    let signature = signature.try_into().map_err(|_| BadSignature)?;
    let identity = IdentityPublic::from_bytes(*key).map_err(|_| BadSignature)?;
    identity.verify(labels::DEVICE, link.as_bytes(), signature).map(|()| identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dh::DhSecret;

    #[test]
    fn a_record_holds_for_one_device_of_one_identity() {
        let identity = IdentityKey::from_bytes(&[7; 32]);
        let (device, other) =
            (DhSecret::from_bytes(&[9; 32]).public(), DhSecret::from_bytes(&[10; 32]).public());
        let made = record(&identity, &device);
        assert_eq!(verify(&made, &device), Ok(identity.public()));
        assert_eq!(verify(&made, &other), Err(BadSignature));
        for at in 0..DEVICE_RECORD {
            let mut bent = made;
            bent[at] ^= 1;
            assert_eq!(verify(&bent, &device), Err(BadSignature), "{at}");
        }
    }
}
