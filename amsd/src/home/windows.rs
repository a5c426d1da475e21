//! Files and folders on Windows: rights that folders hand down, links of every kind, the lock.
//!
//! A folder that we make is its user's and the system's alone, and what lies in it inherits that. The
//! rights of one that was there before are left as they are.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ams_rpc::platform::{FolderError, is_link, private_dir};

use super::HomeError;

/// The largest config file that is read.
const MAX_CONFIG: u64 = 1024 * 1024;
/// Opens a link itself, and not what it leads to.
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;

fn failed(path: &Path) -> impl Fn(io::Error) -> HomeError + '_ {
    |source| HomeError::Io { path: path.to_owned(), source }
}

/// Makes a folder and its parents, or checks that what is there is one, and no link.
pub(super) fn make_dir(path: &Path) -> Result<(), HomeError> {
    Ok(private_dir(path)?)
}

/// Checks that nothing in the folder is a link: it could have been put there. Rights are inherited,
/// and left as they are.
///
/// # Errors
/// When something is a link.
pub fn tighten(folder: &Path) -> Result<(), HomeError> {
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let found = fs::symlink_metadata(&path).map_err(failed(&path))?;
        if is_link(&found) {
            return Err(FolderError::Symlink { path: path.display().to_string() }.into());
        }
    }
    Ok(())
}

/// What [`tighten`] would change: nothing.
///
/// # Errors
/// As [`tighten`].
pub fn loose(folder: &Path) -> Result<Vec<PathBuf>, HomeError> {
    tighten(folder)?;
    Ok(Vec::new())
}

/// Opens it, unless it is a link.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    if is_link(&file.metadata()?) {
        return Err(io::Error::other("it is a link"));
    }
    Ok(file)
}

/// Opens a file of ours to append to, made where it is not there.
///
/// # Errors
/// What the system says; a link is not followed.
pub fn append_private(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().append(true).create(true))
}

/// Makes a file that nothing was at before.
///
/// # Errors
/// What the system says.
pub fn new_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Writes a small file so that after a crash it is either whole or not there.
///
/// # Errors
/// What the system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = open(&beside, OpenOptions::new().write(true).create(true).truncate(true))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    replace(&beside, path)
}

/// Gives a file that is on disk another name, over whatever has it.
///
/// # Errors
/// What the system says.
pub fn replace(beside: &Path, path: &Path) -> io::Result<()> {
    fs::rename(beside, path)?;
    keep_name(path)
}

/// Nothing has to be done: the file system keeps a log of names, and a folder cannot be flushed.
///
/// # Errors
/// None.
pub fn keep_name(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The lock of a profile: held as long as this lives, and let go by the system when the process
/// dies, however it does.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Whose the lock is.
pub(super) enum Locked {
    Ours(Lock),
    /// Another process has it, this one if it says.
    Theirs(Option<u32>),
}

impl Lock {
    /// Takes the lock, and writes this process's number into it.
    pub(super) fn take(path: &Path) -> Result<Locked, HomeError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let locked = Self::try_take(path, &mut options)?;
        if let Locked::Ours(lock) = &locked {
            let mut file = &lock._file;
            file.set_len(0).map_err(failed(path))?;
            writeln!(file, "{}", std::process::id()).map_err(failed(path))?;
        }
        Ok(locked)
    }

    /// Takes the lock and leaves its file as it is.
    pub(super) fn take_existing(path: &Path) -> Result<Locked, HomeError> {
        Self::try_take(path, OpenOptions::new().read(true))
    }

    fn try_take(path: &Path, options: &mut OpenOptions) -> Result<Locked, HomeError> {
        let mut file = open(path, options).map_err(failed(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Locked::Ours(Self { _file: file })),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Here a lock keeps others from reading, too; then nobody knows whose it is.
                let read = file.rewind().and_then(|()| file.take(16).read_to_string(&mut text));
                Ok(Locked::Theirs(read.ok().and_then(|_| text.trim().parse().ok())))
            }
            Err(TryLockError::Error(error)) => Err(failed(path)(error)),
        }
    }
}

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// Named, and not there.
    #[error("there is no config file {}", .0.display())]
    Missing(PathBuf),
    /// Too large to be a config.
    #[error("the config file {} is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// The system says no.
    #[error("cannot read the config file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// Reads a config file, if it is there. A link is followed, as people keep their settings elsewhere.
/// Who may write it is not looked at.
///
/// # Errors
/// [`ConfigFileError`]; that it is not there only where it was `named`.
pub fn read_config(path: &Path, named: bool) -> Result<Option<String>, ConfigFileError> {
    let failed = |source| ConfigFileError::Io { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        // Where the home is no folder, whoever opens it says so.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return if named { Err(ConfigFileError::Missing(path.to_owned())) } else { Ok(None) };
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let limit = MAX_CONFIG.saturating_add(1);
    (&mut file).take(limit).read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_CONFIG {
        return Err(ConfigFileError::TooLarge(path.to_owned()));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use ams_rpc::places::Places;

    use super::super::Home;
    use super::*;

    #[test]
    fn one_daemon_has_a_home_and_looking_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::in_home(&folder.path().join("home"));
        assert!(matches!(Home::look(places.clone()), Err(HomeError::NoProfile(_))));
        let first = Home::open(places.clone()).unwrap();
        assert!(matches!(Home::open(places.clone()), Err(HomeError::Running { .. })));
        assert!(matches!(Home::look(places.clone()), Err(HomeError::Running { .. })));
        drop(first);
        drop(Home::look(places.clone()).unwrap());
        Home::open(places).unwrap();
    }

    #[test]
    fn a_config_is_read_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert!(read_config(&path, false).unwrap().is_none());
        assert!(matches!(read_config(&path, true), Err(ConfigFileError::Missing(_))));
        fs::write(&path, "history = \"off\"\n").unwrap();
        assert_eq!(read_config(&path, true).unwrap().unwrap(), "history = \"off\"\n");
        fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
        assert!(matches!(read_config(&path, true), Err(ConfigFileError::TooLarge(_))));
        assert!(read_config(folder.path(), true).is_err());
    }

    #[test]
    fn a_private_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        append_private(&path).unwrap().write_all(b"3").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two3");
        assert!(new_private(&path).is_err());
    }
}
