//! Key files: the one door to the few secrets that nothing else seals. A profile has one (its data
//! key), a relay three (its link key, and OPAQUE's seed and keys, which are to be backed up apart).
//!
//! ```text
//! "AMSKEY" ‖ version u8 (1) ‖ kind u8 ‖ scheme u8 (0: as it is) ‖ secret ‖
//! checksum: first 8 bytes of SHA-256 over label and all before
//! ```
//! The scheme is where sealing by a passphrase or the system's keyring comes in. The checksum is
//! against damaged disks and cut files, not against people.

use std::fmt;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::labels;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;

/// What a key file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The key under which a profile's data is sealed, 32 bytes.
    Data = 1,
    /// A relay's X25519 key, 32 bytes.
    RelayLink = 2,
    /// A relay's OPRF seed, 64 bytes.
    OpaqueSeed = 3,
    /// A relay's other OPAQUE keys, 64 bytes.
    OpaqueKeys = 4,
}

impl Kind {
    /// Length of the secret, bytes.
    pub const fn secret_len(self) -> usize {
        match self {
            Self::Data | Self::RelayLink => 32,
            Self::OpaqueSeed | Self::OpaqueKeys => 64,
        }
    }

    const fn file_len(self) -> usize {
        HEADER.saturating_add(self.secret_len()).saturating_add(CHECKSUM)
    }
}

const MAGIC: &[u8; 6] = b"AMSKEY";
const VERSION: u8 = 1;
const SCHEME_PLAIN: u8 = 0;
const HEADER: usize = 9;
const CHECKSUM: usize = 8;

/// Why a key file was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is something at the path. A key file is never overwritten: what it sealed would be
    /// lost.
    #[error("there is already a key file")]
    Exists,
    /// The secret has not the length of its kind.
    #[error("a key of the wrong length")]
    Length,
    /// The system refused.
    #[error("the key file cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Why a key file is not used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no file.
    #[error("there is no key file")]
    Missing,
    /// A symbolic link, a folder, or anything else that is no plain file.
    #[error("the key file is not a plain file")]
    NotPlain,
    /// Somebody else owns it.
    #[error("the key file belongs to another user")]
    Owner,
    /// Others can read or write it: mode over 0600.
    #[error(
        "the key file is open to others (mode {mode:03o}): chmod 600 it, and think of who read it"
    )]
    Mode {
        /// Permission bits as found.
        mode: u32,
    },
    /// Cut, damaged, or of another kind.
    #[error("the key file is damaged or of another kind")]
    Damaged,
    /// Made by a later AMS.
    #[error("the key file is of a later version of AMS")]
    Later,
    /// The system refused.
    #[error("the key file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Writes `secret` to a new file at `path`, mode 0600, durably: when this returns, file and folder
/// entry are on disk. The folder exists already.
///
/// # Errors
/// [`CreateError`]; nothing is at `path` then that was not before.
pub fn create(path: &Path, kind: Kind, secret: &[u8]) -> Result<(), CreateError> {
    if secret.len() != kind.secret_len() {
        return Err(CreateError::Length);
    }
    platform::write_new(path, &encode(kind, secret))
}

/// Reads the secret of the file at `path`.
///
/// # Errors
/// [`LoadError`].
pub fn load(path: &Path, kind: Kind) -> Result<Secret, LoadError> {
    let bytes = platform::read_private(path, kind.file_len())?;
    decode(kind, &bytes)
}

/// A secret out of a key file.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, if there are `N`.
    pub fn to_array<const N: usize>(&self) -> Option<Zeroizing<[u8; N]>> {
        self.0.as_slice().try_into().ok().map(Zeroizing::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(secret)")
    }
}

fn encode(kind: Kind, secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(kind.file_len()));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[VERSION, kind as u8, SCHEME_PLAIN]);
    out.extend_from_slice(secret);
    let sum = checksum(&out);
    out.extend_from_slice(&sum);
    out
}

