//! `relay.toml`: what a person wrote ([`Raw`]) becomes what the relay runs by ([`Config`]). Every
//! key is optional, and a key that does not exist is refused with its line.

mod block;
mod limits;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ams_link::Chance;
use ams_wire::address::{HostPort, RELAY_PORT};
use serde::Deserialize;

use crate::clock::Clock;
pub use block::{Block, NoBlock};
pub use limits::Limits;

/// Longest retry window.
pub const MAX_WINDOW: Duration = Duration::from_secs(3600);
/// The retry window where the config names none.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(60);

/// Where the accounts and keys lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In a data folder.
    Folder(PathBuf),
    /// In memory, gone with the relay: for simulations.
    Memory,
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Whoever has an invite.
    Invite,
    /// Nobody. An invite for an existing account still gives it a new password.
    Closed,
}

/// What a relay runs by.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it keeps what it keeps.
    pub storage: Storage,
    /// Where it listens; port 0 lets the system choose. None: it serves only the streams that it is
    /// given.
    pub listen: Option<SocketAddr>,
    /// How others reach it, where that is not what it listens on. Without a port: the one that it
    /// listens on.
    pub public_address: Option<PublicAddress>,
    /// How long a message is held for somebody who is not online.
    pub retry_window: Duration,
    /// Who may make an account.
    pub registration: Registration,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// Where to answer Prometheus, over HTTP; off by default.
    pub metrics: Option<SocketAddr>,
    /// Root may use the administrator's socket, too.
    pub root_administers: bool,
    /// Tells the time for expiries.
    pub clock: Clock,
    /// Where jitter comes from.
    pub chance: Chance,
}

/// A host, and perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicAddress {
    text: String,
}

impl TryFrom<String> for PublicAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        public_address(&text)
    }
}

impl PublicAddress {
    /// Reads `HOST[:PORT]`; `None` if it is no such thing.
    pub fn parse(text: &str) -> Option<Self> {
        HostPort::parse(text, RELAY_PORT).ok()?;
        Some(Self { text: text.to_owned() })
    }

    /// With `port` where none is named.
    pub fn at(&self, port: u16) -> Option<HostPort> {
        HostPort::parse(&self.text, port).ok()
    }
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: Option<Listen>,
    public_address: Option<PublicAddress>,
    retry_window: Option<Window>,
    registration: Option<Registration>,
    metrics: Option<Metrics>,
    limits: Limits,
}

/// What is written is checked while it is read, so that each mistake has its line.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Listen(SocketAddr);

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        listen(&text).map(Self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Metrics(SocketAddr);

impl TryFrom<String> for Metrics {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let at = text.parse();
        at.map(Self).map_err(|_| format!("`{text}` is not ADDR:PORT, for example 127.0.0.1:9310"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Window(Duration);

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match limits::duration::parse(&text)? {
            window if window > MAX_WINDOW => Err("a retry window is at most 1h".to_owned()),
            window => Ok(Self(window)),
        }
    }
}

/// What is wrong with a config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not what a config looks like; the text names line and key.
    #[error("{}: {text}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        text: String,
    },
    /// The value of a flag makes no sense.
    #[error("{flag}: {text}")]
    Value {
        /// The flag.
        flag: String,
        /// What is wrong.
        text: String,
    },
}

impl Config {
    /// The defaults, on `storage`.
    pub fn new(storage: Storage) -> Self {
        Self {
            storage,
            listen: Some(SocketAddr::from(([0, 0, 0, 0], RELAY_PORT))),
            public_address: None,
            retry_window: DEFAULT_WINDOW,
            registration: Registration::Invite,
            limits: Limits::default(),
            metrics: None,
            root_administers: false,
            clock: Clock::System,
            chance: Chance::default(),
        }
    }

