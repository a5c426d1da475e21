//! Somebody with a daemon that crashes, and a disk that outlives it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ams_crypto::identity::IdentityPublic;
use ams_crypto::store::StoreKey;
use ams_link::Chance;
use ams_rpc::client::{CallError, Failure};
use ams_rpc::{Inside, Method, Service};
use ams_tests::seed::Seed;
use ams_wire::receipt::Window;
use amsd::clock::Clock;
use amsd::inbox::row::Known;
use amsd::outside::Outside;
use amsd::peer::Listening;
use amsd::profile::Me;
use amsd::running::{Engine, Parts, Wiring};
use amsd::session::row::{RootRow, Roots};
use amsd::settings::Settings;
use amsd::store::{Read, Store, StoreError, Txn};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::net::{Net, Plugged};
use super::relay::BEGINNING;

/// What stays of a person whose daemon does not run.
#[derive(Clone)]
pub(crate) struct Kept {
    /// The disk.
    pub(crate) image: Vec<u8>,
    /// The data key.
    pub(crate) key: [u8; 32],
}

/// A daemon between its start and its end.
pub(crate) struct Life {
    service: Service,
    engine: Mutex<Option<Engine>>,
    store: Mutex<Option<Store>>,
    over: CancellationToken,
    callers: AtomicUsize,
}

/// Somebody.
pub(crate) struct Person {
    /// Their number.
    pub(crate) number: usize,
    /// Their name at every relay.
    pub(crate) name: String,
    /// Their disk.
    pub(crate) disk: Disk,
    key: [u8; 32],
    net: Arc<Net>,
    settings: Mutex<Settings>,
    begun: Instant,
    /// What their clock is ahead, in milliseconds.
    ahead: Arc<AtomicI64>,
    chance: Chance,
    /// Whether the daemon runs.
    life: watch::Sender<Option<Arc<Life>>>,
    me: OnceLock<IdentityPublic>,
    /// The control: it forgets what came.
    is_forgetful: AtomicBool,
    /// Others can connect without a relay.
    listens: AtomicBool,
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The daemon does not run, or ended before it answered.
    Away,
    /// It said no.
    Failed(Failure),
}

/// What somebody is called.
pub(crate) fn name(number: usize) -> String {
    ["alice", "bob", "carol", "dave", "erin"][number].to_owned()
}

impl Person {
    /// The daemon does not run yet.
    pub(crate) fn new(
        number: usize,
        net: Arc<Net>,
        kept: Kept,
        settings: Settings,
        mut seed: Seed,
    ) -> Self {
        Self {
            number,
            name: name(number),
            disk: Disk::new(kept.image, Seed::new(seed.draw())),
            key: kept.key,
            net,
            settings: Mutex::new(settings),
            begun: Instant::now(),
            ahead: Arc::default(),
            chance: Chance::seeded(seed.draw()),
            life: watch::Sender::new(None),
            me: OnceLock::new(),
            is_forgetful: AtomicBool::new(false),
            listens: AtomicBool::new(false),
        }
    }

    /// Starts the daemon on what is on the disk, making the profile where there is none.
    pub(crate) async fn start(&self) -> Result<(), StoreError> {
        let wiring = Wiring::default();
        let (plug, key) = (self.disk.plug(), StoreKey::new(&self.key));
        let store = Store::inline_on(move || plug.clone(), key, wiring.told())?;
        let me = match store.read_now(|db| Me::find(db))? {
            Some(me) => me,
            None => store.write(Me::create).await?,
        };
        let _ = self.me.set(*me.public());
        if self.is_forgetful.load(Ordering::Relaxed) {
            store.write(forget).await?;
        }
        let over = CancellationToken::new();
        let (begun, ahead) = (self.begun, self.ahead.clone());
        let clock = Clock::told_by(move || {
            let beginning = i64::try_from(BEGINNING).unwrap() * 1000;
            let since = i64::try_from(begun.elapsed().as_millis()).unwrap();
            beginning + since + ahead.load(Ordering::Relaxed)
        });
        let network = Plugged { net: self.net.clone(), person: self.number, gone: over.clone() };
        let outside = Outside {
            clock,
            chance: self.chance.clone(),
            network: Arc::new(network),
            ..Outside::default()
        };
        let settings = *self.settings.lock().unwrap();
        let listening = match self.listens() {
            true => self.net.street().listen(self.number),
            false => Listening::default(),
        };
        let parts = Parts {
            store: store.clone(),
            me,
            settings,
            outside,
            listening,
            public: Vec::new(),
            home: self.name.clone().into(),
        };
        let (engine, service) = Engine::start(parts, wiring).map_err(|error| match error {
            amsd::StartError::Store(error) => error,
            other => panic!("{other}"),
        })?;
        let life = Life {
            service,
            engine: Mutex::new(Some(engine)),
            store: Mutex::new(Some(store)),
            over,
            callers: AtomicUsize::new(1),
        };
        self.life.send_replace(Some(Arc::new(life)));
        Ok(())
    }

    /// The control: from now on each start forgets what came before.
    pub(crate) fn set_forgetful(&self) {
        self.is_forgetful.store(true, Ordering::Relaxed);
    }

    /// From the next start on others can connect without a relay.
    pub(crate) fn set_listening(&self) {
        self.listens.store(true, Ordering::Relaxed);
    }

    /// Whether they can, while the daemon runs.
    pub(crate) fn listens(&self) -> bool {
        self.listens.load(Ordering::Relaxed)
    }

    /// Whether the daemon runs.
    pub(crate) fn is_up(&self) -> bool {
        self.life.borrow().is_some()
    }

