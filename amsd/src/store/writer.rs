//! The writer: one durable commit for everybody who waits.

use std::sync::Arc;

use redb::{Database, Durability};
use tokio::sync::{mpsc, oneshot};

use super::txn::Txn;
use super::{Shared, StoreError, Told};
use crate::fact::Fact;

/// Closures in one commit. Beyond that the first of them would wait too long for its answer.
const MAX_GROUP: usize = 128;

/// A closure and the caller that waits for it.
pub(super) trait Job: Send {
    /// Runs the closure; `false`: it failed.
    fn run(&mut self, txn: &Txn<'_>) -> bool;
    /// Answers the caller: with what the closure said, or with the error of the commit.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

pub(super) struct Task<F, T, E> {
    work: F,
    said: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Task<F, T, E> {
    pub(super) fn new(work: F, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self { work, said: None, reply }
    }
}

impl<F, T, E> Job for Task<F, T, E>
where
    F: FnMut(&Txn<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, txn: &Txn<'_>) -> bool {
        self.said.insert((self.work)(txn)).is_ok()
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let said = match (committed, self.said) {
            (Ok(()), Some(said)) => said,
            // The closure's own refusal stands: it did not need the commit.
            (Err(_), Some(Err(refused))) => Err(refused),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::Stopped.into()),
        };
        // A caller that stopped waiting does not want the answer.
        let _ = self.reply.send(said);
    }
}

/// How a group ended.
enum Ran {
    Committed(Vec<Fact>),
    /// A closure failed after it had changed something.
    Spoiled,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: mpsc::Receiver<Box<dyn Job>>,
    pub(super) told: Told,
    /// A commit failed, which may be on the disk all the same, and nothing of it was told.
    pub(super) stumbled: bool,
}

impl Writer {
    /// Until every [`super::Store`] is dropped.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while self.queue.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
            self.serve(std::mem::take(&mut group));
        }
    }

    /// As [`Writer::run`], as a task.
    pub(super) async fn run_inline(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while self.queue.recv_many(&mut group, MAX_GROUP).await > 0 {
            self.serve(std::mem::take(&mut group));
        }
    }

    fn serve(&mut self, mut group: Vec<Box<dyn Job>>) {
        let mut ran = self.commit(&mut group);
        // It failed under somebody else: this group has not been tried on a file that is open.
        if matches!(ran, Err(StoreError::Failing)) {
            ran = self.commit(&mut group);
        }
        match ran {
            Ok(Ran::Committed(mut facts)) => {
                for job in group {
                    job.answer(Ok(()));
                }
                if std::mem::take(&mut self.stumbled) {
                    facts.push(Fact::Unsure);
                }
                (self.told)(facts);
            }
            Ok(Ran::Spoiled) if group.len() > 1 => {
                for job in group {
                    self.serve(vec![job]);
                }
            }
            // Alone and failed: rolled back, and its own error is the answer.
            Ok(Ran::Spoiled) => {
                for job in group {
                    job.answer(Ok(()));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed");
                self.stumbled = true;
                for job in group {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    fn commit(&self, group: &mut [Box<dyn Job>]) -> Result<Ran, StoreError> {
        self.shared.file.with(|db| {
            let ran = self.commit_to(db, group);
            let failed = ran.as_ref().is_err_and(StoreError::is_of_the_disk);
            (ran, failed)
        })?
    }

    fn commit_to(&self, db: &Database, group: &mut [Box<dyn Job>]) -> Result<Ran, StoreError> {
        let mut raw = db.begin_write()?;
        raw.set_durability(Durability::Immediate)
            .map_err(|error| StoreError::Io(error.to_string()))?;
        // The allocator state goes into each commit, so that a start after a crash is instant.
        raw.set_quick_repair(true);
        let (txn, writes) = (Txn::new(&raw, &self.shared.sealer), group.len());
        for job in group {
            let before = txn.changes();
            if !job.run(&txn) && txn.changes() != before {
                drop(txn);
                raw.abort()?;
                return Ok(Ran::Spoiled);
            }
        }
        let changed = txn.changes() != 0;
        let facts = txn.finish()?;
        if changed {
            raw.commit()?;
            self.shared.committed(writes);
        } else {
            raw.abort()?;
        }
        Ok(Ran::Committed(facts))
    }
}
