//! What the user decides beforehand: `config.toml`.
//!
//! The raw file (serde, unknown keys refused) becomes [`Settings`], which have a value for
//! everything. The daemon reads it at the start and again at SIGHUP.

mod hook;
mod socket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ams_rpc::types::{Period, Visibility};
use ams_wire::address::{DIRECT_PORT, HostPort};
use serde::Deserialize;
use toml::Spanned;

use crate::home::{self, ConfigFileError};
use crate::hooks::Hook;
use crate::scoped::ScopedSocket;
use crate::settings::{Direct, History, Requests, Settings, Undeliverable};
use hook::RawHook;
use socket::RawSocket;

/// How long what was read stays, as it is written.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Stay(History);

impl TryFrom<String> for Stay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "forever" => Ok(Self(History::Forever)),
            "off" => Ok(Self(History::Off)),
            other => match other.parse::<Period>() {
                Ok(Period(length)) if !length.is_zero() => Ok(Self(History::For(length))),
                Ok(_) => Err("a history of no length is written \"off\"".to_owned()),
                Err(_) => Err(format!(
                    "`{other}` is neither a duration like \"90d\" nor \"forever\" nor \"off\""
                )),
            },
        }
    }
}

/// How others reach this daemon, as it is written.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct PublicAddress(HostPort);

impl TryFrom<String> for PublicAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let at = HostPort::parse(&text, DIRECT_PORT);
        at.map(Self).map_err(|error| format!("`{text}` is {error}"))
    }
}

/// The proxy, as it is written. Its address and not its name: with a proxy nothing is looked up here.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Proxy(SocketAddr);

impl TryFrom<String> for Proxy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let at = text.parse::<SocketAddr>().ok().filter(|at| at.port() != 0);
        at.map(Self).ok_or_else(|| {
            let shown = text.rsplit('@').next().unwrap_or_default();
            match text.contains('@') {
                true => format!("write {shown} alone: amsd gives no name and password"),
                false => format!("`{text}` is no address with a port, like \"127.0.0.1:9050\""),
            }
        })
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    requests: Option<Requests>,
    undeliverable: Option<Undeliverable>,
    read_receipts: Option<bool>,
    presence: Option<Visibility>,
    history: Option<Stay>,
    #[serde(default)]
    listen: Vec<SocketAddr>,
    #[serde(default)]
    public_address: Vec<PublicAddress>,
    direct: Option<Direct>,
    socks5: Option<Proxy>,
    #[serde(default)]
    socket: Vec<Spanned<RawSocket>>,
    #[serde(default)]
    hook: Vec<Spanned<RawHook>>,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// What can change while the daemon runs.
    pub settings: Settings,
    /// Where direct peers are taken; as of the start.
    pub listen: Vec<SocketAddr>,
    /// How others reach that, where its own address does not say.
    pub public: Vec<HostPort>,
    /// Sockets beside the daemon's own.
    pub sockets: Vec<ScopedSocket>,
    /// Programs that are run for what happens.
    pub hooks: Vec<Hook>,
}

/// What is wrong in the text of a config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The key, where there is one, and what is wrong with it.
    pub what: String,
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// What is in it cannot be.
    #[error("{}, {mistake}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        mistake: Mistake,
    },
}

/// Reads the file. One that is not there stands for the defaults, unless it was `named` by the
/// user.
///
/// # Errors
/// [`ConfigError`], with file, line and key.
pub fn load(path: &Path, named: bool) -> Result<Config, ConfigError> {
    let Some(text) = home::read_config(path, named)? else { return Ok(Config::default()) };
    parse(&text).map_err(|mistake| ConfigError::Text { path: path.to_owned(), mistake })
}

/// Reads the text of a file.
///
/// # Errors
/// The first [`Mistake`].
pub fn parse(text: &str) -> Result<Config, Mistake> {
    let raw: Raw = toml::from_str(text).map_err(|error| mistake(text, &error))?;
    let mut sockets = Vec::with_capacity(raw.socket.len());
    for socket in raw.socket {
        let at = socket.span().start;
        let socket = socket.into_inner().checked(&sockets);
        sockets.push(socket.map_err(|what| Mistake { line: line_of(text, at), what })?);
    }
    let mut hooks = Vec::with_capacity(raw.hook.len());
    for hook in raw.hook {
        let start = hook.span().start;
        let hook = hook.into_inner().checked(start, &hooks);
        hooks.push(hook.map_err(|(at, what)| Mistake { line: line_of(text, at), what })?);
    }
    let default = Settings::default();
    let settings = Settings {
        undeliverable: raw.undeliverable.unwrap_or(default.undeliverable),
        requests: raw.requests.unwrap_or(default.requests),
        read_receipts: raw.read_receipts.unwrap_or(default.read_receipts),
        visible: raw.presence.map_or(default.visible, |wanted| wanted == Visibility::Visible),
        history: raw.history.map_or(default.history, |stay| stay.0),
        direct: raw.direct.unwrap_or(default.direct),
        socks5: raw.socks5.map(|proxy| proxy.0),
    };
    let public = raw.public_address.into_iter().map(|at| at.0).collect();
    Ok(Config { settings, listen: raw.listen, public, sockets, hooks })
}

fn mistake(text: &str, error: &toml::de::Error) -> Mistake {
    let at = error.span().map_or(0, |span| span.start);
    let line = line_of(text, at);
    let said = error.message().lines().collect::<Vec<_>>().join(", ");
    // A value that does not fit: say which key it stands at. A key that is wrong names itself.
    let before = text.get(..at).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    let what = match before.split_once('=') {
        Some((key, _)) => format!("`{}`: {said}", key.trim()),
        None => said,
    };
    Mistake { line, what }
}

fn line_of(text: &str, at: usize) -> usize {
    let breaks = text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    breaks.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(parse("").unwrap(), Config::default());
        assert_eq!(parse("# nothing\n").unwrap(), Config::default());
    }

    #[test]
    fn everything_can_be_set() {
        let settings = parse(
            "requests = \"deny\"\nundeliverable = \"keep\"\nread_receipts = false\n\
             presence = \"invisible\"\nhistory = \"2h\"\n\
             socks5 = \"127.0.0.1:9050\"\ndirect = \"contacts\"\n\
             listen = [\"[::]:7310\"]\npublic_address = [\"me.example.org\"]\n",
        )
        .unwrap();
        let expected = Settings {
            requests: Requests::Deny,
            undeliverable: Undeliverable::Keep,
            read_receipts: false,
            visible: false,
            history: History::For(Duration::from_secs(7200)),
            direct: Direct::Contacts,
            socks5: Some("127.0.0.1:9050".parse().unwrap()),
        };
        let expected = Config {
            settings: expected,
            listen: vec!["[::]:7310".parse().unwrap()],
            public: vec![HostPort::parse("me.example.org:7310", DIRECT_PORT).unwrap()],
            ..Config::default()
        };
        assert_eq!(settings, expected);
        let history = |text: &str| parse(text).unwrap().settings.history;
        assert_eq!(history("history = 'off'"), History::Off);
        assert_eq!(history("history = 'forever'"), History::Forever);
    }

    /// Each example has one mistake, and beside it the sentence that it must get.
    #[test]
    fn each_mistake_is_named_with_line_and_key() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid-config");
        let mut seen = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy();
            // There all of these are refused, whatever is in them.
            if cfg!(windows) && (name.starts_with("hook") || name.starts_with("socket-")) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap();
            let mistake = parse(&text).expect_err(&path.display().to_string());
            assert_eq!(mistake.to_string(), expected.trim_end(), "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 10, "only {seen} examples");
    }
}
