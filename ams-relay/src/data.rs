//! The data folder: made 0700, one process at a time, and what lies in it:
//!
//! ```text
//! relay.key      the X25519 key that every link to this relay names
//! oprf.seed      OPAQUE's seed: only with it do the stored records allow guessing
//! opaque.keys    OPAQUE's other keys
//! accounts.redb  the accounts
//! address        where the relay is reached, written by `serve`
//! relay.lock     held by whoever uses the folder; its text is that process's number
//! relay.sock     the administrator's socket, while the relay runs
//! ```

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ams_crypto::dh::DhSecret;
use ams_crypto::keyfile::{self, CreateError, Kind, LoadError};
use ams_crypto::opaque::{BadRelayKeys, RelayAccounts};
use ams_wire::address::{HostPort, Link, RELAY_PORT, RelayLink};
use ams_wire::id::Key;

use crate::accounts::AccountsError;
use crate::accounts::store::{Disk, Store};
use platform::Lock;

/// The administrator's socket.
pub const SOCKET: &str = "relay.sock";
const RELAY_KEY: &str = "relay.key";
const SEED: &str = "oprf.seed";
const OPAQUE_KEYS: &str = "opaque.keys";
const ACCOUNTS: &str = "accounts.redb";
const ADDRESS: &str = "address";
const LOCK: &str = "relay.lock";

