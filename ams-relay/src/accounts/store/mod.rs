//! The store in redb: one file. redb's types are not seen outside this folder.
//!
//! Everything runs off the async threads. Writers that wait at the same time share one commit: a
//! commit costs the disk two syncs, however much is in it. In a simulation it runs where it is
//! called, each writer alone: virtual time stands still meanwhile.

mod administration;
mod contacts;
mod enrolment;
mod error;
mod place;
mod tables;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ams_crypto::token::TokenHash;
use ams_wire::from_relay::{Redeemed, Request};
use ams_wire::id::{ApprovalId, Blob, Handle, Key, RoutingId, WorkMark};
use ams_wire::username::Username;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use tokio::sync::oneshot;

use super::row::ContactRow;
use super::{
    Accounts, AccountsError, Approval, Approved, Device, Enrolled, Invited, OpenInvite, Pending,
    Record, Snapshot, Unwilling, User, Wish,
};
use error::StoreError;
pub use place::Disk;
use place::{Opened, Place};

/// redb's cache; its own default is a gibibyte.
const CACHE: usize = 4 * 1024 * 1024;
/// Writers that share one commit at most, so that none waits for very many others.
const GROUP: usize = 256;

/// The store. Clones are the same one.
#[derive(Clone)]
pub struct Store {
    file: Arc<Opened>,
    waiting: Arc<Mutex<Waiting>>,
    runs: Runs,
}

/// Where the work of a store is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// Off the async threads.
    Aside,
    /// Where it is called.
    Inline,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store(..)")
    }
}

#[derive(Default)]
struct Waiting {
    writers: Vec<Box<dyn Writer>>,
    /// A thread is writing, and looks here again before it ends.
    is_served: bool,
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn file_database(file: File) -> Result<Database, redb::DatabaseError> {
    builder().create_with_backend(FileBackend::new(file)?)
}

/// A new file, mode 0600, that nothing was at before.
fn create_file(path: &Path) -> Result<File, StoreError> {
    crate::data::new_file(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists,
        _ => error.into(),
    })
}

