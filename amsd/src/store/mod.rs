//! The one door to the disk.
//!
//! 1. [`Store::write`] hands a closure to the writer ([`writer`]), a thread of its own;
//! 2. the writer runs all closures that wait in one transaction ([`txn`]), each over sealed rows
//!    of typed tables ([`table`]);
//! 3. it commits durably, answers the callers, and tells what the closures told ([`crate::fact`]).
//!
//! [`Store::read`] runs on a snapshot beside that; [`place`] is where the bytes are, and opens them
//! again after the disk failed; [`mod@inspect`] looks at the database of a daemon that does not run.
//! In a simulation ([`Store::inline_on`]) the writer is a task and reads run where they are asked
//! for, so that virtual time stands still meanwhile. No redb type leaves this folder.

pub mod inspect;
mod place;
mod table;
#[cfg(test)]
mod tests;
mod txn;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ams_crypto::store::StoreKey;
use ams_rpc::server::{MAX_CALLS, MAX_CONNECTIONS};
use redb::ReadableDatabase;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::fact::Fact;
use place::Opened;
pub use place::{Disk, Place};
pub use table::{Key, Table};
use txn::Sealer;
pub use txn::{Found, Read, Rows, Txn, View};
use writer::{Job, Task, Writer};

/// redb's own default is 1 GiB; what a messenger has at hand fits in this.
const CACHE: usize = 8 << 20;

/// Closures that may wait for the writer: one for every call that the clients can have under way,
/// and as many for the links. So it is full for nobody, and what callers ask for in turn is done in turn;
/// beyond it a caller waits, and may be overtaken.
const WAITING: usize = 2 * MAX_CONNECTIONS * MAX_CALLS;

/// What went wrong with the disk. Cloned to everybody whose work was in the same commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space left.
    #[error("the disk is full: free some space, nothing was changed")]
    Full,
    /// The system refused a read or write.
    #[error("the store could not be read or written: {0}")]
    Io(String),
    /// Something else failed a moment before, and the file has to be opened anew.
    #[error("the store failed a moment ago: try again")]
    Failing,
    /// A row or the file is not what was written.
    #[error("the store is damaged ({0}): restore a backup, or keep the folder and ask for help")]
    Damaged(&'static str),
    /// Another process has the file open.
    #[error("the store is in use by another process")]
    InUse,
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopped,
}

impl StoreError {
    /// Whether reading or writing failed, after which the file has to be opened anew.
    fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Full | Self::Io(_) | Self::Failing)
    }
}

impl From<redb::StorageError> for StoreError {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Io(error) => error.into(),
            redb::StorageError::Corrupted(_) => Self::Damaged("the file"),
            redb::StorageError::PreviousIo => Self::Failing,
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<redb::TableError> for StoreError {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(storage) => storage.into(),
            _ => Self::Damaged("a table"),
        }
    }
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(storage) => storage.into(),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for StoreError {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(storage) => storage.into(),
            other => Self::Io(other.to_string()),
        }
    }
}

impl From<redb::DatabaseError> for StoreError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::Storage(storage) => storage.into(),
            redb::DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            other => Self::Io(other.to_string()),
        }
    }
}

/// Told, in order, what was committed.
pub type Told = Arc<dyn Fn(Vec<Fact>) + Send + Sync>;

/// A profile's database. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Box<dyn Job>>,
    shared: Arc<Shared>,
    runs: Runs,
    /// Its sender goes with the writer.
    ended: watch::Receiver<()>,
}

/// Where the work of a store is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// Off the async threads.
    Aside,
    /// On the runtime's own thread.
    Inline,
}

struct Shared {
    file: Opened,
    sealer: Sealer,
    commits: AtomicU64,
    writes: AtomicU64,
}

/// What was written and looked at since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Durable commits.
    pub commits: u64,
    /// Closures of [`Store::write`] that they were for: several may share one.
    pub writes: u64,
    /// Rows that were looked at, also for reading.
    pub seen: u64,
}

impl Store {
    /// Makes a new store at `path`.
    ///
    /// # Errors
    /// [`StoreError`]; also when there is a file at `path` that is no empty store.
    pub fn create(path: &Path, key: StoreKey, told: Told) -> Result<Self, StoreError> {
        let place = Place::File(path.to_owned());
        place.create()?;
        Self::at(place, key, told)
    }

