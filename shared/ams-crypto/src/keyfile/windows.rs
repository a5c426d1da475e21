//! Key files on Windows: that it is a plain file is checked on the opened file, never on its name.
//! Who may read it are those whom its folder's rights let in, which it inherits.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{CreateError, LoadError};

/// Opens a link itself, and not what it leads to.
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
/// Needed to open a folder, so that it can be seen to be one.
const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
/// A link of any kind.
const FILE_ATTRIBUTE_REPARSE_POINT: u32 = 0x0000_0400;

pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CreateError> {
    let unfinished = beside(path);
    remove(&unfinished)?;
    let written = write_synced(&unfinished, bytes).and_then(|()| {
        // A link instead of a rename: it never replaces what is there.
        fs::hard_link(&unfinished, path)
    });
    let cleaned = fs::remove_file(&unfinished);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CreateError::Exists),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(cleaned?),
    }
}

/// Puts a file in the place of the one that is there, or of none.
pub(super) fn write_over(path: &Path, bytes: &[u8]) -> Result<(), CreateError> {
    let unfinished = beside(path);
    remove(&unfinished)?;
    write_synced(&unfinished, bytes)?;
    Ok(fs::rename(&unfinished, path)?)
}

/// The whole file, which has one of these lengths.
pub(super) fn read_private(
    path: &Path,
    lengths: &[usize],
) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LoadError::Missing,
            _ => LoadError::Io(error),
        })?;
    let metadata = file.metadata()?;
    let is_link = metadata.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0;
    if !metadata.is_file() || is_link {
        return Err(LoadError::NotPlain);
    }
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if !lengths.contains(&length) {
        return Err(LoadError::Damaged);
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Left behind by a crash; it was never a key file.
fn remove(unfinished: &Path) -> io::Result<()> {
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The file system keeps a log of names; what is in a file has to be flushed.
fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::super::{
        CreateError, Kind, LoadError, create, create_sealed, load, load_with, replace,
    };
    use super::*;

    #[test]
    fn made_loaded_replaced_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(load(&path, Kind::Data), Err(LoadError::Missing)));
        // Of a crash.
        fs::write(folder.path().join("key.new"), b"AMSK").unwrap();
        create(&path, Kind::Data, &[6; 32]).unwrap();
        let secret = load(&path, Kind::Data).unwrap();
        assert_eq!(secret.as_bytes(), [6; 32]);
        assert!(matches!(create(&path, Kind::Data, &[7; 32]), Err(CreateError::Exists)));
        replace(&path, Kind::Data, &secret, Some("sesame")).unwrap();
        assert!(matches!(load(&path, Kind::Data), Err(LoadError::Sealed)));
        assert_eq!(load_with(&path, Kind::Data, "sesame").unwrap().as_bytes(), [6; 32]);
        let sealed = folder.path().join("sealed");
        create_sealed(&sealed, Kind::Data, &[6; 32], "open").unwrap();
        assert!(matches!(load_with(&sealed, Kind::Data, "shut"), Err(LoadError::Passphrase)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(folder.path(), Kind::Data), Err(LoadError::NotPlain)));
        let path = folder.path().join("long");
        fs::write(&path, [0; 200]).unwrap();
        assert!(matches!(load(&path, Kind::Data), Err(LoadError::Damaged)));
    }
}