impl Store {
    /// Makes the file.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn create(path: &Path) -> Result<(), AccountsError> {
        let database = file_database(create_file(path)?).map_err(StoreError::from)?;
        Ok(in_transaction(&database, tables::create)?)
    }

    /// Opens a file that was made before; an empty one is an error, not a new store.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn open(path: &Path) -> Result<Self, AccountsError> {
        Self::at(Place::File(path.to_owned()), Runs::Aside)
    }

    /// A store in memory, for simulations.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn in_memory() -> Result<Self, AccountsError> {
        Self::on(Arc::new(InMemoryBackend::new()))
    }

    /// A store on something that keeps bytes, for simulations; made where nothing is on it.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn on(disk: Arc<dyn Disk>) -> Result<Self, AccountsError> {
        Self::at(Place::Disk(disk), Runs::Aside)
    }

    /// As [`Store::on`], run where it is called.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub fn inline_on(disk: impl Disk) -> Result<Self, AccountsError> {
        Self::at(Place::Disk(Arc::new(disk)), Runs::Inline)
    }

    fn at(place: Place, runs: Runs) -> Result<Self, AccountsError> {
        Ok(Self { file: Arc::new(Opened::open(place)?), waiting: Arc::default(), runs })
    }

    fn read<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Pending<T> {
        let file = Arc::clone(&self.file);
        if self.runs == Runs::Inline {
            return Box::pin(async move { Ok(file.with(|db| work(&db.begin_read()?))?) });
        }
        let done = tokio::task::spawn_blocking(move || file.with(|db| work(&db.begin_read()?)));
        Box::pin(async move {
            match done.await {
                Ok(result) => result.map_err(AccountsError::from),
                Err(_) => Err(AccountsError::Failed("the store has stopped".to_owned())),
            }
        })
    }

    /// As [`Store::write`], where the rows that `look` sees are to be changed; its answer otherwise.
    /// Only for what concerns the caller's own rows: how long it takes tells whether it did anything.
    fn write_if<T: Send + 'static>(
        &self,
        look: impl FnMut(&ReadTransaction) -> Result<Option<T>, StoreError> + Send + 'static,
        work: impl FnMut(&WriteTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Pending<T> {
        let store = self.clone();
        Box::pin(async move {
            match store.read(look).await? {
                Some(as_it_was) => Ok(as_it_was),
                None => store.write(work).await,
            }
        })
    }

    /// Runs `work` in a transaction that it shares with whoever writes at the same time. It may be
    /// run again, if another of them fails.
    fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&WriteTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Pending<T> {
        let (answer, done) = oneshot::channel();
        let writer = Box::new(WriterOf { work, result: None, answer });
        let starts = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.writers.push(writer);
            !std::mem::replace(&mut waiting.is_served, true)
        };
        if starts {
            let store = self.clone();
            match self.runs {
                Runs::Aside => drop(tokio::task::spawn_blocking(move || store.serve_writers())),
                Runs::Inline => store.serve_writers(),
            }
        }
        Box::pin(async move {
            let stopped = || AccountsError::Failed("the store has stopped".to_owned());
            done.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    fn serve_writers(self) {
        loop {
            let mut group: Vec<_> = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let size = waiting.writers.len().min(GROUP);
                waiting.writers.drain(..size).collect()
            };
            let together = self.commit(|txn| group.iter_mut().try_for_each(|one| one.run(txn)));
            let outcomes: Vec<_> = if together.is_ok() || group.len() == 1 {
                group.into_iter().map(|writer| (writer, together.clone())).collect()
            } else {
                let alone = |mut writer: Box<dyn Writer>| {
                    let outcome = self.commit(|txn| writer.run(txn));
                    (writer, outcome)
                };
                group.into_iter().map(alone).collect()
            };
            let is_last = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.is_served = !waiting.writers.is_empty();
                !waiting.is_served
            };
            let answer =
                || outcomes.into_iter().for_each(|(writer, outcome)| writer.finish(outcome));
            if is_last {
                // Whoever stops the relay after this answer may open the file again.
                drop(self);
                return answer();
            }
            answer();
        }
    }

    fn commit(
        &self,
        mut work: impl FnMut(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), AccountsError> {
        Ok(self.file.with(|database| in_transaction(database, &mut work))?)
    }
}

fn in_transaction(
    database: &Database,
    work: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    // A crash costs no scan of the file at the next start.
    txn.set_quick_repair(true);
    work(&txn)?;
    txn.commit()?;
    Ok(())
}

trait Writer: Send {
    fn run(&mut self, txn: &WriteTransaction) -> Result<(), StoreError>;
    fn finish(self: Box<Self>, outcome: Result<(), AccountsError>);
}

struct WriterOf<F, T> {
    work: F,
    result: Option<T>,
    answer: oneshot::Sender<Result<T, AccountsError>>,
}

impl<T, F> Writer for WriterOf<F, T>
where
    T: Send,
    F: FnMut(&WriteTransaction) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, txn: &WriteTransaction) -> Result<(), StoreError> {
        self.result = Some((self.work)(txn)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), AccountsError>) {
        let Self { result, answer, .. } = *self;
        let lost = || AccountsError::Failed("a result was lost".to_owned());
        // Whoever asked may be gone.
        let _ = answer.send(outcome.and_then(|()| result.ok_or_else(lost)));
    }
}

/// A [`Pending`] whose result can be a refusal.
fn wish<T: Send + 'static>(pending: Pending<Result<T, Unwilling>>) -> Wish<T> {
    Box::pin(async move { pending.await? })
}

impl Accounts for Store {
    fn invite(&self, token: TokenHash, key: Key, now: u64) -> Pending<Option<Invited>> {
        self.read(move |txn| enrolment::invite(txn, &token, &key, now))
    }

    fn join(
        &self,
        token: TokenHash,
        key: Key,
        record: Record,
        now: u64,
        most: u64,
    ) -> Pending<Option<Enrolled>> {
        self.write(move |txn| enrolment::join(txn, &token, key, &record, now, most))
    }

    fn record(&self, name: &Username) -> Pending<Option<Record>> {
        let name = name.clone();
        self.read(move |txn| enrolment::record(txn, &name))
    }

    fn enrol(&self, name: &Username, key: Key) -> Pending<Option<Enrolled>> {
        let name = name.clone();
        self.write(move |txn| enrolment::enrol(txn, &name, key))
    }

    fn attach(&self, key: Key, now: u64, requests: usize) -> Pending<Option<(Device, Snapshot)>> {
        self.read(move |txn| enrolment::attach(txn, &key, now, requests))
    }

    fn mark(&self, name: &Username, enrolment: u64, mark: WorkMark) -> Pending<()> {
        let name = name.clone();
        self.write(move |txn| enrolment::mark(txn, &name, enrolment, mark))
    }

