//! Key files on Unix: owner, mode and kind are checked on the opened file, never on its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{CreateError, LoadError};

const PRIVATE: u32 = 0o600;

pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CreateError> {
    let unfinished = beside(path);
    // Left behind by a crash between here and the link below; it was never a key file.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let written = write_synced(&unfinished, bytes).and_then(|()| {
        // A link instead of a rename: it never replaces what is there.
        fs::hard_link(&unfinished, path)
    });
    let cleaned = fs::remove_file(&unfinished);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CreateError::Exists),
        Err(error) => Err(error.into()),
        Ok(()) => {
            cleaned?;
            sync_folder(path)?;
            Ok(())
        }
    }
}

/// Puts a file in the place of the one that is there, or of none.
pub(super) fn write_over(path: &Path, bytes: &[u8]) -> Result<(), CreateError> {
    let unfinished = beside(path);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    write_synced(&unfinished, bytes)?;
    fs::rename(&unfinished, path)?;
    Ok(sync_folder(path)?)
}

/// The whole file, which has one of these lengths.
pub(super) fn read_private(
    path: &Path,
    lengths: &[usize],
) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let mut file = OpenOptions::new()
        .read(true)
        // Without NONBLOCK a FIFO at this place would hang the start.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed())
        .open(path)
        .map_err(opened)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(LoadError::NotPlain);
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(LoadError::Owner);
    }
    let mode = metadata.mode() & 0o777;
    if mode & !PRIVATE != 0 {
        return Err(LoadError::Mode { mode });
    }
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if !lengths.contains(&length) {
        return Err(LoadError::Damaged);
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn opened(error: io::Error) -> LoadError {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return LoadError::NotPlain;
    }
    match error.kind() {
        io::ErrorKind::NotFound => LoadError::Missing,
        _ => LoadError::Io(error),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
