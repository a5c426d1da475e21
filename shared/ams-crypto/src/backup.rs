//! A backup, sealed under a passphrase, piece by piece, so that neither writing nor reading needs
//! it whole.
//!
//! ```text
//! header = "AMSBAK" ‖ version u8 (1) ‖ salt 16 ‖ prefix 19 ‖ check 16 ‖ sum 8
//! piece  = length u32 (of what follows) ‖ XChaCha20-Poly1305(key, nonce, aad = header, content)
//! key    = HKDF(none, ikm = Argon2id(passphrase, salt; 256 MiB, 3 passes, 1 lane), "AMS-backup-1")
//! nonce  = prefix ‖ number of the piece u32, from 0 ‖ u8: 1 for the last piece, else 0
//! ```
//!
//! That is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance, section 7): pieces cannot be left out, doubled, put in another
//! order or cut off at the end. `check` is the tag over nothing, under the nonce with `ff` for the
//! last five bytes: it tells a wrong passphrase from a damaged file. `sum` is the beginning of
//! SHA-256 over label and all before.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::xchacha::{self, NONCE, TAG};
use crate::{labels, random, stretch};

/// Bytes of a header.
pub const HEADER: usize = 66;
/// Bytes that a sealed piece is longer than its content.
pub const OVERHEAD: usize = TAG;
/// Largest content of a piece.
pub const MAX_PIECE: usize = 256 * 1024;

const MAGIC: &[u8; 6] = b"AMSBAK";
const VERSION: u8 = 1;
const PREFIX: usize = 19;
const SUM: usize = 8;
/// Header bytes before the sum.
const SUMMED: usize = HEADER - SUM;
/// Header bytes before the check.
const CHECKED: usize = SUMMED - TAG;

/// Why a backup is not made or not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Not a backup at all.
    #[error("this is not a backup of AMS")]
    NotABackup,
    /// Made by a later version.
    #[error("this backup was made by a newer version of AMS")]
    Version,
    /// Bytes of it are changed or missing.
    #[error("the backup is damaged")]
    Damaged,
    /// It opens under another passphrase.
    #[error("the passphrase is wrong")]
    Passphrase,
    /// Not enough memory for the passphrase.
    #[error("not enough memory for the passphrase (256 MiB)")]
    OutOfMemory,
    /// More than fits.
    #[error("the backup is too large")]
    TooLarge,
}

/// Seals, or opens, the pieces of one backup, in order.
pub struct Pieces {
    key: Zeroizing<[u8; 32]>,
    header: [u8; HEADER],
    next: u32,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pieces(secret)")
    }
}

impl Pieces {
    /// Begins a backup. Its header comes first. Takes half a second and 256 MiB.
    ///
    /// # Errors
    /// [`BackupError::OutOfMemory`].
    pub fn begin(passphrase: &str) -> Result<Self, BackupError> {
        Self::begin_with(passphrase, random::bytes(), random::bytes())
    }

    fn begin_with(
        passphrase: &str,
        salt: [u8; 16],
        prefix: [u8; PREFIX],
    ) -> Result<Self, BackupError> {
        let key = stretch(passphrase, &salt)?;
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(&prefix);
        let check = xchacha::seal(&key, &check_nonce(&prefix), labels::BACKUP, &mut []);
        bytes.extend_from_slice(&check);
        bytes.extend_from_slice(&sum(&bytes));
        let header = bytes.try_into().map_err(|_| BackupError::Damaged)?;
        Ok(Self { key, header, next: 0 })
    }

    /// Begins to read the backup with this header. Takes half a second and 256 MiB.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(passphrase: &str, header: &[u8; HEADER]) -> Result<Self, BackupError> {
        let rest = header.strip_prefix(MAGIC).ok_or(BackupError::NotABackup)?;
        let (version, rest) = rest.split_first().ok_or(BackupError::NotABackup)?;
        if *version != VERSION {
            return Err(BackupError::Version);
        }
        let summed = header.get(..SUMMED).ok_or(BackupError::Damaged)?;
        if header.get(SUMMED..) != Some(&sum(summed)[..]) {
            return Err(BackupError::Damaged);
        }
        let (salt, rest) = rest.split_first_chunk::<16>().ok_or(BackupError::Damaged)?;
        let (prefix, _) = rest.split_first_chunk::<PREFIX>().ok_or(BackupError::Damaged)?;
        let mut check = header.get(CHECKED..SUMMED).ok_or(BackupError::Damaged)?.to_vec();
        let key = stretch(passphrase, salt)?;
        xchacha::open(&key, &check_nonce(prefix), labels::BACKUP, &mut check)
            .map_err(|_| BackupError::Passphrase)?;
        Ok(Self { key, header: *header, next: 0 })
    }

    /// What the file begins with.
    pub fn header(&self) -> &[u8; HEADER] {
        &self.header
    }

    /// Seals the next piece.
    ///
    /// # Errors
    /// [`BackupError::TooLarge`].
    pub fn seal(&mut self, content: &[u8], is_last: bool) -> Result<Vec<u8>, BackupError> {
        if content.len() > MAX_PIECE {
            return Err(BackupError::TooLarge);
        }
        let nonce = self.nonce(is_last)?;
        let mut sealed = content.to_vec();
        let tag = xchacha::seal(&self.key, &nonce, &self.header, &mut sealed);
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens the next piece.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], also where it is not the next one, or not the last.
    pub fn unseal(
        &mut self,
        mut sealed: Vec<u8>,
        is_last: bool,
    ) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        if sealed.len() > MAX_PIECE.saturating_add(OVERHEAD) {
            return Err(BackupError::Damaged);
        }
        let nonce = self.nonce(is_last)?;
        let opened = xchacha::open(&self.key, &nonce, &self.header, &mut sealed);
        let length = opened.map_err(|_| BackupError::Damaged)?.len();
        sealed.truncate(length);
        Ok(Zeroizing::new(sealed))
    }

    fn nonce(&mut self, is_last: bool) -> Result<[u8; NONCE], BackupError> {
        let mut nonce = [0; NONCE];
        let prefix = self.header.get(23..23 + PREFIX).ok_or(BackupError::Damaged)?;
        let rest = self.next.to_be_bytes().into_iter().chain([u8::from(is_last)]);
        for (place, byte) in nonce.iter_mut().zip(prefix.iter().copied().chain(rest)) {
            *place = byte;
        }
        // The number before the last is the check's.
        let next = self.next.checked_add(1).filter(|next| *next < u32::MAX);
        self.next = next.ok_or(BackupError::TooLarge)?;
        Ok(nonce)
    }
}