    /// Waits until the daemon does not run.
    pub(crate) async fn down(&self) {
        let _ = self.life.subscribe().wait_for(Option::is_none).await;
    }

    /// Waits until the daemon runs.
    pub(crate) async fn up(&self) {
        let _ = self.life.subscribe().wait_for(Option::is_some).await;
    }

    /// The power goes: whatever the daemon still does reaches neither disk nor network nor user.
    /// `quietly`: the machine is gone, and the relays are not told that their connections are.
    pub(crate) fn crash(&self, quietly: bool) {
        self.disk.cut_power();
        self.net.street().close(self.number);
        if quietly {
            self.net.strand(self.number);
        } else {
            self.net.cut(Some(self.number), None);
        }
        if let Some(life) = self.life.send_replace(None) {
            life.over.cancel();
            drop(life.store.lock().unwrap().take());
            // What is left of it in this process ends by itself.
            if let Some(engine) = life.engine.lock().unwrap().take() {
                tokio::spawn(engine.stop());
            }
        }
        self.disk.restart();
    }

    /// The daemon stops in order.
    pub(crate) async fn stop(&self) {
        let Some(life) = self.life.borrow().clone() else { return };
        let Some(engine) = life.engine.lock().unwrap().take() else { return };
        drop(life.store.lock().unwrap().take());
        engine.stop().await;
        life.over.cancel();
        // It may have crashed meanwhile, and another one may run.
        let is_last = self.life.borrow().as_ref().is_some_and(|now| Arc::ptr_eq(now, &life));
        if is_last {
            self.net.street().close(self.number);
            self.net.cut(Some(self.number), None);
            self.disk.restart();
            self.life.send_replace(None);
        }
    }

    /// The clock is set to another time.
    pub(crate) fn move_clock(&self, by_millis: i64) {
        self.ahead.fetch_add(by_millis, Ordering::Relaxed);
    }

    /// The clock is set right.
    pub(crate) fn set_clock(&self) {
        self.ahead.store(0, Ordering::Relaxed);
    }

    /// Looks at the store of the daemon that runs.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Store) -> T) -> Option<T> {
        let life = self.life.borrow().clone()?;
        let store = life.store.lock().unwrap();
        store.as_ref().map(look)
    }

    /// Their identity.
    pub(crate) fn me(&self) -> IdentityPublic {
        *self.me.get().expect("it never ran")
    }

    /// A program of theirs connects to the daemon; `None`: it does not run.
    pub(crate) fn connect(&self) -> Option<Client> {
        let life = self.life.borrow().clone()?;
        let number = life.callers.fetch_add(1, Ordering::Relaxed);
        let inside = Inside::new(number, life.service.clone());
        Some(Client { life, inside, disk: self.disk.clone() })
    }

    /// One call on a connection of its own.
    pub(crate) async fn call<M: Method>(
        &self,
        params: &M::Params,
    ) -> Result<M::Result, Unanswered> {
        match self.connect() {
            Some(client) => client.call::<M>(params).await,
            None => Err(Unanswered::Away),
        }
    }

    /// As [`Person::call`], again and again while the daemon is away or its disk fails.
    pub(crate) async fn insist<M: Method>(&self, params: &M::Params) -> Result<M::Result, Failure> {
        for _ in 0..MOST_TRIES {
            match self.call::<M>(params).await {
                Ok(result) => return Ok(result),
                Err(Unanswered::Failed(failure)) if !may_pass(&failure) => return Err(failure),
                Err(Unanswered::Failed(_)) => tokio::time::sleep(TRY_AGAIN).await,
                Err(Unanswered::Away) => {
                    if tokio::time::timeout(LONGEST_OUTAGE, self.up()).await.is_err() {
                        panic!("the daemon of {} does not start any more", self.name);
                    }
                }
            }
        }
        panic!("{} calls {} in vain", self.name, M::NAME);
    }
}

const TRY_AGAIN: Duration = Duration::from_secs(2);
const LONGEST_OUTAGE: Duration = Duration::from_secs(3600);
/// As many do not fail one after the other.
const MOST_TRIES: u32 = 5000;

/// Both lines of defence against what comes twice.
fn forget(txn: &Txn<'_>) -> Result<(), StoreError> {
    txn.delete_all::<Known>(&())?;
    for (key, root) in txn.list::<Roots>(&())? {
        txn.put::<Roots>(&key, &RootRow { taken: Window::new(1), ..root })?;
    }
    Ok(())
}

/// Whether the same call may go well later.
pub(crate) fn may_pass(failure: &Failure) -> bool {
    use ams_rpc::ErrorKind as Kind;
    [Kind::Storage, Kind::StorageFull, Kind::Stopping, Kind::Busy, Kind::ReaderBusy]
        .into_iter()
        .any(|kind| failure.is(kind))
}

/// A connection to a daemon.
pub(crate) struct Client {
    life: Arc<Life>,
    inside: Inside,
    disk: Disk,
}

impl Client {
    /// Calls.
    pub(crate) async fn call<M: Method>(
        &self,
        params: &M::Params,
    ) -> Result<M::Result, Unanswered> {
        tokio::select! {
            biased;
            () = self.life.over.cancelled() => Err(Unanswered::Away),
            answer = self.inside.call::<M>(params) => match answer {
                // The power went first.
                _ if !self.disk.has_power() => Err(Unanswered::Away),
                Ok(result) => Ok(result),
                Err(CallError::Failed(failure)) => Err(Unanswered::Failed(failure)),
                Err(other) => panic!("{}: {other}", M::NAME),
            },
        }
    }
}
