//! Where the bytes of the database are, and opening them: at the start, and again after the disk
//! failed.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, StorageBackend};

use super::{CACHE, StoreError};

/// What can stand in the place of a file: the engine's own trait, under our name.
pub use redb::StorageBackend as Disk;

/// Where a database is.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// On something else that keeps bytes, for simulations: a disk that fails, or loses its power.
    Disk(Arc<dyn Disk>),
}

impl Place {
    /// Bytes that are there; an error where there is no file.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(path) => std::fs::metadata(path).map(|found| found.len()),
            Self::Disk(disk) => disk.len(),
        }
    }

    /// Makes the database, where nothing or an empty file is.
    pub(crate) fn create(&self) -> Result<(), StoreError> {
        match self {
            Self::File(path) => drop(Database::builder().create(path)?),
            Self::Disk(disk) => {
                // What was cut off while it was made is made anew: whoever asks for that knows that
                // nothing was in it. A file has another name until it is whole.
                if Database::builder().create_with_backend(Shared(disk.clone())).is_err() {
                    disk.set_len(0)?;
                    drop(Database::builder().create_with_backend(Shared(disk.clone()))?);
                }
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<Database, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        match self {
            Self::File(path) => Ok(builder.open(path)?),
            Self::Disk(disk) if disk.len()? == 0 => Err(StoreError::Damaged("an empty disk")),
            Self::Disk(disk) => Ok(builder.create_with_backend(Shared(disk.clone()))?),
        }
    }
}

/// The engine takes a disk for itself; this one is opened again.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Arc<dyn Disk>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// A database that is opened anew after the disk failed. Once a read or write failed, the engine
/// takes nothing more; and what is durable is what the file says, not what the memory says.
pub(super) struct Opened {
    place: Place,
    open: RwLock<Open>,
}

struct Open {
    /// `None`: it failed, and whoever comes next opens it.
    database: Option<Database>,
    /// How many openings there were before this one.
    opening: u64,
}

impl Opened {
    pub(super) fn open(place: Place) -> Result<Self, StoreError> {
        let database = Some(place.open()?);
        Ok(Self { place, open: RwLock::new(Open { database, opening: 0 }) })
    }

    /// Runs `work`, which also says whether the disk failed under it. Then it is closed, as soon as
    /// all others who are at it have ended.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> (T, bool),
    ) -> Result<T, StoreError> {
        let open = self.get()?;
        let Some(database) = open.database.as_ref() else { return Err(StoreError::Failing) };
        let (done, failed) = work(database);
        let opening = open.opening;
        drop(open);
        if failed {
            self.close(opening);
        }
        Ok(done)
    }

    fn get(&self) -> Result<RwLockReadGuard<'_, Open>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if open.database.is_some() {
            return Ok(open);
        }
        drop(open);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.database.is_none() {
            open.database = Some(self.place.open()?);
            open.opening = open.opening.saturating_add(1);
            tracing::info!("the store is open again");
        }
        Ok(RwLockWriteGuard::downgrade(open))
    }

    fn close(&self, opening: u64) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Another one may have closed it, and a third opened it again.
        if open.opening == opening {
            open.database = None;
        }
    }
}
