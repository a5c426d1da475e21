//! Key files: the one door to the few secrets that nothing else seals. A profile has one (its data
//! key), a relay three (its link key, and OPAQUE's seed and keys, which are to be backed up apart).
//!
//! ```text
//! "AMSKEY" ‖ version u8 (1) ‖ kind u8 ‖ scheme u8 ‖ body ‖
//! checksum: first 8 bytes of SHA-256 over label and all before
//!
//! scheme 0: body = secret
//! scheme 1: body = salt 16 ‖ XChaCha20-Poly1305(key, nonce of zeros, aad = all before, secret)
//!           key  = HKDF(Argon2id(passphrase, salt; 256 MiB, 3 passes, 1 lane), "AMS-key-file-seal-1")
//! ```
//! The salt is drawn anew each time, so a key seals once. The checksum is against damaged disks and
//! cut files, not against people; it tells a damaged file from a wrong passphrase.

use std::fmt;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::xchacha::{self, NONCE, TAG};
use crate::{labels, random, stretch};

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

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

    /// Of a file that is not sealed.
    const fn file_len(self) -> usize {
        HEADER.saturating_add(self.secret_len()).saturating_add(CHECKSUM)
    }

    /// Of one that is.
    const fn sealed_len(self) -> usize {
        self.file_len().saturating_add(SALT).saturating_add(TAG)
    }
}

const MAGIC: &[u8; 6] = b"AMSKEY";
const VERSION: u8 = 1;
const SCHEME_PLAIN: u8 = 0;
const SCHEME_PASSPHRASE: u8 = 1;
const SALT: usize = 16;
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
    /// Not enough memory for the passphrase.
    #[error("not enough memory for the passphrase (256 MiB)")]
    OutOfMemory,
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
    /// It is sealed, and no passphrase was given.
    #[error("the key file is sealed under a passphrase")]
    Sealed,
    /// It opens under another passphrase.
    #[error("the passphrase is wrong")]
    Passphrase,
    /// Not enough memory for the passphrase.
    #[error("not enough memory for the passphrase (256 MiB)")]
    OutOfMemory,
    /// The system refused.
    #[error("the key file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Writes `secret` to a new file at `path`, mode 0600 (on Windows: with its folder's rights),
/// durably: when this returns, file and folder entry are on disk. The folder exists already.
///
/// # Errors
/// [`CreateError`]; nothing is at `path` then that was not before.
pub fn create(path: &Path, kind: Kind, secret: &[u8]) -> Result<(), CreateError> {
    platform::write_new(path, &encode(kind, secret, None)?)
}

/// As [`create`], sealed under a passphrase. Takes half a second and 256 MiB.
///
/// # Errors
/// [`CreateError`].
pub fn create_sealed(
    path: &Path,
    kind: Kind,
    secret: &[u8],
    passphrase: &str,
) -> Result<(), CreateError> {
    platform::write_new(path, &encode(kind, secret, Some(passphrase))?)
}

/// Puts the same secret, sealed under this passphrase or under none, in the place of the file that
/// is there: after a crash it is the old file or the new one. What the old one said may survive in
/// blocks of the disk that nothing points to.
///
/// # Errors
/// [`CreateError`]; the file is as it was then.
pub fn replace(
    path: &Path,
    kind: Kind,
    secret: &Secret,
    passphrase: Option<&str>,
) -> Result<(), CreateError> {
    platform::write_over(path, &encode(kind, secret.as_bytes(), passphrase)?)
}

/// Reads the secret of the file at `path`.
///
/// # Errors
/// [`LoadError`].
pub fn load(path: &Path, kind: Kind) -> Result<Secret, LoadError> {
    decode(kind, &read(path, kind)?, None)
}

/// As [`load`], of a file that is sealed or not. Takes half a second and 256 MiB if it is.
///
/// # Errors
/// [`LoadError`].
pub fn load_with(path: &Path, kind: Kind, passphrase: &str) -> Result<Secret, LoadError> {
    decode(kind, &read(path, kind)?, Some(passphrase))
}

/// Whether the file at `path` is sealed under a passphrase.
///
/// # Errors
/// [`LoadError`].
pub fn is_sealed(path: &Path, kind: Kind) -> Result<bool, LoadError> {
    match load(path, kind) {
        Ok(_) => Ok(false),
        Err(LoadError::Sealed) => Ok(true),
        Err(error) => Err(error),
    }
}

fn read(path: &Path, kind: Kind) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    platform::read_private(path, &[kind.file_len(), kind.sealed_len()])
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

fn encode(
    kind: Kind,
    secret: &[u8],
    passphrase: Option<&str>,
) -> Result<Zeroizing<Vec<u8>>, CreateError> {
    encode_with(kind, secret, passphrase.map(|passphrase| (passphrase, random::bytes())))
}