    fn ask(
        &self,
        owner: &Username,
        handle: Handle,
        to: &Username,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>> {
        let (owner, to) = (owner.clone(), to.clone());
        self.write(move |txn| contacts::ask(txn, &owner, &handle, &to, &intro, now))
    }

    fn redeem(
        &self,
        owner: &Username,
        handle: Handle,
        by: RoutingId,
        intro: Blob,
        now: u64,
    ) -> Pending<Option<ContactRow>> {
        let owner = owner.clone();
        self.write(move |txn| contacts::redeem(txn, &owner, &handle, by, &intro, now))
    }

    fn block(
        &self,
        owner: &Username,
        handle: Handle,
        blocked: bool,
    ) -> Pending<Option<ContactRow>> {
        let owner = owner.clone();
        let name = owner.clone();
        self.write_if(
            move |txn| contacts::unless(txn, &name, &handle, |row| row.blocked != blocked),
            move |txn| contacts::block(txn, &owner, &handle, blocked),
        )
    }

    fn remove(&self, owner: &Username, handle: Handle) -> Pending<()> {
        let owner = owner.clone();
        let name = owner.clone();
        self.write_if(
            move |txn| Ok(contacts::unless(txn, &name, &handle, |_| true)?.map(drop)),
            move |txn| contacts::remove(txn, &owner, &handle),
        )
    }

    fn fetched(
        &self,
        owner: &Username,
        handle: Handle,
        approval: ApprovalId,
    ) -> Pending<Option<ContactRow>> {
        let owner = owner.clone();
        let name = owner.clone();
        self.write_if(
            move |txn| {
                contacts::unless(txn, &name, &handle, |row| contacts::carries(row, &approval))
            },
            move |txn| contacts::fetched(txn, &owner, &handle, &approval),
        )
    }

    fn row(&self, owner: &Username, handle: Handle, now: u64) -> Pending<Option<ContactRow>> {
        let owner = owner.clone();
        self.read(move |txn| {
            let row = tables::row(&txn.open_table(tables::ROWS)?, owner.as_str(), &handle)?;
            Ok(row.filter(|row| !row.is_expired(now)))
        })
    }

    fn requests(&self, name: &Username, now: u64, most: usize) -> Pending<Vec<Request>> {
        let name = name.clone();
        self.read(move |txn| contacts::requests(txn, &name, now, most))
    }

    fn redeemed(&self, links: Vec<RoutingId>, now: u64, most: usize) -> Pending<Vec<Redeemed>> {
        self.read(move |txn| contacts::redeemed(txn, &links, now, most))
    }

    fn approve(&self, approval: Approval, now: u64) -> Pending<Approved> {
        self.write(move |txn| contacts::approve(txn, &approval, now))
    }

    fn refuse(&self, by: &Username, to: &Username, their_handle: Handle) -> Pending<()> {
        let (by, to) = (by.clone(), to.clone());
        self.write(move |txn| contacts::refuse(txn, &by, &to, &their_handle))
    }

    fn set_record(&self, name: &Username, record: Record) -> Pending<()> {
        let name = name.clone();
        self.write(move |txn| enrolment::set_record(txn, &name, &record))
    }

    fn delete(&self, name: &Username) -> Pending<bool> {
        let name = name.clone();
        self.write(move |txn| enrolment::delete(txn, &name))
    }

    fn create_invite(
        &self,
        invite: OpenInvite,
        token: TokenHash,
        reset: bool,
        most: u64,
    ) -> Wish<()> {
        wish(
            self.write(move |txn| administration::create_invite(txn, &invite, &token, reset, most)),
        )
    }

    fn invites(&self, now: u64) -> Pending<Vec<OpenInvite>> {
        self.read(move |txn| administration::invites(txn, now))
    }

    fn revoke_invite(&self, name: &Username, now: u64) -> Wish<()> {
        let name = name.clone();
        wish(self.write(move |txn| administration::revoke_invite(txn, &name, now)))
    }

    fn users(&self) -> Pending<Vec<User>> {
        self.read(administration::users)
    }

    fn count(&self) -> Pending<u64> {
        self.read(administration::count)
    }

    fn set_disabled(&self, name: &Username, disabled: bool) -> Wish<()> {
        let name = name.clone();
        wish(self.write(move |txn| administration::set_disabled(txn, &name, disabled)))
    }

    fn sweep(&self, now: u64) -> Pending<()> {
        let store = self.clone();
        Box::pin(async move {
            if store.read(move |txn| administration::has_expired(txn, now)).await? {
                store.write(move |txn| administration::sweep(txn, now)).await?;
            }
            Ok(())
        })
    }

    fn backup(&self, file: PathBuf) -> Wish<()> {
        wish(self.read(move |txn| match administration::backup(txn, &file) {
            Err(StoreError::Exists) => Ok(Err(Unwilling::FileExists(file.clone()))),
            other => other.map(Ok),
        }))
    }
}