fn check_nonce(prefix: &[u8; PREFIX]) -> [u8; NONCE] {
    let mut nonce = [0xff; NONCE];
    for (place, byte) in nonce.iter_mut().zip(prefix) {
        *place = *byte;
    }
    nonce
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let hash: [u8; 32] = Sha256::digest(labels::framed(labels::BACKUP, &[bytes])).into();
    hash.first_chunk().copied().unwrap_or_default()
}

fn stretch(passphrase: &str, salt: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, BackupError> {
    stretch::stretch(passphrase, salt, labels::BACKUP).map_err(|_| BackupError::OutOfMemory)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn backup() -> (Pieces, Vec<Vec<u8>>) {
        let mut pieces = Pieces::begin_with("open sesame", [1; 16], [2; 19]).unwrap();
        let sealed = vec![
            pieces.seal(b"one", false).unwrap(),
            pieces.seal(b"", false).unwrap(),
            pieces.seal(b"last", true).unwrap(),
        ];
        (pieces, sealed)
    }

    #[test]
    fn opens_as_it_was_sealed_and_in_no_other_way() {
        let (made, sealed) = backup();
        let header = *made.header();
        let again = || {
            let mut pieces = Pieces::open("open sesame", &header).unwrap();
            pieces.next = 0;
            pieces
        };
        let mut pieces = again();
        assert_eq!(**pieces.unseal(sealed[0].clone(), false).unwrap(), *b"one");
        assert_eq!(**pieces.unseal(sealed[1].clone(), false).unwrap(), *b"");
        assert_eq!(**pieces.unseal(sealed[2].clone(), true).unwrap(), *b"last");
        let mut pieces = again();
        // Left out, cut off, and bent.
        assert!(pieces.unseal(sealed[1].clone(), false).is_err());
        assert!(pieces.unseal(sealed[2].clone(), true).is_err());
        pieces.next = 0;
        assert!(pieces.unseal(sealed[0].clone(), true).is_err());
        for at in 0..sealed[0].len() {
            let mut bent = sealed[0].clone();
            bent[at] ^= 1;
            pieces.next = 0;
            assert_eq!(pieces.unseal(bent, false).unwrap_err(), BackupError::Damaged);
            pieces.next = 0;
            assert!(pieces.unseal(sealed[0][..at].to_vec(), false).is_err());
        }
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_a_damaged_header() {
        let header = *backup().0.header();
        let open = |passphrase: &str, header| Pieces::open(passphrase, &header).map(|_| ());
        assert_eq!(open("open sesam", header), Err(BackupError::Passphrase));
        for at in 0..HEADER {
            let mut bent = header;
            bent[at] ^= 1;
            let expected = match at {
                0..6 => BackupError::NotABackup,
                6 => BackupError::Version,
                _ => BackupError::Damaged,
            };
            assert_eq!(open("open sesame", bent), Err(expected), "{at}");
        }
    }

    #[test]
    fn a_piece_has_its_bound() {
        let mut pieces = Pieces { key: Zeroizing::new([1; 32]), header: [0; HEADER], next: 0 };
        assert!(pieces.seal(&vec![0; MAX_PIECE], false).is_ok());
        assert_eq!(pieces.seal(&vec![0; MAX_PIECE + 1], false), Err(BackupError::TooLarge));
        let over = vec![0; MAX_PIECE + OVERHEAD + 1];
        assert_eq!(pieces.unseal(over, false).unwrap_err(), BackupError::Damaged);
        pieces.next = u32::MAX - 1;
        assert_eq!(pieces.seal(&[], false), Err(BackupError::TooLarge));
    }

    #[test]
    fn the_bytes_are_frozen() {
        let (pieces, sealed) = backup();
        let hex = [HEXLOWER.encode(pieces.header()), HEXLOWER.encode(&sealed[0])];
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: [&str; 2] = [
        "414d5342414b010101010101010101010101010101010102020202020202020202020202020202020202a879\
         bf6d8a7b1d52c6f59e8e27e27c35d0198867562bef3f",
        "6d826d3514300e6f855ce2e0e7cbeca9223cd6",
    ];
}