fn encode_with(
    kind: Kind,
    secret: &[u8],
    seal: Option<(&str, [u8; SALT])>,
) -> Result<Zeroizing<Vec<u8>>, CreateError> {
    if secret.len() != kind.secret_len() {
        return Err(CreateError::Length);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(kind.sealed_len()));
    out.extend_from_slice(MAGIC);
    let scheme = if seal.is_some() { SCHEME_PASSPHRASE } else { SCHEME_PLAIN };
    out.extend_from_slice(&[VERSION, kind as u8, scheme]);
    match seal {
        None => out.extend_from_slice(secret),
        Some((passphrase, salt)) => {
            let key = stretch::stretch(passphrase, &salt, labels::KEY_FILE_SEAL)
                .map_err(|_| CreateError::OutOfMemory)?;
            out.extend_from_slice(&salt);
            let mut body = Zeroizing::new(secret.to_vec());
            let tag = xchacha::seal(&key, &[0; NONCE], &out, &mut body);
            out.extend_from_slice(&body);
            out.extend_from_slice(&tag);
        }
    }
    let sum = checksum(&out);
    out.extend_from_slice(&sum);
    Ok(out)
}

fn decode(kind: Kind, bytes: &[u8], passphrase: Option<&str>) -> Result<Secret, LoadError> {
    let (head, rest) = bytes.split_first_chunk::<HEADER>().ok_or(LoadError::Damaged)?;
    let [magic @ .., version, found, scheme] = head;
    if magic != MAGIC {
        return Err(LoadError::Damaged);
    }
    if *version != VERSION || ![SCHEME_PLAIN, SCHEME_PASSPHRASE].contains(scheme) {
        return Err(LoadError::Later);
    }
    let is_sealed = *scheme == SCHEME_PASSPHRASE;
    let length = if is_sealed { kind.sealed_len() } else { kind.file_len() };
    let (body, sum) = rest.split_last_chunk::<CHECKSUM>().ok_or(LoadError::Damaged)?;
    let summed = bytes.split_last_chunk::<CHECKSUM>().map_or(bytes, |(summed, _)| summed);
    if *found != kind as u8 || bytes.len() != length || checksum(summed) != *sum {
        return Err(LoadError::Damaged);
    }
    if !is_sealed {
        return Ok(Secret(Zeroizing::new(body.to_vec())));
    }
    let passphrase = passphrase.ok_or(LoadError::Sealed)?;
    let (salt, sealed) = body.split_first_chunk::<SALT>().ok_or(LoadError::Damaged)?;
    let before = bytes.get(..HEADER.saturating_add(SALT)).ok_or(LoadError::Damaged)?;
    let key = stretch::stretch(passphrase, salt, labels::KEY_FILE_SEAL)
        .map_err(|_| LoadError::OutOfMemory)?;
    let mut secret = Zeroizing::new(sealed.to_vec());
    let opened = xchacha::open(&key, &[0; NONCE], before, &mut secret);
    let length = opened.map_err(|_| LoadError::Passphrase)?.len();
    secret.truncate(length);
    Ok(Secret(secret))
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
    /// Computed apart.
    const SEALED: &str = "414d534b45590101010101010101010101010101010101010139\
        38b265d644faead9a4adbc5c8fc8146b44b9601351901a07e5e501c8f0b5dbdde7ab8944e91edf8ba7c0819899\
        2dfd502e0d80bddfab43";

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
            data_encoding::HEXLOWER.encode(&encode(Kind::Data, &SECRET, None).unwrap()),
            "414d534b4559010100\
             0606060606060606060606060606060606060606060606060606060606060606fcd4707525a556c9"
        );
    }

    #[test]
    fn the_bytes_of_a_sealed_one_are_frozen() {
        let sealed = encode_with(Kind::Data, &SECRET, Some(("open sesame", [1; 16]))).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&sealed), SEALED);
    }

    #[test]
    fn sealed_changed_and_opened_again() {
        let folder = folder();
        let path = folder.path().join("key");
        create_sealed(&path, Kind::Data, &SECRET, "first").unwrap();
        assert!(is_sealed(&path, Kind::Data).unwrap());
        assert!(matches!(load(&path, Kind::Data), Err(LoadError::Sealed)));
        assert!(matches!(load_with(&path, Kind::Data, "second"), Err(LoadError::Passphrase)));
        let secret = load_with(&path, Kind::Data, "first").unwrap();
        assert_eq!(secret.as_bytes(), SECRET);
        assert!(!fs::read(&path).unwrap().windows(8).any(|window| window == &SECRET[..8]));

        replace(&path, Kind::Data, &secret, Some("second")).unwrap();
        assert!(matches!(load_with(&path, Kind::Data, "first"), Err(LoadError::Passphrase)));
        assert_eq!(load_with(&path, Kind::Data, "second").unwrap().as_bytes(), SECRET);
        replace(&path, Kind::Data, &secret, None).unwrap();
        assert_eq!(load(&path, Kind::Data).unwrap().as_bytes(), SECRET);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
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
        let plain = encode(Kind::Data, &SECRET, None).unwrap();
        let sealed = encode(Kind::Data, &SECRET, Some("sesame")).unwrap();
        assert!(decode(Kind::Data, &plain, None).is_ok());
        // A passphrase that is not needed does no harm.
        assert!(decode(Kind::Data, &plain, Some("sesame")).is_ok());
        assert!(matches!(decode(Kind::Data, &sealed, None), Err(LoadError::Sealed)));
        for good in [plain, sealed] {
            let decode = |kind, bytes: &[u8]| decode(kind, bytes, None);
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
