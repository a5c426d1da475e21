//! One actor for each contact with a direct way that is wanted, and none for the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ams_crypto::identity::IdentityPublic;
use ams_rpc::types::LinkState;
use ams_wire::address::HostPort;
use ams_wire::id::Key;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::actor::{Actor, ActorHandle};
use super::guest::Guests;
use super::incoming::Incoming;
use super::listen::Listening;
use super::row::{self, DirectRow, Directs};
use super::{offer, reach};
use crate::relay::{Deps, RelayId};
use crate::settings::Direct;
use crate::store::{Read, StoreError, Txn};

/// Between a failure to read the ways and the next try.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// The direct links of all contacts.
pub struct Peers;

/// Reaches them. When the last one is dropped, all end.
#[derive(Clone)]
pub struct PeersHandle {
    known: Known,
    public: watch::Sender<Vec<HostPort>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    tasks: TaskTracker,
    listening: Arc<[SocketAddr]>,
    _end: Arc<DropGuard>,
}

/// Whose link a key opens, and who takes it. Written only by `PeersActor`.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<BTreeMap<RelayId, Peer>>>);

struct Peer {
    handle: ActorHandle,
    direct: DirectRow,
    identity: Option<Key>,
}

impl Known {
    /// Whether somebody who is known has this key.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().values().any(|peer| peer.direct.link_key.as_ref() == Some(key))
    }

    /// Whether this key is that of a device of `identity`, who is known.
    pub(super) fn is(&self, key: &Key, identity: &IdentityPublic) -> bool {
        let identity = Some(Key(*identity.as_bytes()));
        let has = |peer: &Peer| peer.direct.link_key.as_ref() == Some(key);
        let is = |peer: &Peer| has(peer) && peer.identity == identity;
        self.lock().values().any(is)
    }

    /// Hands a link to the actor of whoever has this key.
    pub(super) fn give(&self, key: &Key, link: Incoming) {
        let taker = {
            let peers = self.lock();
            let has = |peer: &&Peer| peer.direct.link_key.as_ref() == Some(key);
            let mut found = peers.values().filter(has);
            found.next().map(|peer| peer.handle.clone())
        };
        if let Some(taker) = taker {
            taker.links.put(link);
        }
    }

    /// Whether whoever takes the links of a way may go on: what it leads to was learnt, not changed.
    fn leads_on(&self, way: RelayId, link_key: Option<Key>, identity: Option<Key>) -> bool {
        let stays = |was: Option<Key>, is| was.is_none() || was == is;
        self.lock().get(&way).is_none_or(|peer| {
            stays(peer.direct.link_key, link_key) && stays(peer.identity, identity)
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayId, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// Connects every contact that can be, takes those who connect, and keeps it so. `public` is how
    /// others reach what listens, where its own address does not say.
    pub fn start(deps: Deps, listening: Listening, public: Vec<HostPort>) -> PeersHandle {
        let (known, stop, tasks) = (Known::default(), CancellationToken::new(), TaskTracker::new());
        let changed = Arc::new(Notify::new());
        let addresses: Arc<[SocketAddr]> = listening.addresses().into();
        let public = watch::Sender::new(public);
        let guests = Guests::new(deps.clone(), known.clone());
        listening.serve(&guests, &stop, &tasks);
        let actor = PeersActor {
            deps,
            known: known.clone(),
            changed: Arc::clone(&changed),
            stop: stop.clone(),
            tasks: tasks.clone(),
            listening: addresses.clone(),
            public: public.subscribe(),
            running: BTreeMap::new(),
        };
        tasks.spawn(actor.run());
        let _end = Arc::new(stop.clone().drop_guard());
        PeersHandle { known, public, changed, stop, tasks, listening: addresses, _end }
    }
}

impl PeersHandle {
    /// The ways on disk changed. Returns at once.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// There is something new to be told on the way. Returns at once.
    pub fn news(&self, way: RelayId) {
        if let Some(peer) = self.known.lock().get(&way) {
            peer.handle.pokes.news.notify_one();
        }
    }

    /// Anything may be new on disk. Returns at once.
    pub fn look_at_all(&self) {
        self.changed();
        for peer in self.known.lock().values() {
            peer.handle.pokes.news.notify_one();
        }
    }

    /// Dials now, without waiting for the pause after the last failure to end.
    pub fn hurry(&self, way: RelayId) {
        if let Some(peer) = self.known.lock().get(&way) {
            peer.handle.pokes.hurry.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> Known {
        self.known.clone()
    }

    /// How others reach this daemon is another.
    pub fn set_public(&self, public: Vec<HostPort>) {
        self.public.send_replace(public);
    }

    /// The addresses by which others reach this daemon.
    pub fn reach(&self) -> Vec<HostPort> {
        reach::own(&self.public.borrow(), &self.listening)
    }

    /// Where others can connect.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Ends all links and waits until each has said goodbye.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct PeersActor {
    // Set once.
    deps: Deps,
    known: Known,
    changed: Arc<Notify>,
    stop: CancellationToken,
    tasks: TaskTracker,
    listening: Arc<[SocketAddr]>,
    // Owned by run.
    public: watch::Receiver<Vec<HostPort>>,
    running: BTreeMap<RelayId, Running>,
}

impl PeersActor {
    async fn run(mut self) {
        let mut settings = self.deps.settings.clone();
        loop {
            let (direct, public) = {
                let public = self.public.borrow_and_update().clone();
                (settings.borrow_and_update().direct, public)
            };
            let aligned = self.offer(direct, &public).await && self.align().await;
            // Errors mean that the daemon ends, and this with it.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = self.changed.notified() => {}
                Ok(()) = settings.changed() => {}
                Ok(()) = self.public.changed() => {}
                () = sleep(STORE_PAUSE), if !aligned => {}
            }
        }
        let all: Vec<_> = self.running.keys().copied().collect();
        self.end(&all).await;
    }

    /// What contacts are offered is what the user chose and where this daemon is; `false`: the disk
    /// failed.
    async fn offer(&self, direct: Direct, public: &[HostPort]) -> bool {
        let addresses = reach::offered(&reach::own(public, &self.listening));
        let is_allowed = direct == Direct::Contacts;
        let (look, now) = (addresses.clone(), self.deps.outside.clock.now());
        let stands = self.deps.store.read(move |db| offer::stands(db, is_allowed, &look));
        let stands: Result<bool, StoreError> = stands.await;
        let offered = match stands {
            // Every change of a way comes by here.
            Ok(true) => return true,
            Ok(false) => {
                let set =
                    move |txn: &Txn<'_>| offer::set_own(txn, is_allowed, addresses.clone(), now);
                self.deps.store.write(set).await
            }
            Err(error) => Err(error),
        };
        let offered = offered.inspect_err(|error| {
            tracing::error!(%error, "what is offered to contacts could not be kept");
        });
        offered.is_ok()
    }

    /// Makes the actors those that the ways on disk want; `false`: the disk could not be read.
    async fn align(&mut self) -> bool {
        let rows = self.deps.store.read(|db| {
            let mut found = BTreeMap::new();
            for (id, row) in db.list::<Directs>(&())? {
                found.insert(id, (row.off, row::wanted(db, id)?));
            }
            Ok::<_, StoreError>(found)
        });
        let rows = match rows.await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "the direct ways could not be read");
                return false;
            }
        };
        let goes_on = |id: &RelayId| match rows.get(id) {
            Some((_, Some((_, contact, direct)))) => {
                self.known.leads_on(*id, direct.link_key, contact.identity)
            }
            _ => false,
        };
        let is_over = |id: &RelayId, of: &Running| of.task.is_finished() || !goes_on(id);
        let over = self.running.iter().filter(|(id, of)| is_over(id, of));
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        self.end(&over).await;
        for id in over.iter().filter(|id| !rows.contains_key(id)) {
            self.deps.live.forget(*id);
        }
        for (id, (off, row)) in rows {
            let Some((_, contact, direct)) = row else {
                if off {
                    let reason = Some("disconnected".to_owned());
                    self.deps.live.relay(id, "", LinkState::Off, reason);
                }
                continue;
            };
            let known = |peer: &Peer| (peer.handle.clone(), peer.direct != direct);
            let known = self.known.lock().get(&id).map(known);
            let handle = match known {
                Some((handle, changed)) => {
                    if changed {
                        handle.pokes.news.notify_one();
                    }
                    handle
                }
                None => self.begin(id),
            };
            let identity = contact.identity;
            self.known.lock().insert(id, Peer { handle, direct, identity });
        }
        true
    }

    fn begin(&mut self, id: RelayId) -> ActorHandle {
        let stop = self.stop.child_token();
        let (actor, handle) = Actor::new(id, self.deps.clone(), stop.clone());
        let task = self.tasks.spawn(actor.run());
        self.running.insert(id, Running { stop, task });
        handle
    }

    /// Ends these, all at the same time.
    async fn end(&mut self, ids: &[RelayId]) {
        let mut ending = Vec::new();
        for id in ids {
            self.known.lock().remove(id);
            ending.extend(self.running.remove(id));
        }
        for running in &ending {
            running.stop.cancel();
        }
        for running in ending {
            if let Err(error) = running.task.await {
                tracing::error!(%error, "a direct link failed");
            }
        }
    }
}
