//! The command line of `amsd`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ams_rpc::places::{NoHome, Places};
use clap::{ArgAction, Parser, ValueEnum};

use crate::config::ConfigError;
use crate::home::{HomeError, log_file};
use crate::passphrase::PassphraseError;

/// The AMS client daemon: holds your identity, contacts, links and messages, and serves amsctl.
///
/// The first start makes an identity. Without --daemon it stays in the foreground.
#[derive(Debug, Parser)]
#[command(name = "amsd", version)]
#[command(after_help = "\
Signals: TERM and INT stop it in order, a second one at once; HUP has it read its config again.

Exit codes: 0 stopped, 1 failed, 2 usage or a mistake in the config, 3 one runs for this profile
already, 4 the key file is sealed and nobody could be asked for the passphrase.")]
pub struct Args {
    /// The folder of the whole profile: config.toml, data/ and amsd.sock [default: AMS_HOME, else
    /// the XDG folders]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,

    /// The config file, which must exist [default: config.toml of the profile, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Take direct peers at this address; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddr>,

    /// Go to the background; returns when the socket answers
    #[arg(long)]
    pub daemon: bool,

    /// Write the number of the background process to this file
    #[arg(long, value_name = "FILE", requires = "daemon")]
    pub pid_file: Option<PathBuf>,

    /// How log lines look
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log: LogFormat,

    /// Log more; -vv even more
    #[arg(short, action = ArgAction::Count)]
    pub verbose: u8,

    /// Check a profile that no daemon is using, say what was found, and change nothing
    #[arg(long, conflicts_with_all = ["daemon", "listen"])]
    pub check: bool,

    /// The passphrase of the key file is in this file, `-` for stdin [default: the systemd
    /// credential amsd.passphrase; else it is asked for on the terminal, if the file is sealed]. A
    /// first start seals the key file that it makes
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,

    /// Seal the key file of a profile that no daemon is using under a passphrase, or under another
    /// one, and end
    #[arg(long, conflicts_with_all = ["daemon", "listen", "check"])]
    pub set_passphrase: bool,

    /// The new passphrase is in this file, `-` for stdin [default: asked for on the terminal]
    #[arg(long, value_name = "FILE", requires = "set_passphrase")]
    pub new_passphrase_file: Option<PathBuf>,

    /// Keep the key file without a passphrase again, and end
    #[arg(long, conflicts_with_all = ["daemon", "listen", "check", "set_passphrase"])]
    pub remove_passphrase: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Args {
    /// Where everything of this profile is, as absolute paths: a daemon leaves the folder that it
    /// was started in.
    ///
    /// # Errors
    /// [`NoHome`] where neither the flag nor the environment says anything.
    pub fn places(&self) -> Result<Places, NoHome> {
        let mut places = Places::find(self.home.as_deref())?;
        if let Some(config) = &self.config {
            places.config.clone_from(config);
        }
        places.home = places.home.as_deref().map(absolute);
        for path in [&mut places.config, &mut places.data, &mut places.runtime, &mut places.socket]
        {
            *path = absolute(path);
        }
        Ok(places)
    }
}

/// A daemon in the background that ended before it was ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Ended {
    /// Its exit code.
    pub exit: u8,
    /// What it said; nothing where it died.
    pub why: String,
}

impl Ended {
    /// What to look at, where it said nothing: its log, and its profile.
    #[must_use]
    pub fn explained(self, args: &Args, places: &Places) -> Self {
        if !self.why.is_empty() {
            return self;
        }
        let home = args.home.as_ref().map(|home| format!(" --home {}", home.display()));
        let (home, log) = (home.unwrap_or_default(), log_file(places));
        let log = log.display();
        let why = format!(
            "amsd ended before it was ready, and did not say why: its log is {log}, and \
             `amsd{home} --check` looks at the profile"
        );
        Self { why, ..self }
    }
}