    /// Opens the store at `path`, which must exist.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path, key: StoreKey, told: Told) -> Result<Self, StoreError> {
        Self::at(Place::File(path.to_owned()), key, told)
    }

    /// Opens the store that is in that place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn at(place: Place, key: StoreKey, told: Told) -> Result<Self, StoreError> {
        Self::start(place, key, told, Runs::Aside)
    }

    /// Opens, or makes, the store on a disk of a simulation. Call within a runtime.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn inline_on<D: Disk>(
        disk: impl Fn() -> D + Send + Sync + 'static,
        key: StoreKey,
        told: Told,
    ) -> Result<Self, StoreError> {
        let place = Place::Disk(Arc::new(disk()));
        if place.len()? == 0 {
            place.create()?;
        }
        Self::start(place, key, told, Runs::Inline)
    }

    fn start(place: Place, key: StoreKey, told: Told, runs: Runs) -> Result<Self, StoreError> {
        let file = Opened::open(place)?;
        let (commits, writes) = Default::default();
        let shared = Arc::new(Shared { file, sealer: Sealer::new(key), commits, writes });
        let (jobs, queue) = mpsc::channel(WAITING);
        let writer = Writer { shared: shared.clone(), queue, told, stumbled: false };
        let (ending, ended) = watch::channel(());
        match runs {
            Runs::Aside => {
                let run = move || {
                    writer.run();
                    drop(ending);
                };
                std::thread::Builder::new()
                    .name("store".into())
                    .spawn(run)
                    .map_err(|error| StoreError::Io(error.to_string()))?;
            }
            // Whoever closes the store waits for it, by what it drops last.
            Runs::Inline => drop(tokio::spawn(async move {
                writer.run_inline().await;
                drop(ending);
            })),
        }
        Ok(Self { jobs, shared, runs, ended })
    }

    /// Waits until the file is closed, which it is when every other clone is dropped as well.
    pub async fn close(self) {
        let mut ended = self.ended.clone();
        drop(self);
        // Nothing is ever sent.
        let _ = ended.changed().await;
    }

    /// Runs `work` in a transaction and answers once that is durable on disk. Others' work may
    /// share the transaction; each closure sees what ran before it.
    ///
    /// `work` checks everything before its first change. When it fails after a change, or when
    /// another one does, the transaction is rolled back and `work` runs again: it must not have
    /// effects of its own. Once called, it runs even if the caller stops waiting. Writes run in the order
    /// in which they were first polled.
    ///
    /// # Errors
    /// What `work` answers, or the disk's error.
    pub async fn write<T, E>(
        &self,
        work: impl FnMut(&Txn<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Task::new(work, reply));
        // Not by a send that waits: one whose task has had its turn gives way to the next caller.
        let waits = match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job)) => self.jobs.send(job).await.map_err(|_| ()),
            Err(TrySendError::Closed(_)) => Err(()),
        };
        if waits.is_err() {
            return Err(StoreError::Stopped.into());
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    /// How much was written and looked at.
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            commits: of(&self.shared.commits),
            writes: of(&self.shared.writes),
            seen: of(&self.shared.sealer.seen),
        }
    }

    /// Runs `look` on a snapshot of what is durable, off the async threads.
    ///
    /// # Errors
    /// What `look` answers, or the disk's error.
    pub async fn read<T, E>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if self.runs == Runs::Inline {
            return self.shared.look(look);
        }
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.look(look))
            .await
            .unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    /// As [`Store::read`], on this thread: for the start, before anything else runs.
    ///
    /// # Errors
    /// What `look` answers, or the disk's error.
    pub fn read_now<T, E: From<StoreError>>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.shared.look(look)
    }
}

impl Shared {
    fn committed(&self, writes: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(u64::try_from(writes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn look<T, E: From<StoreError>>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut look = Some(look);
        loop {
            let looked = self.file.with(|db| {
                let raw = match db.begin_read().map_err(StoreError::from) {
                    // It failed under somebody else: this look has not begun.
                    Err(StoreError::Failing) => return (None, true),
                    Err(error) => return (Some(Err(error.clone().into())), error.is_of_the_disk()),
                    Ok(raw) => raw,
                };
                let view = View::new(&raw, &self.sealer);
                let looked = look.take().map(|look| look(&view));
                (looked, view.has_failed())
            })?;
            match looked {
                Some(looked) => return looked,
                None if look.is_none() => return Err(StoreError::Failing.into()),
                None => {}
            }
        }
    }
}
