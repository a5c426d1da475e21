//! Programs of the user's that are run for what happens.
//!
//! 1. [`rule`]: a hook as the config has it
//! 2. [`jobs`]: the commit that keeps a message, or gives one up, also notes which hooks are to be run for
//!    it ([`row`]); nothing but a run that went well, or too many that did not, takes the note away
//! 3. [`actor`]: runs what is due, few at a time, again after a pause where it failed
//! 4. [`mod@platform`]: one run of a program, with little of our environment, for so long and no longer
//!
//! [`sample`] makes events up, for whoever wants to try a hook.
//!
//! A hook is run at least once for a message that came and for one that could not be delivered: again, if the
//! daemon ended between the program's end and the commit that notes it. For everything else that
//! happens it is run once, if nothing comes in between.

mod actor;
pub mod jobs;
pub mod row;
pub mod rule;
pub mod sample;
#[cfg(test)]
mod tests;
#[cfg(unix)]
pub mod unix;
#[cfg(windows)]
pub mod windows;

#[cfg(unix)]
pub use unix as platform;
#[cfg(windows)]
pub use windows as platform;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ams_rpc::types::{EventType, HookInfo, HookState};
use ams_wire::id::MessageId;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::dispatch::Dispatch;
use crate::store::{Read, Store, StoreError};
pub use rule::Hook;

/// One run of a hook's program.
#[derive(Debug, Clone)]
pub struct Run {
    /// Whose.
    pub hook: Arc<Hook>,
    /// For what.
    pub event: EventType,
    /// The message that it is about.
    pub id: Option<MessageId>,
    /// A [`ams_rpc::types::HookEvent`] as JSON.
    pub input: String,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Why it failed.
    pub outcome: Result<(), String>,
    /// What the program wrote, as far as it is kept.
    pub output: Vec<u8>,
}

/// A run to come. Dropping it ends the program.
pub type Running = Pin<Box<dyn Future<Output = Ran> + Send>>;

/// What runs programs.
pub trait Programs: Send + Sync {
    /// Runs one.
    fn run(&self, run: Run) -> Running;
}

/// A hook, and its number on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    number: u64,
    hook: Arc<Hook>,
}

/// Clones share it. It runs nothing before it is started.
#[derive(Clone)]
pub struct HooksHandle(Arc<Shared>);

struct Shared {
    known: watch::Sender<Vec<Known>>,
    poke: Notify,
    /// Of each hook, by name: why its last run failed, if it did.
    fares: Mutex<BTreeMap<String, Option<String>>>,
    /// Whoever tries a hook waits for the one before.
    testing: tokio::sync::Mutex<()>,
}

impl Default for HooksHandle {
    fn default() -> Self {
        Self(Arc::new(Shared {
            known: watch::Sender::new(Vec::new()),
            poke: Notify::new(),
            fares: Mutex::default(),
            testing: tokio::sync::Mutex::default(),
        }))
    }
}

/// What the hooks are run with.
pub struct Deps {
    /// The disk.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Where events come from.
    pub dispatch: Dispatch,
    /// What runs programs.
    pub programs: Arc<dyn Programs>,
}

impl HooksHandle {
    /// Runs hooks from now on, until `stop`; what runs then is ended, and run again at the next
    /// start.
    pub fn start(&self, deps: Deps, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(actor::Actor::new(self.clone(), deps).run(stop))
    }

    /// Something may be due.
    pub fn poke(&self) {
        self.0.poke.notify_one();
    }

    /// Takes other hooks. One that is new is run for what comes from now on; of one that is not
    /// among them any more everything is forgotten.
    ///
    /// # Errors
    /// [`StoreError`]; the ones before stay.
    pub async fn set(&self, store: &Store, hooks: Vec<Hook>) -> Result<(), StoreError> {
        let rows: Vec<row::HookRow> = hooks.iter().map(row::HookRow::from).collect();
        let numbers = store.write(move |txn| jobs::configure(txn, &rows)).await?;
        let known = numbers.into_iter().zip(hooks);
        let known: Vec<Known> =
            known.map(|(number, hook)| Known { number, hook: Arc::new(hook) }).collect();
        self.fares().retain(|name, _| known.iter().any(|known| known.hook.name == *name));
        self.0.known.send_replace(known);
        Ok(())
    }

    /// The hook of that name.
    pub fn find(&self, name: &str) -> Option<(u64, Arc<Hook>)> {
        let known = self.0.known.borrow();
        let found = known.iter().find(|known| known.hook.name == name)?;
        Some((found.number, Arc::clone(&found.hook)))
    }

    /// The hooks, in the order of the config.
    pub fn infos(&self, db: &impl Read) -> Result<Vec<HookInfo>, StoreError> {
        let known = self.0.known.borrow().clone();
        let mut infos = Vec::with_capacity(known.len());
        for Known { number, hook } in known {
            let reason = self.fares().get(&hook.name).cloned().flatten();
            let (waiting, failed) = jobs::counts(db, number)?;
            infos.push(HookInfo {
                name: hook.name.clone(),
                run: hook.program.display().to_string(),
                on: hook.on.clone(),
                state: if reason.is_some() { HookState::Failing } else { HookState::Ok },
                reason,
                waiting,
                failed,
            });
        }
        Ok(infos)
    }

    /// Of each hook that looks whom an event is about: its name, and theirs.
    pub fn named(&self) -> Vec<(String, Vec<String>)> {
        let known = self.0.known.borrow();
        let named = known.iter().map(|known| &known.hook);
        named.filter_map(|hook| Some((hook.name.clone(), hook.filter.from.clone()?))).collect()
    }

    /// Runs a hook's program with an event that is made up. One at a time.
    pub async fn test(&self, programs: &Arc<dyn Programs>, run: Run) -> Ran {
        let _turn = self.0.testing.lock().await;
        programs.run(run).await
    }

    fn fares(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        // A map is whole between any two of the calls above.
        self.0.fares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
