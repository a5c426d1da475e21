//! A running relay: what it is made of, and its beginning and end.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::opaque::{BadRelayKeys, RelayAccounts};
use ams_link::Stream;
use ams_rpc::admin::RelayStatus;
use ams_rpc::unix::BindError;
use ams_wire::address::{HostPort, RELAY_PORT, RelayLink};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::store::{Disk, Store};
use crate::accounts::{Accounts, AccountsError};
use crate::admin::{AdminError, Administration, Live, service};
use crate::config::{Config, NoPublicAddress, Storage};
use crate::conn::Desk;
use crate::data::{self, Data, DataError, Keys};
use crate::gate::Gate;
use crate::gate::door::Door;
use crate::gate::turns::Turns;
use crate::hub::{Bounds, Hub};
use crate::limits::Table;
use crate::link::{self, Rooms, Stop};
use crate::{memory, metrics};

/// Bytes that a stream in memory holds each way.
const DUPLEX: usize = 256 * 1024;
/// How long the links have for their goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// How often what has expired is deleted, and how long after the start for the first time, when the
/// disk has other work.
const SWEEP: Duration = Duration::from_secs(3600);
const FIRST_SWEEP: Duration = Duration::from_secs(60);

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Nobody would know how to reach it.
    #[error(transparent)]
    Address(#[from] NoPublicAddress),
    /// The port cannot be had.
    #[error("cannot listen on {at}: {source}{}", hint(source))]
    Listen {
        /// Where.
        at: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The administrator's socket cannot be made.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// The accounts in memory cannot be made.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The keys in memory cannot be made.
    #[error(transparent)]
    Keys(#[from] BadRelayKeys),
    /// The table of the administrator's methods and their handlers differ.
    #[error(transparent)]
    Table(#[from] ams_rpc::service::TableMismatch),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program uses this port, perhaps another relay: choose one with --listen \
             ADDR:PORT"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need rights: choose a higher one",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// A relay that runs. Dropping it stops it without a goodbye.
#[derive(Debug)]
pub struct Running {
    rooms: Arc<Rooms>,
    administration: Arc<Administration>,
    bound: Option<SocketAddr>,
    stop: Stop,
    tasks: TaskTracker,
    links: TaskTracker,
}

/// Starts a relay. Call within a runtime.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub async fn start(config: Config) -> Result<Running, StartError> {
    match &config.storage {
        Storage::Memory => {
            let store = Store::in_memory()?;
            let keys = Keys { link: DhSecret::generate(), opaque: RelayAccounts::generate()? };
            start_on(config, Arc::new(store), keys).await
        }
        Storage::Folder(path) => {
            // Who has the folder says more than that the port is taken. Where there is no relay
            // yet, none is made that could not run.
            let held = if data::has_relay(path) { Some(Data::claim(path)?) } else { None };
            let doors = Doors::open(&config).await?;
            let data = match held {
                Some(data) => data,
                None => Data::claim(path)?,
            };
            let (store, keys) = data.open()?;
            begin(config, Arc::new(store), keys, doors, Some(data))
        }
    }
}

/// As [`start`] in a data folder, with the accounts on `disk` in place of their file: for
/// simulations.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub async fn start_in(
    folder: &Path,
    disk: Arc<dyn Disk>,
    config: Config,
) -> Result<Running, StartError> {
    let data = Data::claim(folder)?;
    let doors = Doors::open(&config).await?;
    let (store, keys) = data.open_on(disk)?;
    begin(config, Arc::new(store), keys, doors, Some(data))
}

/// As [`start`], on accounts of any kind and with these keys, whatever the config says of storage.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub async fn start_on(
    config: Config,
    accounts: Arc<dyn Accounts>,
    keys: Keys,
) -> Result<Running, StartError> {
    let doors = Doors::open(&config).await?;
    begin(config, accounts, keys, doors, None)
}

/// Where a relay is reached.
struct Doors {
    listener: Option<TcpListener>,
    metrics: Option<TcpListener>,
    bound: Option<SocketAddr>,
    /// As its links say.
    at: HostPort,
}

impl Doors {
    async fn open(config: &Config) -> Result<Self, StartError> {
        let listener = listen(config.listen).await?;
        let metrics = listen(config.metrics).await?;
        let bound = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let at = match (bound, &config.public_address) {
            (Some(bound), _) => config.address(bound)?,
            (None, Some(public)) => public.at(RELAY_PORT).unwrap_or_else(nowhere),
            (None, None) => nowhere(),
        };
        Ok(Self { listener, metrics, bound, at })
    }
}

async fn listen(at: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(at) = at else { return Ok(None) };
    let bound = TcpListener::bind(at).await;
    bound.map(Some).map_err(|source| StartError::Listen { at, source })
}

fn begin(
    config: Config,
    accounts: Arc<dyn Accounts>,
    keys: Keys,
    doors: Doors,
    data: Option<Data>,
) -> Result<Running, StartError> {
    let Doors { listener, metrics, bound, at } = doors;
    let socket = match &data {
        Some(data) => {
            data.record_address(&at)?;
            Some(ams_rpc::server::Listener::bind(&data.path().join(data::SOCKET))?)
        }
        None => None,
    };

    let (limits, root_administers) = (config.limits.clone(), config.root_administers);
    // A relay in memory shares its process with whoever simulates.
    let cap = data.is_some().then_some(limits.memory_bytes);
    let opaque = Arc::new(keys.opaque);
    let (hub, porter) = Hub::new(Bounds::new(config.retry_window, &limits));
    let link = data::link(&keys.link, &at);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let gate = Gate {
        accounts: Arc::clone(&accounts),
        opaque: Arc::clone(&opaque),
        key: keys.link,
        clock: config.clock,
        registration: config.registration,
        window: u32::try_from(config.retry_window.as_secs()).unwrap_or(u32::MAX),
        source_tries: Table::new(Gate::source_rate(&limits)),
        tries: Table::new(Gate::name_rate(&limits)),
        turns: Turns::new(
            processors,
            usize::try_from(limits.handshakes_waiting).unwrap_or(usize::MAX),
        ),
        epoch: Instant::now(),
        started: std::time::Instant::now(),
        limits: limits.clone(),
    };
    let by = (config.clock, config.chance.clone());
    let desk = Desk::new(Arc::clone(&accounts), Arc::clone(&hub), opaque, by, limits);
    let door = Door::new(&config.limits);
    let rooms = Arc::new(Rooms { door, gate: Arc::new(gate), desk: Arc::new(desk) });
    let live = Live { hub, started: config.clock.now() };
    let administration = Arc::new(Administration::new(accounts, config, link, Some(live), data));

    let running = Running {
        rooms,
        administration,
        bound,
        stop: Stop::default(),
        tasks: TaskTracker::new(),
        links: TaskTracker::new(),
    };
    running.run(porter.run(running.token()));
    if let Some(cap) = cap {
        running.watch_memory(cap, memory::resident);
    }
    if let Some(listener) = listener {
        let rooms = Arc::clone(&running.rooms);
        running.run(link::accept(listener, rooms, running.links.clone(), running.stop.clone()));
    }
    if let Some(metrics) = metrics {
        let administration = Arc::clone(&running.administration);
        running.run(metrics::serve(metrics, administration, running.token()));
    }
    if let Some(socket) = socket {
        let service = service::build(&running.administration)?;
        let server = ams_rpc::server::Server::new(socket, service).allow_root(root_administers);
        running.run(server.run(running.token()));
    }
    running.run(sweep(Arc::clone(&running.administration), running.token()));
    Ok(running)
}

/// For a relay without a listener: it is reached by the streams that it is given.
fn nowhere() -> HostPort {
    HostPort::from_socket(SocketAddr::from(([127, 0, 0, 1], RELAY_PORT)))
}

async fn sweep(administration: Arc<Administration>, stop: CancellationToken) {
    let mut wait = FIRST_SWEEP;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => wait = SWEEP,
        }
        if let Err(error) = administration.sweep().await {
            tracing::warn!(%error, "what has expired was not deleted");
        }
    }
}

