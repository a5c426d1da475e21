//! A relay within the test's process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ams_relay::config::{Config, Storage};
use ams_rpc::Method;
use ams_rpc::admin;
use ams_rpc::types::NoParams;
use ams_wire::address::{HostPort, InviteLink, Link, RELAY_PORT, RelayLink};
use tokio::sync::{Mutex, watch};

use crate::connection::Connection;
use crate::disk::Disk;
use crate::line::Line;

/// A relay, running or not.
pub struct Relay {
    // Set once.
    nick: String,
    data: PathBuf,
    config: Config,
    // Shared: lines follow it.
    at: watch::Sender<Option<SocketAddr>>,
    running: Mutex<Option<ams_relay::Running>>,
    /// In place of the file of the accounts.
    disk: Mutex<Option<Arc<Disk>>>,
}

impl Relay {
    /// Starts a relay that people call `nick`.
    pub(crate) async fn start_new(
        nick: &str,
        data: &Path,
        adjust: impl FnOnce(&mut Config),
        disk: Option<Arc<Disk>>,
    ) -> Self {
        let mut config = Config::new(Storage::Folder(data.to_owned()));
        config.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        // A test asks often, and does not want to wait for a tick.
        config.limits.ask_interval = Duration::ZERO;
        config.limits.asks_per_day = 1_000;
        config.limits.renewal_interval = Duration::ZERO;
        config.limits.presence_tick = Duration::from_millis(10);
        adjust(&mut config);
        let relay = Self {
            nick: nick.to_owned(),
            data: data.to_owned(),
            config,
            at: watch::Sender::new(None),
            running: Mutex::new(None),
            disk: Mutex::new(disk),
        };
        relay.start().await;
        relay
    }

    /// What people call it.
    #[must_use]
    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// Where it keeps what it keeps.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Starts it again, on another port.
    pub async fn start(&self) {
        let mut running = self.running.lock().await;
        assert!(running.is_none(), "{} runs already", self.nick);
        let config = self.config.clone();
        let started = match self.disk.lock().await.clone() {
            Some(disk) => ams_relay::start_in(&self.data, disk, config).await.unwrap(),
            None => ams_relay::start(config).await.unwrap(),
        };
        self.at.send_replace(started.bound());
        *running = Some(started);
    }

    /// Puts another disk in the place of the one that it has, while it does not run.
    pub async fn put_disk(&self, disk: Arc<Disk>) {
        assert!(self.running.lock().await.is_none(), "{} runs", self.nick);
        *self.disk.lock().await = Some(disk);
    }

    /// Stops it; whoever calls then finds nobody.
    pub async fn stop(&self) {
        let running = self.running.lock().await.take();
        self.at.send_replace(None);
        running.unwrap_or_else(|| panic!("{} does not run", self.nick)).stop().await;
    }

    /// Stops it and starts it again.
    pub async fn restart(&self) {
        self.stop().await;
        self.start().await;
    }

    /// A line of its own, for one person.
    pub(crate) async fn line(&self) -> Line {
        Line::open(self.at.subscribe()).await
    }

    /// An administrator's call.
    pub async fn admin<M: Method>(&self, params: M::Params) -> M::Result {
        let socket = self.data.join(ams_relay::data::SOCKET);
        Connection::open(&socket).await.unwrap().call::<M>(params).await
    }

    /// An invite that leads over `line`.
    pub async fn invite(&self, name: &str, line: &Line) -> String {
        let params = admin::InviteCreateParams { name: name.to_owned(), expires: None };
        let made = self.admin::<admin::invite::Create>(params).await;
        let invite = Link::parse_invite(&made.link).unwrap();
        Link::Invite(InviteLink { at: host_port(line), ..invite }).to_string()
    }

    /// Its address, over `line`.
    pub async fn address(&self, line: &Line) -> String {
        let shown = self.admin::<admin::relay::Address>(NoParams {}).await;
        let link = Link::parse_relay(&shown.address).unwrap();
        Link::Relay(RelayLink { at: host_port(line), ..link }).to_string()
    }
}

fn host_port(line: &Line) -> HostPort {
    HostPort::parse(&line.at().to_string(), RELAY_PORT).unwrap()
}
