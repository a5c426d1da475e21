//! The folders of a profile: made private, checked, and held by one daemon at a time.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ams_rpc::places::Places;
use ams_rpc::platform::{
    BindError, FolderError, check_private_dir, check_socket_path, private_dir,
};

#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
use windows as platform;

pub use platform::{
    ConfigFileError, append_private, keep_name, loose, new_private, read_config, replace, tighten,
    write_private,
};
use platform::{Lock, Locked};

use crate::passphrase::Passphrase;

/// The file of the data key, in the folder of the data.
pub(crate) const KEY_FILE: &str = "data.key";

/// Why a profile's folders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A folder is not private, or cannot be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The path of the socket is too long.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// Another daemon has it.
    #[error(
        "amsd is running for this profile already{}: {}; amsctl stop ends it",
        pid.map(|pid| format!(", pid {pid}")).unwrap_or_default(),
        data.display()
    )]
    Running {
        /// The other one's process, once it has written it down.
        pid: Option<u32>,
        /// The folder that it holds.
        data: PathBuf,
    },
    /// There is no profile to look at.
    #[error("there is no profile in {}; the first start of amsd makes one", .0.display())]
    NoProfile(PathBuf),
    /// The system says no.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// The folders of one profile, held until this is dropped.
#[derive(Debug)]
pub struct Home {
    places: Places,
    /// Until the key file is opened.
    passphrase: Mutex<Option<Passphrase>>,
    _lock: Lock,
}

impl Home {
    /// Makes what is missing, checks what is there and takes hold of it.
    ///
    /// # Errors
    /// [`HomeError`]; a profile that another daemon holds is left as it is.
    pub fn open(places: Places) -> Result<Self, HomeError> {
        check_socket_path(&places.socket)?;
        if let Some(home) = &places.home {
            private_dir(home)?;
        }
        platform::make_dir(&places.data)?;
        let lock = match Lock::take(&places.data.join(LOCK))? {
            Locked::Ours(lock) => lock,
            Locked::Theirs(pid) => return Err(HomeError::Running { pid, data: places.data }),
        };
        tighten(&places.data)?;
        private_dir(&places.runtime)?;
        Ok(Self { places, passphrase: Mutex::default(), _lock: lock })
    }

    /// Takes hold of a profile that is there, and changes nothing at all.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn look(places: Places) -> Result<Self, HomeError> {
        check_socket_path(&places.socket)?;
        if let Some(home) = places.home.as_ref().filter(|home| home.exists()) {
            check_private_dir(home)?;
        }
        if !places.data.join(LOCK).exists() {
            return Err(HomeError::NoProfile(places.data));
        }
        check_private_dir(&places.data)?;
        match Lock::take_existing(&places.data.join(LOCK))? {
            Locked::Ours(lock) => Ok(Self { places, passphrase: Mutex::default(), _lock: lock }),
            Locked::Theirs(pid) => Err(HomeError::Running { pid, data: places.data }),
        }
    }

    /// The same, whose key file opens with this passphrase.
    #[must_use]
    pub fn with(self, passphrase: Option<Passphrase>) -> Self {
        Self { passphrase: Mutex::new(passphrase), ..self }
    }

    /// What the key file opens with, for whoever opens it. It is asked for once.
    pub(crate) fn take_passphrase(&self) -> Option<Passphrase> {
        self.passphrase.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Where everything is.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The folder that the user knows this profile by.
    #[must_use]
    pub fn shown(&self) -> &Path {
        self.places.home.as_deref().unwrap_or(&self.places.data)
    }

    /// The file of the data key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.places.data.join(KEY_FILE)
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.places.data.join("amsd.redb")
    }

    /// The mark that a first start was completed: from then on, keys or messages that are not
    /// there are lost, and not just not made yet.
    #[must_use]
    pub fn mark(&self) -> PathBuf {
        self.places.data.join("profile")
    }
}

/// The file that the one daemon of a profile holds, with its process number in it.
const LOCK: &str = "lock";

/// Where a daemon in the background writes its log.
#[must_use]
pub fn log_file(places: &Places) -> PathBuf {
    places.data.join("amsd.log")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn places(folder: &Path) -> Places {
        Places::in_home(&folder.join("home"))
    }

    #[test]
    fn folders_are_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let home = Home::open(places.clone()).unwrap();
        assert_eq!(mode(&folder.path().join("home")), 0o700);
        assert_eq!(mode(&places.data), 0o700);
        assert_eq!(mode(&places.data.join(LOCK)), 0o600);
        assert_eq!(home.shown(), folder.path().join("home"));
    }

    #[test]
    fn data_that_became_loose_is_tightened() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        drop(Home::open(places.clone()).unwrap());
        fs::write(places.data.join("amsd.redb"), "").unwrap();
        fs::set_permissions(&places.data, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(places.data.join("amsd.redb"), fs::Permissions::from_mode(0o644))
            .unwrap();
        drop(Home::open(places.clone()).unwrap());
        assert_eq!(mode(&places.data), 0o700);
        assert_eq!(mode(&places.data.join("amsd.redb")), 0o600);
    }

    #[test]
    fn a_home_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Home::open(places).unwrap_err();
        assert!(refused.to_string().contains("chmod go-w"), "{refused}");
        assert!(!home.join("data").exists());
    }

    #[test]
    fn links_among_the_data_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        drop(Home::open(places.clone()).unwrap());
        symlink("/etc/passwd", places.data.join("amsd.redb")).unwrap();
        assert!(Home::open(places).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn the_second_one_names_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let first = Home::open(places.clone()).unwrap();
        let second = Home::open(places.clone()).unwrap_err();
        assert!(second.to_string().contains(&format!("pid {}", std::process::id())), "{second}");
        assert!(matches!(Home::look(places.clone()), Err(HomeError::Running { pid: Some(_), .. })));
        drop(first);
        drop(Home::look(places.clone()).unwrap());
        Home::open(places).unwrap();
    }

    #[test]
    fn looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Home::look(places(folder.path())), Err(HomeError::NoProfile(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_long_socket_path_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(120));
        let refused = Home::open(Places::in_home(&long)).unwrap_err();
        assert!(refused.to_string().contains("shorter home folder"), "{refused}");
        assert!(!long.exists());
    }
}