/// The key files, which a backup keeps apart from the accounts.
pub const KEY_FILES: [&str; 3] = [RELAY_KEY, SEED, OPAQUE_KEYS];

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The folder itself.
    #[error(transparent)]
    Folder(#[from] ams_rpc::unix::FolderError),
    /// There is no relay in it.
    #[error("there is no relay in {}: `ams-relay serve` makes one there", .0.display())]
    Missing(PathBuf),
    /// Somebody else uses it.
    #[error(
        "{} is in use by the process {pid}; stop that one first, or choose another folder with \
         --data",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that uses it, as far as it said.
        pid: String,
    },
    /// A key file is missing although there are accounts, or the other way round: what belongs
    /// together was torn apart.
    #[error(
        "{} is missing although there is a relay in {}: put it back from the backup; without it \
         the accounts are lost", file, path.display()
    )]
    Torn {
        /// The folder.
        path: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// A key file cannot be used.
    #[error("{file}: {source}")]
    Key {
        /// The file.
        file: &'static str,
        /// Why.
        source: LoadError,
    },
    /// A key file cannot be made.
    #[error("{file}: {source}")]
    NewKey {
        /// The file.
        file: &'static str,
        /// Why.
        source: CreateError,
    },
    /// The OPAQUE keys make no sense.
    #[error("{SEED} and {OPAQUE_KEYS}: {0}")]
    Opaque(#[from] BadRelayKeys),
    /// The accounts cannot be opened.
    #[error("{ACCOUNTS}: {0}")]
    Accounts(#[from] AccountsError),
    /// No address is recorded yet.
    #[error("the relay has no address yet: `ams-relay serve` finds it out at its first start")]
    NoAddress,
    /// The system refused.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// A data folder that this process holds.
#[derive(Debug)]
pub struct Data {
    path: PathBuf,
    _lock: Lock,
}

/// The relay's keys.
#[derive(Debug)]
pub struct Keys {
    /// Its link key.
    pub link: DhSecret,
    /// Its OPAQUE keys.
    pub opaque: RelayAccounts,
}

impl Data {
    /// Makes the folder or takes the one that is there.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn claim(path: &Path) -> Result<Self, DataError> {
        ams_rpc::unix::private_dir(path)?;
        let io = |source| DataError::Io { path: path.to_owned(), source };
        platform::restrict(path).map_err(io)?;
        match Lock::take(&path.join(LOCK)).map_err(io)? {
            Ok(lock) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(pid) => Err(DataError::InUse { path: path.to_owned(), pid }),
        }
    }

    /// Takes the folder of a relay that exists.
    ///
    /// # Errors
    /// [`DataError::Missing`] where there is none; nothing is made then.
    pub fn claim_existing(path: &Path) -> Result<Self, DataError> {
        if !has_relay(path) {
            return Err(DataError::Missing(path.to_owned()));
        }
        Self::claim(path)
    }

    /// Opens the accounts and the keys; makes them at the first start.
    ///
    /// # Errors
    /// [`DataError`]; what was there is unchanged.
    pub fn open(&self) -> Result<(Store, Keys), DataError> {
        let accounts = self.path.join(ACCOUNTS);
        // The accounts are made last: their file says that the rest is complete.
        let found = accounts.exists();
        let keys = self.keys(found)?;
        let store = if found { Store::open(&accounts)? } else { self.new_store(&accounts)? };
        Ok((store, keys))
    }

    /// As [`Data::open`], with the accounts on `disk` in place of their file, for simulations.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn open_on(&self, disk: Arc<dyn Disk>) -> Result<(Store, Keys), DataError> {
        let found = disk.len().is_ok_and(|len| len > 0);
        Ok((Store::on(disk)?, self.keys(found)?))
    }

    fn keys(&self, found: bool) -> Result<Keys, DataError> {
        let link = self.secret(found, RELAY_KEY, Kind::RelayLink, || {
            DhSecret::generate().to_bytes().to_vec()
        })?;
        let fresh = if found { None } else { Some(RelayAccounts::generate()?) };
        let fresh = |of: fn(&RelayAccounts) -> Vec<u8>| fresh.as_ref().map(of).unwrap_or_default();
        let keys = self.secret(found, OPAQUE_KEYS, Kind::OpaqueKeys, || {
            fresh(|accounts| accounts.keys().to_vec())
        })?;
        let seed = self
            .secret(found, SEED, Kind::OpaqueSeed, || fresh(|accounts| accounts.seed().to_vec()))?;
        let damaged = |file| DataError::Key { file, source: LoadError::Damaged };
        let link = link.to_array().ok_or_else(|| damaged(RELAY_KEY))?;
        let keys = keys.to_array().ok_or_else(|| damaged(OPAQUE_KEYS))?;
        let seed = seed.to_array().ok_or_else(|| damaged(SEED))?;
        let opaque = RelayAccounts::from_parts(&seed, &keys)?;
        Ok(Keys { link: DhSecret::from_bytes(&link), opaque })
    }

    /// A crash while the file is made must not leave half of it under its name.
    fn new_store(&self, path: &Path) -> Result<Store, DataError> {
        let unfinished = path.with_extension("new");
        let io = |source| DataError::Io { path: path.to_owned(), source };
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        Store::create(&unfinished)?;
        fs::rename(&unfinished, path).map_err(io)?;
        platform::sync_folder(&self.path).map_err(io)?;
        Ok(Store::open(path)?)
    }

    fn secret(
        &self,
        must_exist: bool,
        file: &'static str,
        kind: Kind,
        fresh: impl FnOnce() -> Vec<u8>,
    ) -> Result<keyfile::Secret, DataError> {
        let path = self.path.join(file);
        match keyfile::load(&path, kind) {
            Ok(secret) => return Ok(secret),
            Err(LoadError::Missing) if must_exist => {
                return Err(DataError::Torn { path: self.path.clone(), file });
            }
            Err(LoadError::Missing) => {}
            Err(source) => return Err(DataError::Key { file, source }),
        }
        let fresh = ams_crypto::Zeroizing::new(fresh());
        keyfile::create(&path, kind, &fresh)
            .map_err(|source| DataError::NewKey { file, source })?;
        keyfile::load(&path, kind).map_err(|source| DataError::Key { file, source })
    }

    /// Records where the relay is reached. Not made safe against a power cut: the next start writes
    /// it again.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn record_address(&self, at: &HostPort) -> Result<(), DataError> {
        let path = self.path.join(ADDRESS);
        let text = format!("{at}\n");
        // A relay whose disk is full starts all the same, at the address that it had.
        if fs::read(&path).is_ok_and(|recorded| recorded == text.as_bytes()) {
            return Ok(());
        }
        platform::replace(&path, text.as_bytes()).map_err(|source| DataError::Io { path, source })
    }

    /// Where the relay is reached, as `serve` recorded it.
    ///
    /// # Errors
    /// [`DataError::NoAddress`].
    pub fn address(&self) -> Result<HostPort, DataError> {
        let text = fs::read_to_string(self.path.join(ADDRESS)).map_err(|_| DataError::NoAddress)?;
        HostPort::parse(text.trim(), RELAY_PORT).map_err(|_| DataError::NoAddress)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a relay was made in this folder.
pub fn has_relay(path: &Path) -> bool {
    path.join(ACCOUNTS).exists()
}

/// Reads the key files of the relay in this folder, and changes nothing.
///
/// # Errors
/// [`DataError::Torn`] and [`DataError::Key`].
pub fn check_keys(path: &Path) -> Result<(), DataError> {
    let kinds = [Kind::RelayLink, Kind::OpaqueSeed, Kind::OpaqueKeys];
    for (file, kind) in KEY_FILES.into_iter().zip(kinds) {
        match keyfile::load(&path.join(file), kind) {
            Ok(_) => {}
            Err(LoadError::Missing) => {
                return Err(DataError::Torn { path: path.to_owned(), file });
            }
            Err(source) => return Err(DataError::Key { file, source }),
        }
    }
    Ok(())
}

/// Writes a file with mode 0600 where nothing is.
///
/// # Errors
/// What the system says; `AlreadyExists` where there is something.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    platform::write_new(path, bytes)
}

/// A new file of mode 0600, to be read and written.
///
/// # Errors
/// What the system says; `AlreadyExists` where there is something.
pub(crate) fn new_file(path: &Path) -> io::Result<fs::File> {
    platform::new_file(path)
}

/// The link of the relay that holds `key` and is reached at `at`.
pub fn link(key: &DhSecret, at: &HostPort) -> RelayLink {
    RelayLink { at: at.clone(), relay: Key(*key.public().as_bytes()) }
}

/// The text of a relay's link.
pub fn link_text(link: &RelayLink) -> String {
    Link::Relay(link.clone()).to_string()
}
