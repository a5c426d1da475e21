//! A backup's second file: the keys, as a tar archive (POSIX ustar), so that `tar -xf` puts them
//! back. They are apart from the accounts because only both together allow guessing passwords.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ams_crypto::Zeroizing;

use crate::accounts::Unwilling;
use crate::data::{self, KEY_FILES};

const BLOCK: usize = 512;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A relay in memory has nothing to copy.
    #[error("this relay keeps nothing on disk")]
    Memory,
    /// A file cannot be read or written.
    #[error("cannot write the backup {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The accounts.
    #[error(transparent)]
    Accounts(#[from] Unwilling),
}

/// Where the keys of a backup go.
pub fn keys_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".keys.tar");
    PathBuf::from(path)
}

/// Writes the archive of the key files in `folder`, mode 0600.
///
/// # Errors
/// [`BackupError::Io`], also when something is at `to` already.
pub(super) fn write_keys(folder: &Path, to: &Path) -> Result<(), BackupError> {
    let io = |source| BackupError::Io { path: to.to_owned(), source };
    let mut archive = Zeroizing::new(Vec::new());
    for name in KEY_FILES {
        let content = Zeroizing::new(fs::read(folder.join(name)).map_err(io)?);
        archive.extend_from_slice(&header(name, content.len()));
        archive.extend_from_slice(&content);
        let padded = archive.len().next_multiple_of(BLOCK);
        archive.resize(padded, 0);
    }
    let end = archive.len().saturating_add(2 * BLOCK);
    archive.resize(end, 0);
    data::write_new(to, &archive).map_err(io)
}

/// A header block of ustar (POSIX.1-1988): numbers in octal, the checksum over the block with the
/// checksum's own field as spaces.
fn header(name: &str, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| {
        if let Some(field) = block.get_mut(at..).and_then(|rest| rest.get_mut(..text.len())) {
            field.copy_from_slice(text);
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let text = format!("{sum:06o}\0 ");
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(text.as_bytes());
    }
    block
}
