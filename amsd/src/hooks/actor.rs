//! What is due is run, a few at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ams_rpc::types::{Event, EventType, Fact, HookEvent, Time};
use ams_wire::id::MessageId;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::jobs::{self, JobKey, Next};
use super::row::JobRow;
use super::rule::{About, contact_of, is_durable, message_of};
use super::{Deps, Hook, HooksHandle, Known, Ran, Run};
use crate::contacts::{ContactId, Contacts};
use crate::dispatch::Follower;
use crate::store::{Read, StoreError};

/// Programs that run at once, of all hooks together. The last place is for a hook of which none runs, so
/// that one with slow programs does not hold up the others.
const MAX_RUNNING: usize = 4;
/// Events without a note on disk that may wait for a hook. Newer ones are dropped then.
const MAX_PASSING: usize = 64;
/// After the disk failed, nothing is tried for so long.
const DISK_PAUSE: Duration = Duration::from_secs(10);

/// What a run is for.
enum Task {
    /// Noted on disk, under this key and serial.
    Noted(JobKey, u64),
    /// Of this hook, and of no trace.
    Passing(u64),
}

impl Task {
    fn hook(&self) -> u64 {
        match self {
            Self::Noted((number, ..), _) | Self::Passing(number) => *number,
        }
    }
}

pub(super) struct Actor {
    handle: HooksHandle,
    deps: Deps,
    known: watch::Receiver<Vec<Known>>,
    /// There only while a hook wants an event that is not noted on disk.
    follower: Option<Follower>,
    /// By the hook's number.
    passing: BTreeMap<u64, VecDeque<Arc<Event>>>,
    running: JoinSet<Ran>,
    tasks: BTreeMap<tokio::task::Id, (Task, Arc<Hook>)>,
    /// Nothing is begun before, after the disk failed.
    not_before: Option<Instant>,
    /// The hook that has the first turn, so that none waits for the others for ever.
    turn: usize,
}

impl Actor {
    pub(super) fn new(handle: HooksHandle, deps: Deps) -> Self {
        let known = handle.0.known.subscribe();
        Self {
            handle,
            deps,
            known,
            follower: None,
            passing: BTreeMap::new(),
            running: JoinSet::new(),
            tasks: BTreeMap::new(),
            not_before: None,
            turn: 0,
        }
    }

