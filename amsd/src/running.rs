//! A daemon from its start to its end.
//!
//! 1. the store, and in it the identity ([`crate::open`]), in a home that this daemon alone holds;
//! 2. the router, then the links to relays and to direct peers;
//! 3. the socket, and then it is ready.
//!
//! It stops in reverse: no more calls, no more programs, no more links, nothing more to be sent, and
//! the disk last.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ams_rpc::client::{CallError, Client};
use ams_rpc::methods::identity;
use ams_rpc::platform::{BindError, Handed};
use ams_rpc::service::TableMismatch;
use ams_rpc::types::{NoParams, Time};
use ams_rpc::{Listener, Server, Service};
use ams_wire::address::HostPort;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Dispatch;
use crate::fact::Fact;
use crate::home::Home;
use crate::hooks::platform::System;
use crate::hooks::{self, Hook, HooksHandle};
use crate::live::Live;
use crate::open::{OpenError, open_profile};
use crate::outside::Outside;
use crate::peer::{ListenError, Listening, Meeter, Peers, PeersHandle};
use crate::profile::{self, Me};
use crate::relay::{self, Accounts, Links, LinksHandle};
use crate::router::{self, RouterHandle};
use crate::rpc::{self, Core};
use crate::scoped::{Scoped, ScopedSocket, Sockets};
use crate::settings::Settings;
use crate::store::{Disk, Store, StoreError, Told};
use crate::tcp::Tcp;
use crate::tidy;

/// What a daemon is started with.
#[derive(Debug)]
pub struct Start {
    /// Its folders, taken hold of.
    pub home: Home,
    /// What the config says.
    pub settings: Settings,
    /// Where direct peers are taken.
    pub listen: Vec<SocketAddr>,
    /// How others reach that, where its own address does not say.
    pub public: Vec<HostPort>,
    /// A socket that a service manager bound already.
    pub socket: Option<Handed>,
    /// What the database is on in place of its file, for simulations.
    pub disk: Option<Arc<dyn Disk>>,
}

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its keys or database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket that was handed over.
    #[error("the socket from the service manager cannot be used: {0}")]
    Adopt(std::io::Error),
    /// Where it was to listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its methods; a fault of the program.
    #[error(transparent)]
    Methods(#[from] TableMismatch),
}

/// Envelopes and news from the links that may wait for the router. When it is full, links wait,
/// and stop reading.
const LINK_EVENTS: usize = 1024;

/// The folder, among the data, that hooks are run in.
const HOOKS: &str = "hooks";

/// How long looks at the disk that nobody waits for any more may go on.
const LAST_READS: Duration = Duration::from_secs(5);

/// How long the daemon waits for its own answer. Whoever waits for longer has given up.
const OWN_CALL: Duration = Duration::from_secs(10);

/// What runs of a daemon beside its folder and its socket: the same in a simulation, which has
/// neither.
pub struct Engine {
    /// Cancelled by `daemon.stop`.
    asked: CancellationToken,
    settings: watch::Sender<Settings>,
    config_mistake: watch::Sender<Option<String>>,
    sockets: watch::Sender<Sockets>,
    /// What of the config waits for the next start.
    restart: watch::Sender<Option<String>>,
    hooks_handle: HooksHandle,
    // Ended by stop, in this order.
    hooks: (CancellationToken, JoinHandle<()>),
    links: LinksHandle,
    peers: PeersHandle,
    router: (RouterHandle, CancellationToken, JoinHandle<()>),
    tidy: (CancellationToken, JoinHandle<()>),
    store: Store,
}

/// Brings what a store tells to the rooms that an [`Engine`] is made of, whenever that is made.
#[derive(Default)]
pub struct Wiring {
    dispatch: Dispatch,
    router: RouterHandle,
    links: Arc<OnceLock<LinksHandle>>,
    hooks: HooksHandle,
    peers: Arc<OnceLock<PeersHandle>>,
}

