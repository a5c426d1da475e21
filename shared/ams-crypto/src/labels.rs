//! Every domain-separation label, once, and the framing that keeps what follows a label apart.
//!
//! A signature, key or tag made for one purpose must be worthless for every other. The number at
//! the end changes when the meaning of the bytes behind the label does.

/// Prologue of a link's handshake.
pub const LINK: &[u8] = b"AMS-link-1";
/// Context of an OPAQUE login.
pub const LOGIN: &[u8] = b"AMS-login-1";
/// Signature over an introduction.
pub const INTRO: &[u8] = b"AMS-intro-1";
/// Signature over an approval.
pub const APPROVAL: &[u8] = b"AMS-approval-1";
/// Prologue of an introduction sealed for a contact link.
pub const SEALED_INTRO: &[u8] = b"AMS-sealed-intro-1";
/// Prologue of a sealed approval.
pub const SEALED_APPROVAL: &[u8] = b"AMS-sealed-approval-1";
/// The pre-shared key of a contact link, from its 16-byte secret.
pub const LINK_PSK: &[u8] = b"AMS-link-psk-1";
/// Signature over a device's link key.
pub const DEVICE: &[u8] = b"AMS-device-1";
/// A pair's root.
pub const ROOT: &[u8] = b"AMS-root-1";
/// A root's public tag.
pub const ROOT_TAG: &[u8] = b"AMS-root-tag-1";
/// Envelope key towards the one who asked for contact.
pub const TO_REQUESTER: &[u8] = b"AMS-to-requester-1";
/// Envelope key towards the one who answered.
pub const TO_APPROVER: &[u8] = b"AMS-to-approver-1";
/// Associated data of an envelope.
pub const ENVELOPE: &[u8] = b"AMS-envelope-1";
/// Key of sealed rows, from the data key; associated data of a sealed row.
pub const STORE: &[u8] = b"AMS-store-1";
/// Key of blinded names, from the data key.
pub const STORE_NAME: &[u8] = b"AMS-store-name-1";
/// Hash of a token.
pub const TOKEN: &[u8] = b"AMS-token-1";
/// Key, check and sum of a backup.
pub const BACKUP: &[u8] = b"AMS-backup-1";
/// Checksum of a key file.
pub const KEY_FILE: &[u8] = b"AMS-key-file-1";
/// Key of a key file that is sealed under a passphrase.
pub const KEY_FILE_SEAL: &[u8] = b"AMS-key-file-seal-1";

/// `label` and `parts`, each behind its length as a big-endian `u32`: no two lists of parts give
/// the same bytes.
pub fn framed(label: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    for part in std::iter::once(&label).chain(parts) {
        // No part is near 4 GiB: everything that comes in is bounded at its door.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_differ() {
        let all = [
            LINK,
            LOGIN,
            INTRO,
            APPROVAL,
            SEALED_INTRO,
            SEALED_APPROVAL,
            LINK_PSK,
            DEVICE,
            ROOT,
            ROOT_TAG,
            TO_REQUESTER,
            TO_APPROVER,
            ENVELOPE,
            STORE,
            STORE_NAME,
            TOKEN,
            BACKUP,
            KEY_FILE,
            KEY_FILE_SEAL,
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn parts_stay_apart() {
        assert_eq!(framed(b"L", &[b"ab"]), b"\0\0\0\x01L\0\0\0\x02ab");
        assert_ne!(framed(b"L", &[b"ab", b"c"]), framed(b"L", &[b"a", b"bc"]));
        assert_ne!(framed(b"L", &[b""]), framed(b"L", &[]));
    }
}