/// The exit code of a daemon that failed with `why`. As the relay's, a config counts as usage: the
/// user writes it, like the arguments.
#[must_use]
pub fn exit_code(why: &(dyn Error + 'static)) -> u8 {
    let of_home = |why: &HomeError| match why {
        HomeError::Running { .. } => RUNS_ALREADY,
        _ => 1,
    };
    match why.downcast_ref::<PassphraseError>() {
        Some(PassphraseError::Needed(_)) => return PASSPHRASE_NEEDED,
        Some(PassphraseError::Home(why)) => return of_home(why),
        _ => {}
    }
    match why.downcast_ref::<HomeError>() {
        Some(why) => of_home(why),
        _ if why.is::<ConfigError>() => 2,
        _ => why.downcast_ref::<Ended>().map_or(1, |ended| ended.exit),
    }
}

/// One daemon runs for the profile; a second one that was to start ends with this code.
pub const RUNS_ALREADY: u8 = 3;
/// The key file is sealed, and nobody could be asked for the passphrase.
pub const PASSPHRASE_NEEDED: u8 = 4;

/// `path` from the root on; left alone where not even the working folder can be found.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// An error and what is behind it, as one sentence. Most of ours tell their cause in their own words
/// already.
#[must_use]
pub fn sentence<'a>(chain: impl Iterator<Item = &'a (dyn Error + 'static)>) -> String {
    chain.fold(String::new(), |said, cause| match cause.to_string() {
        told if said.contains(&told) => said,
        first if said.is_empty() => first,
        more => format!("{said}: {more}"),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn pid_file_needs_daemon_and_check_stands_alone() {
        assert!(Args::try_parse_from(["amsd", "--pid-file", "x"]).is_err());
        assert!(Args::try_parse_from(["amsd", "--daemon", "--pid-file", "x"]).is_ok());
        assert!(Args::try_parse_from(["amsd", "--check", "--daemon"]).is_err());
        assert!(Args::try_parse_from(["amsd", "--new-passphrase-file", "x"]).is_err());
        assert!(Args::try_parse_from(["amsd", "--set-passphrase", "--remove-passphrase"]).is_err());
        assert!(Args::try_parse_from(["amsd", "--log", "xml"]).is_err());
        assert_eq!(Args::try_parse_from(["amsd", "-vv"]).unwrap().verbose, 2);
    }

    #[test]
    fn nothing_is_said_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read x: {source}")]
        struct Unreadable {
            source: std::io::Error,
        }
        let why = anyhow::Error::from(Unreadable { source: std::io::Error::other("no such file") });
        assert_eq!(sentence(why.chain()), "cannot read x: no such file");
        let why = anyhow::Error::from(std::io::Error::other("no such file")).context("the log");
        assert_eq!(sentence(why.chain()), "the log: no such file");
    }

    #[test]
    fn a_daemon_that_died_silently_says_where_to_look() {
        let ended = |why: &str| Ended { exit: 1, why: why.to_owned() };
        let explained = |why, home: &[&str]| {
            let args = Args::try_parse_from([&["amsd"], home].concat()).unwrap();
            ended(why).explained(&args, &Places::in_home(Path::new("/h"))).to_string()
        };
        let log = log_file(&Places::in_home(Path::new("/h"))).display().to_string();
        let why = format!(
            "amsd ended before it was ready, and did not say why: its log is {log}, and \
             `amsd --check` looks at the profile"
        );
        assert_eq!(explained("", &[]), why);
        assert!(explained("", &["--home", "/h"]).contains("`amsd --home /h --check`"));
        assert_eq!(explained("the disk", &[]), "the disk");
    }

    #[test]
    fn places_are_absolute() {
        let args = Args::try_parse_from(["amsd", "--home", "a", "--config", "b.toml"]).unwrap();
        let places = args.places().unwrap();
        assert!(places.socket.is_absolute());
        assert!(places.data.is_absolute() && places.data.ends_with("a/data"));
        assert!(places.config.is_absolute() && places.config.ends_with("b.toml"));
    }
}