/// What an [`Engine`] is made of.
pub struct Parts {
    /// Its disk, opened with [`Wiring::told`].
    pub store: Store,
    /// The identity in it.
    pub me: Me,
    /// What the config says.
    pub settings: Settings,
    /// Time, chance and network.
    pub outside: Outside,
    /// Where direct peers are taken.
    pub listening: Listening,
    /// How others reach that, where its own address does not say.
    pub public: Vec<HostPort>,
    /// The folder that the user knows the profile by.
    pub home: PathBuf,
}

/// A daemon that runs.
pub struct Running {
    // Set once.
    socket: PathBuf,
    network: Arc<Tcp>,
    /// Where it was told to listen.
    listen: Vec<SocketAddr>,
    // Ended by stop, in this order.
    scoped: Mutex<Scoped>,
    server: (CancellationToken, JoinHandle<()>),
    service: Service,
    engine: Engine,
    home: Home,
}

/// Starts a daemon within the present runtime. Its socket answers when this returns.
///
/// # Errors
/// [`StartError`].
pub async fn start(start: Start) -> Result<Running, StartError> {
    let home = start.home;
    let socket = home.places().socket.clone();
    let wiring = Wiring::default();
    let (store, me) = open_profile(&home, start.disk, wiring.told()).await?;
    let programs = System { folder: home.places().data.join(HOOKS) };
    let listening = Listening::bind(&start.listen).await?;
    let network = Arc::new(Tcp::default());
    network.go_through(start.settings.socks5);
    let parts = Parts {
        listening,
        public: start.public,
        store,
        me,
        settings: start.settings,
        outside: Outside {
            programs: Arc::new(programs),
            network: network.clone(),
            ..Outside::default()
        },
        home: home.shown().to_owned(),
    };
    let (engine, service) = Engine::start(parts, wiring)?;
    let listener = match start.socket {
        Some(socket) => Listener::adopt(socket).map_err(StartError::Adopt)?,
        None => Listener::bind(&socket)?,
    };
    let server_stop = CancellationToken::new();
    let server = tokio::spawn(Server::new(listener, service.clone()).run(server_stop.clone()));
    tracing::info!("ready");
    Ok(Running {
        socket,
        network,
        listen: start.listen,
        scoped: Mutex::new(Scoped::new(engine.sockets.clone())),
        server: (server_stop, server),
        service,
        engine,
        home,
    })
}

impl Wiring {
    /// For the store.
    pub fn told(&self) -> Told {
        let Self { dispatch, router, links, peers, hooks } = self;
        let (links, peers) = (Arc::clone(links), Arc::clone(peers));
        route(dispatch.clone(), router.clone(), links, hooks.clone(), peers)
    }
}

impl Engine {
    /// Starts it within the present runtime, and gives the methods that it answers.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parts: Parts, wiring: Wiring) -> Result<(Self, Service), StartError> {
        let Parts { store, me, settings, outside, listening, public, home } = parts;
        let Wiring { dispatch, router, links: links_of_told, peers: peers_of_told, hooks } = wiring;
        let settings = watch::Sender::new(chosen(&store, settings)?);
        let live = Live::new({
            let dispatch = dispatch.clone();
            Arc::new(move |event| dispatch.tell(event))
        });

        let (link_events, events) = mpsc::channel(LINK_EVENTS);
        let router_stop = CancellationToken::new();
        let router_deps = router::Deps {
            store: store.clone(),
            me: me.clone(),
            clock: outside.clock.clone(),
            settings: settings.subscribe(),
            live: live.clone(),
            events,
        };
        let router_task = router.start(router_deps, router_stop.clone());
        let deps = relay::Deps {
            store: store.clone(),
            me: me.clone(),
            outside: outside.clone(),
            settings: settings.subscribe(),
            live: live.clone(),
            events: link_events,
        };
        let links = Links::start(deps.clone());
        let peers = Peers::start(deps, listening, public);
        // Set once, here.
        let _ = links_of_told.set(links.clone());
        let _ = peers_of_told.set(peers.clone());

