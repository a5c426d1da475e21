//! A profile's keys and database are opened, or made by the first start.
//!
//! 1. the data key, then the database, then the identity in it, each durable;
//! 2. the mark, last: it says that all of these have been there.
//!
//! A crash between any two leaves a first start that the next one completes. Once the mark is
//! there, nothing is ever made anew: what is missing is lost, and an empty profile in its place
//! would hide that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ams_crypto::keyfile::{self, CreateError, Kind, LoadError};
use ams_crypto::store::StoreKey;
use ams_crypto::{Zeroizing, random};

use crate::home::{Home, append_private, replace, write_private};
use crate::migrate::migrate;
use crate::passphrase::Passphrase;
use crate::profile::Me;
use crate::store::{Disk, Place, Store, StoreError, Told};
use crate::swap;

/// Why a profile does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data key cannot be read.
    #[error("cannot read the data key {}: {source}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// The data key cannot be made.
    #[error("cannot make the data key {}: {source}", path.display())]
    NewKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: CreateError,
    },
    /// A file of a profile that existed is not there, or has nothing in it.
    #[error(
        "this profile existed, but {} is {what}: put the file back, or move the whole folder away \
         to begin anew",
        path.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// How it is.
        what: &'static str,
    },
    /// The database.
    #[error("cannot open {}: {source}{}", path.display(), advice(source))]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The profile is of a version that this program does not know.
    #[error(
        "{} is of another version of amsd: start the newer amsd that made this profile",
        path.display()
    )]
    Version {
        /// The mark.
        path: PathBuf,
    },
    /// The mark cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Mark {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What to do, where what is wrong with the database does not say so itself.
fn advice(source: &StoreError) -> &'static str {
    match source {
        StoreError::Io(_) => "; if the file is damaged, restore a backup of the folder",
        _ => "",
    }
}

/// What the mark says: the version of the folder's layout.
const MARK: &[u8] = b"ams profile 1\n";
/// Bytes of it that are read: one of another version may be longer.
const MAX_MARK: u64 = 64;

/// Opens the profile, or makes it, identity and all, where there has never been one. `told` gets
/// what every commit tells; `disk` is what the database is on in place of its file.
///
/// # Errors
/// [`OpenError`].
pub async fn open_profile(
    home: &Home,
    disk: Option<Arc<dyn Disk>>,
    told: Told,
) -> Result<(Store, Me), OpenError> {
    let path = home.database();
    let place = disk.map_or_else(|| Place::File(home.database()), Place::Disk);
    let failed = |source| OpenError::Store { path: home.database(), source };
    if existed(home, &place)? {
        let store = Store::at(place, existing_key(home)?, told).map_err(failed)?;
        return match store.read_now(|db| Me::find(db)).map_err(failed)? {
            Some(me) => {
                store.write(migrate).await.map_err(failed)?;
                Ok((store, me))
            }
            None => {
                store.close().await;
                Err(OpenError::Lost { path, what: "without an identity" })
            }
        };
    }
    let key = new_key(home)?;
    make(&place).map_err(failed)?;
    let store = Store::at(place, key, told).map_err(failed)?;
    let me = match store.read_now(|db| Me::find(db)).map_err(failed)? {
        Some(me) => me,
        None => store.write(Me::create).await.map_err(failed)?,
    };
    let mark = home.mark();
    store.write(migrate).await.map_err(failed)?;
    write_private(&mark, MARK).map_err(|source| OpenError::Mark { path: mark, source })?;
    Ok((store, me))
}

/// Makes the database, unless an earlier start came that far. A crash while it is made must not
/// leave half of it under its name.
fn make(place: &Place) -> Result<(), StoreError> {
    let Place::File(path) = place else { return place.create() };
    if place.len().is_ok_and(|len| len > 0) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    // It would be made with whatever mode the umask leaves.
    append_private(&beside)?;
    Place::File(beside.clone()).create()?;
    replace(&beside, path)?;
    Ok(())
}

/// Whether there has been a profile; then its database must be there.
///
/// # Errors
/// [`OpenError`], also where what is there is of another version.
pub fn existed(home: &Home, place: &Place) -> Result<bool, OpenError> {
    let (path, mark) = (home.database(), home.mark());
    match read_mark(&mark) {
        Ok(None) => return Ok(false),
        Ok(Some(said)) if said == MARK => {}
        Ok(Some(_)) => return Err(OpenError::Version { path: mark }),
        Err(source) => return Err(OpenError::Mark { path: mark, source }),
    }
    match place.len() {
        Ok(0) => Err(OpenError::Lost { path, what: "empty" }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::Lost { path, what: "missing" })
        }
        // What else is wrong with it shows when it is opened.
        Ok(_) | Err(_) => Ok(true),
    }
}

/// What the mark says, as far as it matters.
fn read_mark(mark: &Path) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(mark) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut said = Vec::new();
    file.take(MAX_MARK).read_to_end(&mut said)?;
    Ok(Some(said))
}

