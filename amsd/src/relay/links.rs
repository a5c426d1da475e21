//! One actor for each account that shall be connected, and none for the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ams_rpc::types::LinkState;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::actor::{Actor, ActorHandle, Answer, Call};
use super::event::LinkEvent;
use super::row::{Refusal, RelayId, RelayRow, Relays};
use crate::live::Live;
use crate::outside::Outside;
use crate::profile::Me;
use crate::pulse::Pulse;
use crate::settings::Settings;
use crate::store::{Read, Store, StoreError};

/// Callers of [`LinksHandle::hold`] that may wait. There is one at a time.
const SETTLING: usize = 1;
/// How long a call to a relay may take, a connection that has to be made first included.
const CALL: Duration = Duration::from_secs(20);
/// Between two rounds in which the relays that refuse this device are asked again: an account may
/// have been disabled for a while.
const ASK_AGAIN: Duration = Duration::from_secs(5 * 60);
/// Between a failure to read the accounts and the next try.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What the links need of the rest of the daemon.
#[derive(Clone)]
pub struct Deps {
    /// The disk.
    pub store: Store,
    /// Who this profile is.
    pub me: Me,
    /// Time, chance and network.
    pub outside: Outside,
    /// As they stand.
    pub settings: watch::Receiver<Settings>,
    /// Where the state of every link is shown.
    pub live: Live,
    /// The router.
    pub events: mpsc::Sender<LinkEvent>,
}

/// The links of all accounts.
pub struct Links;

/// Reaches the links. When the last one is dropped, all links end.
#[derive(Clone)]
pub struct LinksHandle {
    shared: Arc<Shared>,
    settle: mpsc::Sender<oneshot::Sender<()>>,
    live: Live,
    pulse: Pulse,
    tasks: TaskTracker,
    _end: Arc<DropGuard>,
}

struct Shared {
    // Set once.
    stop: CancellationToken,
    /// The accounts changed: look at the disk.
    changed: Notify,
    // Shared, written only by LinksActor.
    actors: Mutex<BTreeMap<RelayId, ActorHandle>>,
    // Shared, written only by LinksHandle.
    held: Mutex<BTreeSet<RelayId>>,
}

/// Why a relay was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallError {
    /// There is no link to it, and none came up in time.
    NotUp,
    /// The link ended before the answer.
    Lost,
}

/// While it lives, the account has no link, so that an enrolment of the same device on another
/// link displaces none.
pub(super) struct Held {
    relay: RelayId,
    shared: Arc<Shared>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.held().remove(&self.relay);
        self.shared.changed.notify_one();
    }
}

impl Links {
    /// Connects every account that shall be connected, and keeps it so.
    pub fn start(deps: Deps) -> LinksHandle {
        let shared = Arc::new(Shared {
            stop: CancellationToken::new(),
            changed: Notify::new(),
            actors: Mutex::default(),
            held: Mutex::default(),
        });
        let (settle, settling) = mpsc::channel(SETTLING);
        let (tasks, live, pulse) = (TaskTracker::new(), deps.live.clone(), Pulse::default());
        let actor = LinksActor {
            deps,
            shared: shared.clone(),
            pulse: pulse.clone(),
            settling,
            tasks: tasks.clone(),
            running: BTreeMap::new(),
            shown: BTreeSet::new(),
        };
        tasks.spawn(actor.run());
        let _end = Arc::new(shared.stop.clone().drop_guard());
        LinksHandle { shared, settle, live, pulse, tasks, _end }
    }
}

impl LinksHandle {
    /// The accounts on disk changed. Returns at once.
    pub fn relays_changed(&self) {
        self.shared.changed.notify_one();
    }

    /// There is something new to be told to `relay`. Returns at once.
    pub fn chores(&self, relay: RelayId) {
        if let Some(actor) = self.shared.actors().get(&relay) {
            actor.pokes.chores.notify_one();
        }
    }

    /// Anything may be new on disk. Returns at once.
    pub fn look_at_all(&self) {
        self.relays_changed();
        for actor in self.shared.actors().values() {
            actor.pokes.chores.notify_one();
        }
    }

    /// Tries now, without waiting for the pause after the last failure to end.
    pub fn connect(&self, relay: RelayId) {
        if let Some(actor) = self.shared.actors().get(&relay) {
            actor.pokes.hurry.notify_one();
        }
    }

    /// Resolves when the links were looked after once more.
    pub(crate) async fn go_on(&self) {
        self.pulse.felt().await;
    }

    /// Ends all links and waits until each has said goodbye.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs `work` as one of the links' tasks: until they all end.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shared.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    /// Why there is no link to `relay`, for people.
    pub(super) fn why_not_up(&self, relay: RelayId) -> String {
        let reason = self.live.link(relay).and_then(|link| link.reason);
        reason.unwrap_or_else(|| "no link came up in time".to_owned())
    }

    /// Ends the link of `relay`, if there is one, and lets none be made.
    pub(super) async fn hold(&self, relay: RelayId) -> Held {
        self.shared.held().insert(relay);
        let held = Held { relay, shared: self.shared.clone() };
        let (done, settled) = oneshot::channel();
        if self.settle.send(done).await.is_ok() {
            // An error means that everything is ending, this link too.
            let _ = settled.await;
        }
        held
    }

