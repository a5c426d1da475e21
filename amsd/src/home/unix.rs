//! Files and folders on Unix: modes, owners, the lock.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ams_rpc::unix::FolderError;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::geteuid;

use super::HomeError;

/// The largest config file that is read.
const MAX_CONFIG: u64 = 1024 * 1024;

fn failed(path: &Path) -> impl Fn(io::Error) -> HomeError + '_ {
    |source| HomeError::Io { path: path.to_owned(), source }
}

/// Makes a folder and its parents, mode 0700, or checks that what is there is ours and no symbolic
/// link. Its mode is [`tighten`]'s.
pub(super) fn make_dir(path: &Path) -> Result<(), HomeError> {
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        // Something else than a folder; the check below says what.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(FolderError::Io { path: path.display().to_string(), source }.into());
        }
    }
    let found = fs::symlink_metadata(path).map_err(failed(path))?;
    if !found.is_dir() && !found.file_type().is_symlink() {
        return Err(FolderError::NotAFolder { path: path.display().to_string() }.into());
    }
    ours(path, &found)
}

/// Gives a folder of ours the mode 0700 and all that lies in it 0600, or 0700 where it is a folder.
///
/// # Errors
/// When something is a symbolic link or somebody else's: it could have been put there.
pub fn tighten(folder: &Path) -> Result<(), HomeError> {
    set_mode(folder, 0o700)?;
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let found = fs::symlink_metadata(&path).map_err(failed(&path))?;
        ours(&path, &found)?;
        if found.is_dir() {
            set_mode(&path, 0o700)?;
        } else if found.is_file() {
            set_mode(&path, 0o600)?;
        }
    }
    Ok(())
}

/// What [`tighten`] would change.
///
/// # Errors
/// As [`tighten`].
pub fn loose(folder: &Path) -> Result<Vec<PathBuf>, HomeError> {
    let mut found = Vec::new();
    let mut look = |path: PathBuf| {
        let there = fs::symlink_metadata(&path).map_err(failed(&path))?;
        ours(&path, &there)?;
        if there.mode() & 0o077 != 0 {
            found.push(path);
        }
        Ok::<_, HomeError>(())
    };
    look(folder.to_owned())?;
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        look(entry.map_err(failed(folder))?.path())?;
    }
    found.sort();
    Ok(found)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), HomeError> {
    let found = fs::metadata(path).map_err(failed(path))?;
    if found.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed(path))?;
    }
    Ok(())
}

fn ours(path: &Path, found: &fs::Metadata) -> Result<(), HomeError> {
    let shown = || path.display().to_string();
    if found.file_type().is_symlink() {
        return Err(FolderError::Symlink { path: shown() }.into());
    }
    if found.uid() != geteuid().as_raw() {
        return Err(FolderError::NotOurs { path: shown(), owner: found.uid() }.into());
    }
    Ok(())
}

/// Opens a file of ours to append to, made with mode 0600 where it is not there.
///
/// # Errors
/// What the system says; a symbolic link is not followed.
pub fn append_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Makes a file that nothing was at before, mode 0600.
///
/// # Errors
/// What the system says.
pub fn new_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a small file so that after a crash it is either whole or not there, mode 0600.
///
/// # Errors
/// What the system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = parent.join(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    replace(&beside, path)
}

/// Gives a file that is on disk another name, durably, over whatever has it.
///
/// # Errors
/// What the system says.
pub fn replace(beside: &Path, path: &Path) -> io::Result<()> {
    fs::rename(beside, path)?;
    keep_name(path)
}

/// Has the name of a file on disk as well as what is in it.
///
/// # Errors
/// What the system says.
pub fn keep_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)?.sync_all()
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
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
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
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = options.custom_flags(nofollow).open(path).map_err(failed(path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Locked::Ours(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.rewind().map_err(failed(path))?;
                file.take(16).read_to_string(&mut text).map_err(failed(path))?;
                Ok(Locked::Theirs(text.trim().parse().ok()))
            }
            Err(error) => Err(failed(path)(error.into())),
        }
    }
}

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// Named, and not there.
    #[error("there is no config file {}", .0.display())]
    Missing(PathBuf),
    /// Somebody else's.
    #[error("the config file {} belongs to user {owner}, not to you", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// Others may write it.
    #[error(
        "the config file {path} can be written by others; run: chmod go-w '{path}'",
        path = .0.display()
    )]
    Loose(PathBuf),
    /// Too large to be a config.
    #[error("the config file {} is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// Its folder.
    #[error("cannot look into the folder {}: {source}; choose one of your own", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system says no.
    #[error("cannot read the config file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// Reads a config file, if it is there. A symbolic link is followed, as people keep their settings
/// elsewhere; what counts is the file that was opened: ours or the system's, and written by nobody
/// else.
///
/// # Errors
/// [`ConfigFileError`]; that it is not there only where it was `named`.
pub fn read_config(path: &Path, named: bool) -> Result<Option<String>, ConfigFileError> {
    let failed = |source| ConfigFileError::Io { path: path.to_owned(), source };
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = match OpenOptions::new().read(true).custom_flags(nonblock).open(path) {
        Ok(file) => file,
        // Where the home is no folder, whoever opens it says so.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return if named { Err(ConfigFileError::Missing(path.to_owned())) } else { Ok(None) };
        }
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            // Nothing can be said of the file where its folder lets nobody look.
            return Err(match (fs::symlink_metadata(path), path.parent()) {
                (Err(_), Some(folder)) => {
                    ConfigFileError::Folder { path: folder.to_owned(), source }
                }
                _ => failed(source),
            });
        }
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if found.uid() != geteuid().as_raw() && found.uid() != 0 {
        return Err(ConfigFileError::NotOurs { path: path.to_owned(), owner: found.uid() });
    }
    if found.mode() & 0o022 != 0 {
        return Err(ConfigFileError::Loose(path.to_owned()));
    }
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
    use super::*;

    #[test]
    fn a_config_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert!(read_config(&path, false).unwrap().is_none());
        assert!(matches!(read_config(&path, true), Err(ConfigFileError::Missing(_))));
        fs::write(&path, "history = \"off\"\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_config(&path, true).unwrap().unwrap(), "history = \"off\"\n");
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let refused = read_config(&path, true).unwrap_err().to_string();
        assert!(refused.contains("chmod go-w"), "{refused}");
        assert!(read_config(folder.path(), true).is_err());
        assert!(read_config(&path.join("below"), false).unwrap().is_none());
    }

    #[test]
    fn a_private_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