/// The key of a profile that existed.
///
/// # Errors
/// [`OpenError`], also where it is missing.
pub fn existing_key(home: &Home) -> Result<StoreKey, OpenError> {
    let path = home.key_file();
    match load(&path, home.take_passphrase().as_ref()) {
        Ok(key) => Ok(key),
        Err(LoadError::Missing) => Err(OpenError::Lost { path, what: "missing" }),
        Err(source) => Err(OpenError::Key { path, source }),
    }
}

/// The key of a first start; an earlier one may have made it.
fn new_key(home: &Home) -> Result<StoreKey, OpenError> {
    let (path, passphrase) = (home.key_file(), home.take_passphrase());
    let secret = Zeroizing::new(random::bytes::<32>());
    let made = match &passphrase {
        Some(passphrase) => {
            keyfile::create_sealed(&path, Kind::Data, &*secret, passphrase.as_str())
        }
        None => keyfile::create(&path, Kind::Data, &*secret),
    };
    match made {
        Ok(()) | Err(CreateError::Exists) => {}
        Err(source) => return Err(OpenError::NewKey { path, source }),
    }
    load(&path, passphrase.as_ref()).map_err(|source| OpenError::Key { path, source })
}

fn load(path: &Path, passphrase: Option<&Passphrase>) -> Result<StoreKey, LoadError> {
    let secret = match passphrase {
        None => keyfile::load(path, Kind::Data)?,
        Some(passphrase) => {
            if !keyfile::is_sealed(path, Kind::Data)? {
                tracing::warn!(
                    "a passphrase was given, and {} is not sealed: amsd --set-passphrase seals it",
                    path.display()
                );
            }
            keyfile::load_with(path, Kind::Data, passphrase.as_str())?
        }
    };
    let key = secret.to_array::<32>().ok_or(LoadError::Damaged)?;
    let key = StoreKey::new(&key);
    if !key.is_locked() && swap::is_in_the_clear() {
        tracing::warn!(
            "the key of this profile may be written to swap, which is not encrypted: raise the              limit of locked memory (ulimit -l), or encrypt the swap"
        );
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use ams_rpc::places::Places;

    use super::*;

    fn home(folder: &Path) -> Home {
        Home::open(Places::in_home(&folder.join("home"))).unwrap()
    }

    async fn fingerprint(home: &Home) -> Result<String, OpenError> {
        let (store, me) = open_profile(home, None, Arc::new(|_| {})).await?;
        store.close().await;
        Ok(me.public().fingerprint())
    }

    #[tokio::test]
    async fn the_first_start_makes_an_identity_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        let made = fingerprint(&home).await.unwrap();
        assert_eq!(fingerprint(&home).await.unwrap(), made);
        #[cfg(unix)]
        for file in [home.key_file(), home.database(), home.mark()] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
    }

    #[test]
    fn a_damaged_database_is_said_with_one_advice() {
        let said = |source| OpenError::Store { path: "ams.redb".into(), source }.to_string();
        for source in [StoreError::Damaged("the file"), StoreError::Io("no medium".to_owned())] {
            let said = said(source);
            assert_eq!(said.matches("restore a backup").count(), 1, "{said}");
        }
        assert!(!said(StoreError::InUse).contains("restore"));
    }

    #[tokio::test]
    async fn an_interrupted_first_start_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        // After the key.
        new_key(&home).unwrap();
        fingerprint(&home).await.unwrap();
        // After the identity, before the mark.
        fs::remove_file(home.mark()).unwrap();
        let before = fingerprint(&home).await.unwrap();
        assert!(home.mark().exists());
        assert_eq!(fingerprint(&home).await.unwrap(), before);
    }

    #[tokio::test]
    async fn what_is_lost_is_never_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        fingerprint(&home).await.unwrap();
        let lost = |error: OpenError| matches!(error, OpenError::Lost { .. });

        let aside = folder.path().join("aside");
        fs::rename(home.database(), &aside).unwrap();
        assert!(lost(fingerprint(&home).await.unwrap_err()));
        assert!(!home.database().exists());
        fs::write(home.database(), b"").unwrap();
        assert!(lost(fingerprint(&home).await.unwrap_err()));

        // A database that is whole and has nothing in it.
        fs::remove_file(home.database()).unwrap();
        let key = load(&home.key_file(), None).unwrap();
        Store::create(&home.database(), key, Arc::new(|_| {})).unwrap().close().await;
        assert!(lost(fingerprint(&home).await.unwrap_err()));

        fs::rename(&aside, home.database()).unwrap();
        fingerprint(&home).await.unwrap();
        fs::remove_file(home.key_file()).unwrap();
        assert!(lost(fingerprint(&home).await.unwrap_err()));
        assert!(!home.key_file().exists());
    }
}