    /// The defaults, overridden by the file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(storage: Storage, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(storage, path, &text)
    }

    fn parse(storage: Storage, path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            text: error.to_string().trim_end().to_owned(),
        })?;
        let default = Self::new(storage);
        Ok(Self {
            listen: raw.listen.map(|at| at.0).or(default.listen),
            public_address: raw.public_address,
            retry_window: raw.retry_window.map_or(default.retry_window, |window| window.0),
            registration: raw.registration.unwrap_or(default.registration),
            metrics: raw.metrics.map(|at| at.0),
            limits: raw.limits,
            ..default
        })
    }

    /// The address that the relay's links name, if it listens on `bound`.
    ///
    /// # Errors
    /// When it listens on all addresses and none was said to be the public one.
    pub fn address(&self, bound: SocketAddr) -> Result<HostPort, NoPublicAddress> {
        match &self.public_address {
            Some(public) => public.at(bound.port()).ok_or(NoPublicAddress { bound }),
            None if bound.ip().is_unspecified() => Err(NoPublicAddress { bound }),
            None => Ok(HostPort::from_socket(bound)),
        }
    }
}

/// The relay listens on every address and was not told how others reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "listening on {bound} says nothing about how others reach this relay: give \
     --public-address HOST[:PORT] (or public_address in the config), or --listen ADDR:PORT with an \
     address that others can reach"
)]
pub struct NoPublicAddress {
    /// What it listens on.
    pub bound: SocketAddr,
}

/// Reads `ADDR:PORT` or `ADDR`.
///
/// # Errors
/// Says what was expected.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, RELAY_PORT)))
        .map_err(|_| format!("`{text}` is not ADDR:PORT, for example 0.0.0.0:{RELAY_PORT}"))
}

/// Reads `HOST[:PORT]`.
///
/// # Errors
/// Says what was expected.
pub fn public_address(text: &str) -> Result<PublicAddress, String> {
    PublicAddress::parse(text)
        .ok_or_else(|| format!("`{text}` is not HOST or HOST:PORT, for example relay.example.org"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Storage::Memory, Path::new("relay.toml"), text)
    }

    #[test]
    fn an_empty_config_is_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.retry_window, DEFAULT_WINDOW);
        assert_eq!(config.registration, Registration::Invite);
        assert_eq!(config.listen, Some("0.0.0.0:7311".parse().unwrap()));
    }

    #[test]
    fn every_key_is_understood() {
        let config = parse(
            "listen = \"127.0.0.1\"\npublic_address = \"relay.example.org\"\nretry_window = \"0s\"\n\
             registration = \"closed\"\nmetrics = \"127.0.0.1:9310\"\n[limits]\nasks_per_day = 3\nexempt = [\"10.0.0.1\"]\n\
             banned = [\"192.0.2.0/24\"]\n\
             presence_tick = \"10ms\"\n",
        )
        .unwrap();
        assert_eq!(config.listen, Some("127.0.0.1:7311".parse().unwrap()));
        assert_eq!(config.retry_window, Duration::ZERO);
        assert_eq!(config.registration, Registration::Closed);
        assert_eq!(config.limits.asks_per_day, 3);
        assert_eq!(config.limits.asks_pending, 50);
        assert_eq!(config.limits.exempt, ["10.0.0.1".parse().unwrap()]);
        assert_eq!(config.limits.banned, ["192.0.2.0/24".parse().unwrap()]);
        assert_eq!(config.limits.presence_tick, Duration::from_millis(10));
        let address = config.address("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(address.to_string(), "relay.example.org:9");
    }

    /// One mistake each; the expected message lies beside it.
    #[test]
    fn invalid_examples_say_what_is_wrong() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid-config");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let error = parse(&text).expect_err(&path.display().to_string()).to_string();
            let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap();
            assert_eq!(error.trim_end(), expected.trim_end(), "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 6, "{seen}");
    }

    #[test]
    fn an_unspecified_address_needs_a_public_one() {
        let config = parse("").unwrap();
        let error = config.address("0.0.0.0:7311".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("--public-address"), "{error}");
        assert_eq!(
            config.address("192.0.2.1:5".parse().unwrap()).unwrap().to_string(),
            "192.0.2.1:5"
        );
    }
}