        let hooks_stop = CancellationToken::new();
        let hooks_deps = hooks::Deps {
            store: store.clone(),
            clock: outside.clock.clone(),
            dispatch: dispatch.clone(),
            programs: Arc::clone(&outside.programs),
        };
        let hooks_task = hooks.start(hooks_deps, hooks_stop.clone());

        let asked = CancellationToken::new();
        let (config_mistake, restart) = (watch::Sender::new(None), watch::Sender::new(None));
        let sockets = watch::Sender::default();
        let service = rpc::service(Core {
            store: store.clone(),
            me: me.clone(),
            dispatch,
            live,
            accounts: Accounts::new(store.clone(), me, links.clone(), outside.clone()),
            hooks: hooks.clone(),
            meeter: Meeter::new(store.clone(), outside.clone()),
            peers: peers.clone(),
            router: router.clone(),
            outside: outside.clone(),
            settings: settings.clone(),
            config_mistake: config_mistake.subscribe(),
            sockets: sockets.subscribe(),
            restart: restart.subscribe(),
            home,
            started: Time::now(),
            stop: asked.clone(),
        })?;
        let tidy_stop = CancellationToken::new();
        let clock = outside.clock;
        let tidy = tidy::run(store.clone(), clock, settings.subscribe(), tidy_stop.clone());
        let engine = Self {
            asked,
            settings,
            config_mistake,
            sockets,
            restart,
            hooks_handle: hooks,
            hooks: (hooks_stop, hooks_task),
            links,
            peers,
            router: (router, router_stop, router_task),
            tidy: (tidy_stop, tokio::spawn(tidy)),
            store,
        };
        Ok((engine, service))
    }

    /// Resolves when the rooms that everything goes through have come around once more; never,
    /// where one of them hangs. A disk that refuses does not hang: it is told, and tried again.
    pub async fn goes_on(&self) {
        let writes = async {
            let wrote = self.store.write(|_| Ok::<_, StoreError>(())).await;
            if wrote == Err(StoreError::Stopped) {
                std::future::pending::<()>().await;
            }
        };
        tokio::join!(writes, self.router.0.goes_on(), self.links.go_on());
    }

    /// Stops, in order: no more programs, no more links, nothing more to be sent, and the disk last.
    pub async fn stop(self) {
        self.hooks.0.cancel();
        log_end("the running of hooks", self.hooks.1.await);
        drop(self.hooks_handle);
        self.peers.stop().await;
        self.links.stop().await;
        self.router.1.cancel();
        log_end("the router", self.router.2.await);
        self.tidy.0.cancel();
        log_end("the removal of old messages", self.tidy.1.await);
        if timeout(LAST_READS, self.store.close()).await.is_err() {
            tracing::warn!("something still reads the store");
        }
    }
}

/// Brings what a commit tells to whom it concerns. Nobody waits here: there are pokes, and a ring.
fn route(
    dispatch: Dispatch,
    router: RouterHandle,
    links: Arc<OnceLock<LinksHandle>>,
    hooks: HooksHandle,
    peers: Arc<OnceLock<PeersHandle>>,
) -> Told {
    Arc::new(move |facts: Vec<Fact>| {
        for fact in &facts {
            match fact {
                Fact::Due(contact) => router.due(*contact),
                Fact::Greet(contact) => router.greet(*contact),
                Fact::Read(contact) => router.read(*contact),
                // Links that are not there yet read the disk when they start.
                Fact::Asks(way) if way.is_direct() => {
                    if let Some(peers) = peers.get() {
                        peers.news(*way);
                    }
                }
                Fact::Peers => {
                    if let Some(peers) = peers.get() {
                        peers.changed();
                    }
                }
                Fact::Asks(relay) => {
                    if let Some(links) = links.get() {
                        links.chores(*relay);
                    }
                }
                Fact::Relays => {
                    if let Some(links) = links.get() {
                        links.relays_changed();
                    }
                }
                Fact::Hooks | Fact::Arrived => hooks.poke(),
                Fact::Unsure => {
                    router.everybody();
                    hooks.poke();
                    if let (Some(links), Some(peers)) = (links.get(), peers.get()) {
                        links.look_at_all();
                        peers.look_at_all();
                    }
                }
                Fact::Event(_) | Fact::State { .. } => {}
            }
        }
        dispatch.told(facts);
    })
}