impl Running {
    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    fn token(&self) -> CancellationToken {
        self.stop.stop.clone()
    }

    /// Watches what `used` says of the memory of this process.
    pub(crate) fn watch_memory(
        &self,
        cap: u64,
        used: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        let (door, hub) = (Arc::clone(&self.rooms.door), Arc::clone(&self.rooms.desk.hub));
        self.run(memory::watch(cap, used, door, hub, self.token()));
    }

    /// How clients reach it.
    pub fn link(&self) -> RelayLink {
        self.administration.link().clone()
    }

    /// The same as a text.
    pub fn link_text(&self) -> String {
        data::link_text(self.administration.link())
    }

    /// What it listens on.
    pub fn bound(&self) -> Option<SocketAddr> {
        self.bound
    }

    /// A new invite for `name`, as a link.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn invite(&self, name: &str) -> Result<String, AdminError> {
        Ok(self.administration.invite(name, None, false).await?.link)
    }

    /// What `ams-relay status` says.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn status(&self) -> Result<RelayStatus, AccountsError> {
        self.administration.status().await
    }

    /// Serves a client on a stream that is there already.
    pub fn serve<S: Stream>(&self, stream: S) {
        link::spawn(&self.rooms, &self.links, &self.stop, stream, None);
    }

    /// A stream in memory whose other end is served.
    pub fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(DUPLEX);
        self.serve(server);
        client
    }

    #[cfg(test)]
    pub(crate) fn desk(&self) -> &Desk {
        &self.rooms.desk
    }

    /// Says goodbye to all clients and stops.
    pub async fn stop(self) {
        self.stop.stop.cancel();
        self.links.close();
        self.rooms.desk.hub.drain();
        if tokio::time::timeout(GOODBYE, self.links.wait()).await.is_err() {
            tracing::warn!("some links did not end in time");
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop.cancel();
        self.stop.cut.cancel();
    }
}
