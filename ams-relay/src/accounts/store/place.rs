//! Where the bytes of the accounts are, and opening them: at the start, and again after the disk
//! failed.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, StorageBackend};

use super::{StoreError, builder, in_transaction, tables};

/// What can stand in the place of a file: the engine's own trait, under our name.
pub use redb::StorageBackend as Disk;

/// Where a database is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    /// In memory, or in a simulation's hands: a disk that fails, or loses its power.
    Disk(Arc<dyn Disk>),
}

impl Place {
    fn open(&self) -> Result<Database, StoreError> {
        match self {
            Self::File(path) => Ok(builder().open(path)?),
            Self::Disk(disk) => Ok(builder().create_with_backend(Shared(disk.clone()))?),
        }
    }
}

/// The engine takes a disk for itself; this one is opened again.
#[derive(Debug)]
struct Shared(Arc<dyn Disk>);

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
        let database = place.open()?;
        // A commit costs the disk two syncs, so only where it is needed.
        if !tables::are_there(&database)? {
            in_transaction(&database, tables::create)?;
        }
        Ok(Self { place, open: RwLock::new(Open { database: Some(database), opening: 0 }) })
    }

    /// Runs `work`, once more where something else had failed before it. Once it failed itself the
    /// database is closed, as soon as all others who are at it have ended.
    pub(super) fn with<T>(
        &self,
        mut work: impl FnMut(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.once(&mut work) {
            Err(error) if error.is_of_another() => self.once(&mut work),
            done => done,
        }
    }

    fn once<T>(
        &self,
        work: &mut impl FnMut(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let open = self.get()?;
        let Some(database) = open.database.as_ref() else { return Err(StoreError::Closed) };
        let done = work(database);
        let opening = open.opening;
        drop(open);
        if let Err(error) = &done
            && error.is_of_the_disk()
        {
            self.close(opening, error);
        }
        done
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
            tracing::info!("the accounts are open again");
        }
        Ok(RwLockWriteGuard::downgrade(open))
    }

    fn close(&self, opening: u64, error: &StoreError) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Another one may have closed it, and a third opened it again.
        if open.opening == opening && open.database.take().is_some() {
            tracing::error!(%error, "the accounts cannot be read or written");
        }
    }
}