/// The config, and over it what the user has chosen since.
fn chosen(store: &Store, config: Settings) -> Result<Settings, StoreError> {
    let invisible = store.read_now(|db| profile::invisible(db))?;
    Ok(Settings { visible: invisible.map_or(config.visible, |invisible| !invisible), ..config })
}

impl Running {
    /// Where it answers.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where direct peers are taken, with the ports that the system chose.
    #[must_use]
    pub fn listening(&self) -> &[SocketAddr] {
        self.engine.peers.listening()
    }

    /// Resolves when a client asked it to stop.
    pub async fn asked_to_stop(&self) {
        self.engine.asked.cancelled().await;
    }

    /// Resolves when its rooms came around once more and its socket answered; never, where one hangs.
    pub async fn goes_on(&self) {
        self.engine.goes_on().await;
        let socket = self.socket.clone();
        let answered = tokio::task::spawn_blocking(move || call_oneself(&socket)).await;
        // That there are too many clients already is an answer.
        if !matches!(answered, Ok(Ok(()) | Err(CallError::Failed(_)))) {
            tracing::error!("the socket does not answer");
            std::future::pending::<()>().await;
        }
    }

    /// Takes another config.
    ///
    /// # Errors
    /// [`StoreError`]; the old one stays.
    pub fn reconfigure(&self, config: Settings) -> Result<(), StoreError> {
        let settings = chosen(&self.engine.store, config)?;
        if self.network.go_through(settings.socks5) {
            tracing::warn!("links that are up stay as they are: the proxy is for new ones");
        }
        self.engine.settings.send_replace(settings);
        self.engine.config_mistake.send_replace(None);
        Ok(())
    }

    /// Takes another word on where it is. How others reach it holds at once; what it listens on is
    /// bound at a start, which the user is told.
    pub fn be_at(&self, listen: &[SocketAddr], public: Vec<HostPort>) {
        self.engine.peers.set_public(public);
        let waits = (listen != self.listen).then(|| {
            "`listen` in the config is another one than this daemon was started with: it takes \
             direct peers there after a restart"
                .to_owned()
        });
        if let Some(waits) = &waits {
            tracing::warn!("{waits}");
        }
        self.engine.restart.send_replace(waits);
    }

    /// Runs these programs for what happens, and no others.
    ///
    /// # Errors
    /// [`StoreError`]; the ones before stay.
    pub async fn run_hooks(&self, hooks: Vec<Hook>) -> Result<(), StoreError> {
        self.engine.hooks_handle.set(&self.engine.store, hooks).await
    }

    /// Serves these sockets beside its own, and no others. One that cannot be is among the warnings
    /// of `daemon.status`.
    pub async fn serve(&self, sockets: Vec<ScopedSocket>) {
        self.scoped.lock().await.serve(sockets, &self.service).await;
    }

    /// Another config was not to be used, for this reason, which is shown until one is.
    pub fn keep_config(&self, mistake: String) {
        self.engine.config_mistake.send_replace(Some(mistake));
    }

    /// Stops, in order. Calls that run get a moment to answer. The next daemon may start when what
    /// is returned is dropped.
    pub async fn stop(self) -> Home {
        self.scoped.into_inner().stop().await;
        self.server.0.cancel();
        log_end("the socket", self.server.1.await);
        // It has the store, too, which is closed when the last who have it are gone.
        drop(self.service);
        self.engine.stop().await;
        tracing::info!("stopped");
        self.home
    }
}

/// As any program calls: accepted, understood, and looked up on the disk.
fn call_oneself(socket: &Path) -> Result<(), CallError> {
    let mut client = Client::connect(socket)?;
    client.set_timeout(Some(OWN_CALL))?;
    client.call::<identity::Show>(&NoParams {}).map(drop)
}

fn log_end(what: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // Not its text: a panic's message may quote data.
        tracing::error!(panicked = error.is_panic(), "{what} did not end by itself");
    }
}