fn decode(kind: Kind, bytes: &[u8]) -> Result<Secret, LoadError> {
    let (head, rest) = bytes.split_first_chunk::<HEADER>().ok_or(LoadError::Damaged)?;
    let [magic @ .., version, found, scheme] = head;
    if magic != MAGIC {
        return Err(LoadError::Damaged);
    }
    if *version != VERSION || *scheme != SCHEME_PLAIN {
        return Err(LoadError::Later);
    }
    let (secret, sum) = rest.split_last_chunk::<CHECKSUM>().ok_or(LoadError::Damaged)?;
    let summed = bytes.split_last_chunk::<CHECKSUM>().map_or(bytes, |(summed, _)| summed);
    if *found != kind as u8 || secret.len() != kind.secret_len() || checksum(summed) != *sum {
        return Err(LoadError::Damaged);
    }
    Ok(Secret(Zeroizing::new(secret.to_vec())))
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let hash: [u8; 32] =
        Sha256::new().chain_update(labels::KEY_FILE).chain_update(bytes).finalize().into();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    const SECRET: [u8; 32] = [6; 32];

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn made_and_loaded() {
        let folder = folder();
        for (kind, secret) in [
            (Kind::Data, vec![1; 32]),
            (Kind::RelayLink, vec![2; 32]),
            (Kind::OpaqueSeed, vec![3; 64]),
        ] {
            let path = folder.path().join(format!("{kind:?}"));
            create(&path, kind, &secret).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            assert_eq!(load(&path, kind).unwrap().as_bytes(), secret);
        }
        // Nothing unfinished is left.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        let loaded = load(&folder.path().join("Data"), Kind::Data).unwrap();
        assert_eq!(*loaded.to_array::<32>().unwrap(), [1; 32]);
        assert!(loaded.to_array::<31>().is_none());
        assert_eq!(format!("{loaded:?}"), "Secret(secret)");
    }

    #[test]
    fn the_bytes_are_frozen() {
        // Computed apart.
        assert_eq!(
            data_encoding::HEXLOWER.encode(&encode(Kind::Data, &SECRET)),
            "414d534b4559010100\
             0606060606060606060606060606060606060606060606060606060606060606fcd4707525a556c9"
        );
    }

    #[test]
    fn never_overwritten() {
        let folder = folder();
        let path = folder.path().join("key");
        create(&path, Kind::Data, &SECRET).unwrap();
        let again = create(&path, Kind::Data, &[7; 32]);
        assert!(matches!(again, Err(CreateError::Exists)));
        assert_eq!(load(&path, Kind::Data).unwrap().as_bytes(), SECRET);
        // Not even what is no key file, nor where a dangling link points.
        let other = folder.path().join("other");
        symlink(folder.path().join("nowhere"), &other).unwrap();
        assert!(matches!(create(&other, Kind::Data, &SECRET), Err(CreateError::Exists)));
        assert!(!folder.path().join("nowhere").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(matches!(create(&path, Kind::Data, &[7; 31]), Err(CreateError::Length)));
    }

    #[test]
    fn an_unfinished_file_of_a_crash_is_replaced() {
        let folder = folder();
        let path = folder.path().join("key");
        fs::write(folder.path().join("key.new"), b"AMSK").unwrap();
        create(&path, Kind::Data, &SECRET).unwrap();
        assert_eq!(load(&path, Kind::Data).unwrap().as_bytes(), SECRET);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_open_to_others_or_no_plain_file_is_refused() {
        let folder = folder();
        let path = folder.path().join("key");
        assert!(matches!(load(&path, Kind::Data), Err(LoadError::Missing)));
        create(&path, Kind::Data, &SECRET).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = load(&path, Kind::Data);
            assert!(matches!(found, Err(LoadError::Mode { mode: m }) if m == mode), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(load(&path, Kind::Data).is_ok());
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(load(&link, Kind::Data), Err(LoadError::NotPlain)));
        assert!(matches!(load(folder.path(), Kind::Data), Err(LoadError::NotPlain)));
    }

    #[test]
    fn damage_and_mistakes_are_told_apart() {
        let good = encode(Kind::Data, &SECRET);
        assert!(decode(Kind::Data, &good).is_ok());
        assert!(matches!(decode(Kind::RelayLink, &good), Err(LoadError::Damaged)));
        assert!(matches!(decode(Kind::OpaqueSeed, &good), Err(LoadError::Damaged)));
        for at in 0..good.len() {
            let mut bent = good.to_vec();
            bent[at] ^= 0x40;
            let error = decode(Kind::Data, &bent).unwrap_err();
            let later = matches!(error, LoadError::Later);
            assert!(later || matches!(error, LoadError::Damaged), "{at}");
            assert_eq!(later, at == 6 || at == 8, "{at}");
            assert!(matches!(decode(Kind::Data, &good[..at]), Err(LoadError::Damaged)), "{at}");
        }
        let folder = folder();
        let path = folder.path().join("key");
        create(&path, Kind::Data, &SECRET).unwrap();
        let mut long = fs::read(&path).unwrap();
        long.push(0);
        fs::write(&path, long).unwrap();
        assert!(matches!(load(&path, Kind::Data), Err(LoadError::Damaged)));
    }
}