    /// Until `stop`. Programs that run then are ended; their notes stay.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let handle = self.handle.clone();
        self.follow();
        loop {
            let wake = self.begin().await;
            // To stop comes first; then what ended, which makes room for what comes behind it.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = self.running.join_next_with_id(), if !self.running.is_empty() => {
                    self.ended(ended).await;
                }
                Ok(()) = self.known.changed() => self.follow(),
                () = handle.0.poke.notified() => {}
                event = next_of(&mut self.follower) => self.pass(&event),
                () = until(wake) => self.not_before = None,
            }
        }
    }

    /// Follows events as long as a hook wants one that is not on disk.
    fn follow(&mut self) {
        let known = self.known.borrow_and_update().clone();
        let wanted = known.iter().any(|known| known.hook.on.iter().any(|kind| !is_durable(*kind)));
        match (wanted, &self.follower) {
            (true, None) => self.follower = self.deps.dispatch.follow(None).ok(),
            (false, Some(_)) => self.follower = None,
            _ => {}
        }
        self.passing.retain(|number, _| known.iter().any(|known| known.number == *number));
    }

    /// An event of which nothing is on disk: whoever wants it gets it, if there is room.
    fn pass(&mut self, event: &Arc<Event>) {
        let kind = event.fact.kind();
        if is_durable(kind) {
            return;
        }
        for known in self.known.borrow().iter().filter(|known| known.hook.on.contains(&kind)) {
            let waiting = self.passing.entry(known.number).or_default();
            if waiting.len() < MAX_PASSING {
                waiting.push_back(Arc::clone(event));
            } else {
                tracing::warn!("a hook does not keep up with events; one was dropped");
            }
        }
    }

    /// Begins what can be begun; answers when to look again, if nothing happens before.
    async fn begin(&mut self) -> Option<Instant> {
        if let Some(at) = self.not_before {
            return Some(at);
        }
        let known = self.known.borrow().clone();
        self.turn = self.turn.checked_add(1).filter(|turn| *turn < known.len()).unwrap_or(0);
        let mut wake: Option<Instant> = None;
        for Known { number, hook } in known.iter().cycle().skip(self.turn).take(known.len()) {
            match self.begin_of(*number, hook).await {
                Ok(Some(at)) => wake = Some(wake.map_or(at, |other| other.min(at))),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "hooks cannot be run");
                    let at = Instant::now().checked_add(DISK_PAUSE)?;
                    self.not_before = Some(at);
                    return Some(at);
                }
            }
        }
        wake
    }

    async fn begin_of(
        &mut self,
        number: u64,
        hook: &Arc<Hook>,
    ) -> Result<Option<Instant>, StoreError> {
        loop {
            if !self.has_place(number, hook) {
                // Whatever ends looks again.
                return Ok(None);
            }
            if let Some(event) = self.passing.get_mut(&number).and_then(VecDeque::pop_front) {
                if self.may_pass(hook, &event.fact).await? {
                    self.start(Task::Passing(number), hook, 0, event.time, event.fact.clone());
                }
                continue;
            }
            let busy: BTreeSet<u64> = self.busy(number).collect();
            let now = self.now();
            match self.deps.store.read(move |db| jobs::next(db, number, now, &busy)).await? {
                Next::Run(key, JobRow { serial, tries, at, .. }, event) => {
                    let task = Task::Noted(key, serial);
                    self.start(task, hook, tries, Time::from_millis(at), *event);
                }
                Next::Gone(key, JobRow { serial, .. }) => {
                    self.deps.store.write(move |txn| jobs::done(txn, key, serial)).await?;
                }
                Next::At(due) => {
                    let pause = Duration::from_millis(due.saturating_sub(now));
                    return Ok(Instant::now().checked_add(pause));
                }
                Next::Nothing => return Ok(None),
            }
        }
    }

    /// Whether one more program of a hook may run.
    fn has_place(&self, number: u64, hook: &Hook) -> bool {
        let of_hook = self.tasks.values().filter(|(task, _)| task.hook() == number).count();
        let alone = self.known.borrow().len() == 1;
        let kept = if of_hook == 0 || alone { 0 } else { 1 };
        of_hook < hook.parallel && self.tasks.len() < MAX_RUNNING.saturating_sub(kept)
    }

    /// Places of the messages that a hook is being run for.
    fn busy(&self, number: u64) -> impl Iterator<Item = u64> {
        self.tasks.values().filter_map(move |(task, _)| match task {
            Task::Noted((hook, _, place), _) if *hook == number => Some(*place),
            _ => None,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.deps.clock.now()).unwrap_or_default()
    }

    /// Whether the filter takes it, and its contact's key is not in doubt. That a key changed is for
    /// whoever wants to know, though.
    async fn may_pass(&self, hook: &Hook, fact: &Fact) -> Result<bool, StoreError> {
        let Some((name, id)) = contact_of(fact) else {
            return Ok(hook.filter.takes(About::default()));
        };
        let id: Option<u64> = id.parse().ok();
        let look = |id| self.deps.store.read(move |db| db.get::<Contacts>(&ContactId(id)));
        let row = match id {
            Some(id) => look(id).await?,
            None => None,
        };
        let verified = row.as_ref().is_some_and(|row| row.verified.is_some());
        let in_doubt = row.is_some_and(|row| row.blocked || row.is_key_changed());
        let about = About { contact: Some(name), verified, tags: &[] };
        let tells_of_it = fact.kind() == EventType::ContactKeyChanged;
        Ok(hook.filter.takes(about) && (!in_doubt || tells_of_it))
    }

    fn start(&mut self, task: Task, hook: &Arc<Hook>, tries: u32, time: Time, fact: Fact) {
        let run = self::run(hook, tries, time, fact, false);
        let running = self.running.spawn(self.deps.programs.run(run));
        self.tasks.insert(running.id(), (task, Arc::clone(hook)));
    }

    async fn ended(&mut self, ended: Result<(tokio::task::Id, Ran), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, ran)) => (id, ran.outcome),
            Err(error) => (error.id(), Err("its run was broken off".to_owned())),
        };
        let Some((task, hook)) = self.tasks.remove(&id) else { return };
        if outcome.is_err() {
            // Not its reason, which may quote what the program was given.
            tracing::warn!("a hook failed: amsctl hook list says which, and why");
        }
        self.handle.fares().insert(hook.name.clone(), outcome.clone().err());
        let Task::Noted(key, serial) = task else { return };
        let (now, retries) = (self.now(), hook.retries);
        let noted = self.deps.store.write(move |txn| match &outcome {
            Ok(()) => jobs::done(txn, key, serial),
            Err(why) => jobs::failed(txn, key, serial, why, retries, now),
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "what came of a hook could not be noted; it is run again");
            self.not_before = Instant::now().checked_add(DISK_PAUSE);
        }
    }
}

/// One run of `hook` for what happened.
pub(super) fn run(hook: &Arc<Hook>, tries: u32, time: Time, fact: Fact, test: bool) -> Run {
    let event = fact.kind();
    let id = message_of(&fact).map(|id| MessageId(id.0));
    let input = HookEvent { hook: hook.name.clone(), test, tries, time, fact };
    // Strings, numbers and lists: always written.
    let mut input = serde_json::to_string(&input).unwrap_or_default();
    input.push('\n');
    Run { hook: Arc::clone(hook), event, id, input }
}

async fn next_of(follower: &mut Option<Follower>) -> Arc<Event> {
    match follower {
        Some(follower) => follower.next().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
