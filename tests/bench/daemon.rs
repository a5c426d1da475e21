//! People with real daemons, on a real relay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ams_rpc::client::Client;
use ams_rpc::methods::{contact, daemon, identity};
use ams_rpc::types::{ContactState, DaemonStatus, LinkState, NoParams};
use anyhow::{Context, Result, bail, ensure};

use crate::process::{Server, command, program};
use crate::relay::Relay;

const PATIENCE: Duration = Duration::from_secs(30);
/// Nickname of the relay.
const RELAY: &str = "home";

/// Somebody with a daemon.
pub(crate) struct Person {
    name: String,
    home: PathBuf,
    pub(crate) daemon: Server,
}

impl Person {
    /// Starts a daemon in a new home in `folder` and joins the relay.
    pub(crate) fn join(folder: &Path, name: &str, relay: &Relay) -> Result<Self> {
        let person = Self::start(folder, name, &[])?;
        fs::write(person.home.join("password"), "correct horse battery\n")?;
        let invite = relay.invite(std::iter::once(name.to_owned()))?.pop().context("no invite")?;
        let password = person.home.join("password");
        let mut join = person.amsctl(&["relay", "join", &invite, "--as", RELAY])?;
        join.arg("--password-file").arg(password);
        run(&mut join)?;
        person.until("the relay is up", |status| {
            status.relays.iter().any(|relay| relay.state == LinkState::Up)
        })?;
        Ok(person)
    }

    /// Starts a daemon in a new home in `folder` that takes direct peers and is on no relay.
    pub(crate) fn listen(folder: &Path, name: &str) -> Result<Self> {
        Self::start(folder, name, &["--listen", "127.0.0.1:0"])
    }

    fn start(folder: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        let home = folder.join(name);
        fs::create_dir_all(&home)?;
        fs::write(home.join("config.toml"), "requests = \"accept\"\n")?;
        let person = Self { name: name.to_owned(), daemon: serve(&home, arguments)?, home };
        person.client()?;
        Ok(person)
    }

    /// Stops the daemon and starts it again; gives the time until its socket answers.
    pub(crate) fn restart(mut self) -> Result<(Self, Duration)> {
        self.daemon.stop()?;
        let began = Instant::now();
        self.daemon = serve(&self.home, &[])?;
        self.client()?;
        let took = began.elapsed();
        Ok((self, took))
    }

    /// Asks `other`, who accepts by itself, and waits until both can write.
    pub(crate) fn meet(&self, other: &Self) -> Result<()> {
        let address = format!("{}@{RELAY}", other.name);
        run(&mut self.amsctl(&["contact", "add", &address])?)?;
        self.until_active(&other.name)?;
        other.until_active(&self.name)
    }

    /// Dials `other`, who listens and accepts by itself, and waits until it can be written to.
    pub(crate) fn meet_directly(&self, other: &Self) -> Result<()> {
        let links = other.client()?.call::<identity::Show>(&NoParams {})?.peer_links;
        let link = links.first().context("no peer link")?;
        run(&mut self.amsctl(&["peer", "connect", link, "--as", &other.name])?)?;
        self.until_active(&other.name)
    }

    fn until_active(&self, name: &str) -> Result<()> {
        let mut client = self.client()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let list = client.call::<contact::List>(&NoParams {})?;
            let mut contacts = list.contacts.iter();
            if contacts.any(|is| is.name == name && is.state == ContactState::Active) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{name} is no contact of {}", self.name);
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the daemon's status is as wanted; looks every 10 ms.
    pub(crate) fn until(
        &self,
        what: &str,
        is_so: impl Fn(&DaemonStatus) -> bool,
    ) -> Result<DaemonStatus> {
        let mut client = self.client()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = client.call::<daemon::Status>(&NoParams {})?;
            if is_so(&status) {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{}: not so: {what}: {status:?}", self.name);
            sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn status(&self) -> Result<DaemonStatus> {
        Ok(self.client()?.call::<daemon::Status>(&NoParams {})?)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("amsd.sock")
    }

    /// A connection to the daemon, which may have been started a moment ago.
    pub(crate) fn client(&self) -> Result<Client> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect(&self.socket()) {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() < deadline && error.is_away() => {
                    sleep(Duration::from_micros(200));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// `amsctl` for this person.
    pub(crate) fn amsctl(&self, arguments: &[&str]) -> Result<Command> {
        let mut amsctl = command(&program("amsctl")?);
        amsctl.arg("--home").arg(&self.home).args(arguments).stdin(Stdio::null());
        Ok(amsctl)
    }
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status()?;
    let took = began.elapsed();
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(took)
}

fn serve(home: &Path, arguments: &[&str]) -> Result<Server> {
    let mut amsd = command(&program("amsd")?);
    amsd.arg("--home").arg(home).args(arguments);
    Server::start_silent(&mut amsd, home)
}