    /// Who has the link of `relay`: a moment after the start nobody yet.
    async fn actor(&self, relay: RelayId) -> ActorHandle {
        let mut news = self.live.follow();
        loop {
            if let Some(actor) = self.shared.actors().get(&relay) {
                return actor.clone();
            }
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Has a frame told to `relay` that its account's owner waits for, and gives the answer.
    pub(super) async fn call(&self, relay: RelayId, frame: Vec<u8>) -> Result<Answer, CallError> {
        let actor = timeout(CALL, self.actor(relay)).await.map_err(|_| CallError::NotUp)?;
        let (mut news, failures) = (self.live.follow(), self.live.failures(relay));
        actor.pokes.hurry.notify_one();
        let (reply, answer) = oneshot::channel();
        let asked = async {
            actor.calls.send(Call { frame, reply }).await.map_err(|_| CallError::NotUp)?;
            answer.await.map_err(|_| CallError::Lost)
        };
        // The user need not wait for a relay that just failed to answer to be tried once more.
        let failed = async {
            while self.live.failures(relay) == failures && news.changed().await.is_ok() {}
        };
        // An answer, or that a link ended before it, says more than that there is no link.
        tokio::select! {
            biased;
            answer = asked => answer,
            () = failed => Err(CallError::NotUp),
            () = sleep(CALL) => Err(CallError::NotUp),
        }
    }
}

impl Shared {
    fn actors(&self) -> MutexGuard<'_, BTreeMap<RelayId, ActorHandle>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<RelayId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Running {
    row: RelayRow,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct LinksActor {
    // Set once.
    deps: Deps,
    shared: Arc<Shared>,
    pulse: Pulse,
    tasks: TaskTracker,
    // Owned by run.
    settling: mpsc::Receiver<oneshot::Sender<()>>,
    running: BTreeMap<RelayId, Running>,
    /// Accounts whose state is shown.
    shown: BTreeSet<RelayId>,
}

impl LinksActor {
    async fn run(mut self) {
        let mut waits = None;
        let mut ask_again = interval(ASK_AGAIN);
        ask_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is over at once.
        ask_again.tick().await;
        loop {
            let aligned = self.align().await;
            if let (true, Some(done)) = (aligned, waits.take()) {
                let done: oneshot::Sender<()> = done;
                // Whoever asked may have been given up.
                let _ = done.send(());
            }
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => break,
                Some(done) = self.settling.recv(), if waits.is_none() => waits = Some(done),
                () = self.shared.changed.notified() => {}
                () = self.pulse.asked() => self.pulse.beat(),
                _ = ask_again.tick() => self.ask_again().await,
                () = sleep(STORE_PAUSE), if !aligned => {}
            }
        }
        let all = self.running.keys().copied().collect();
        self.end(&all).await;
    }

    /// Takes back what relays said that refused this device. One that was told to delete the
    /// account has done so.
    async fn ask_again(&self) {
        let asked = self.deps.store.write(|txn| {
            for (id, row) in txn.list::<Relays>(&())? {
                if row.wanted && !row.deleting && row.refused == Some(Refusal::Replaced) {
                    txn.put::<Relays>(&id, &RelayRow { refused: None, ..row })?;
                }
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = asked.await {
            tracing::error!(%error, "a relay that refuses could not be asked again");
        }
    }

    /// Makes the actors those that the accounts on disk want; `false`: the disk could not be read.
    async fn align(&mut self) -> bool {
        let rows: Result<_, StoreError> = self.deps.store.read(|db| db.list::<Relays>(&())).await;
        let rows: BTreeMap<RelayId, RelayRow> = match rows {
            Ok(rows) => rows.into_iter().filter(|(_, row)| row.enrolled).collect(),
            Err(error) => {
                tracing::error!(%error, "the accounts could not be read");
                return false;
            }
        };
        let held = self.shared.held().clone();
        let wanted = |id: &RelayId, row: &RelayRow| {
            row.wanted && row.refused.is_none() && !held.contains(id)
        };
        let over = self.running.iter().filter(|(id, running)| {
            let row = rows.get(id).filter(|row| wanted(id, row));
            running.task.is_finished() || !row.is_some_and(|row| is_same_link(row, &running.row))
        });
        let over: BTreeSet<RelayId> = over.map(|(id, _)| *id).collect();
        self.end(&over).await;
        for (id, row) in &rows {
            if wanted(id, row) && !self.running.contains_key(id) {
                self.begin(*id, row.clone());
            } else if let Some(refusal) = row.refused {
                let reason = Some(refusal.reason().to_owned());
                self.deps.live.relay(*id, &row.nick, LinkState::Refused, reason);
            } else if !row.wanted {
                self.deps.live.relay(*id, &row.nick, LinkState::Off, None);
            }
        }
        for gone in self.shown.iter().filter(|id| !rows.contains_key(id)) {
            self.deps.live.forget(*gone);
        }
        self.shown = rows.into_keys().collect();
        true
    }

    fn begin(&mut self, id: RelayId, row: RelayRow) {
        let stop = self.shared.stop.child_token();
        let (actor, handle) = Actor::new(id, row.clone(), self.deps.clone(), stop.clone());
        self.shared.actors().insert(id, handle);
        let task = self.tasks.spawn(actor.run());
        self.running.insert(id, Running { row, stop, task });
    }

    /// Ends these, all at the same time.
    async fn end(&mut self, ids: &BTreeSet<RelayId>) {
        let mut ending = Vec::new();
        for id in ids {
            self.shared.actors().remove(id);
            ending.extend(self.running.remove(id));
        }
        for running in &ending {
            running.stop.cancel();
        }
        for running in ending {
            if let Err(error) = running.task.await {
                tracing::error!(%error, "a link failed");
            }
        }
    }
}

/// Whether a link for the one is a link for the other.
fn is_same_link(a: &RelayRow, b: &RelayRow) -> bool {
    (&a.nick, &a.at, &a.key, &a.user, &a.device_secret)
        == (&b.nick, &b.at, &b.key, &b.user, &b.device_secret)
}
