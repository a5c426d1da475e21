//! What can be written after `ams-relay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, Storage};

/// The AMS relay: accounts, contact lists, presence, relaying. It stores no message.
#[derive(Debug, Parser)]
#[command(name = "ams-relay", version, arg_required_else_help = true)]
pub struct Args {
    /// The folder of accounts and keys [default: $AMS_RELAY_DATA, else /var/lib/ams-relay for root,
    /// else $XDG_DATA_HOME/ams-relay]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// relay.toml [default: relay.toml in the data folder, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the relay; the first start makes its keys
    Serve(Serve),
    /// Invites: each makes one account, of one name
    #[command(subcommand)]
    Invite(Invite),
    /// Accounts
    #[command(subcommand)]
    User(User),
    /// Print the address link of this relay
    Address,
    /// Copy the accounts into FILE, and the keys into FILE.keys.tar
    Backup {
        /// A file that is not there yet
        file: PathBuf,
    },
    /// Look for what is wrong, and say what to do about it; changes nothing
    #[command(after_help = "\
Checks:
  config       relay.toml is understood
  data         there is a relay in the data folder
  permissions  the folder is yours alone
  keys         the key files are there and whole
  disk         there is room for the accounts
  clock        it is not in the past, and did not go back
  relay        it runs and answers
  files        it may have enough files open
  socket       the rights of the administrator's socket
  version      the relay that runs is as new as this program
  limits       none is nearly used up
  port         it answers, or could listen
  address      others reach it as its link says

Exit codes: 0 nothing is wrong, 1 something is.

Example:
  ams-relay doctor --data /var/lib/ams-relay --config /etc/ams/relay.toml")]
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Connections, accounts, held messages, limits, uptime
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Where to listen [default: 0.0.0.0:7311]; port 0 lets the system choose
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<String>,
    /// How others reach this relay; needed when it listens on every address
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) public_address: Option<String>,
    /// Let root administer it over its socket, too
    #[arg(long)]
    pub(super) root_administers: bool,
    /// How log lines look
    #[arg(long, value_name = "text|json", default_value = "text")]
    pub(super) log: LogForm,
    /// Say more; twice: still more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogForm {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Invite {
    /// Make an invite and print its link, for `amsctl relay join`
    Create {
        /// The username that it is for
        name: String,
        /// How long it is good
        #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
        expires: Duration,
    },
    /// The invites that can still be used
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an invite back
    Revoke {
        /// The username that it is for
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// The accounts
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Lock an account and end its link
    Disable {
        /// The username
        name: String,
    },
    /// Unlock an account
    Enable {
        /// The username
        name: String,
    },
    /// Delete an account; its name is never given again
    Remove {
        /// The username
        name: String,
    },
    /// Make an invite by which an account gets a new password, and print its link
    Reset {
        /// The username
        name: String,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "not a duration; write for example 12h or 7d".to_owned())
}

impl Args {
    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        let set = |name: &str| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let named = self.data.clone().or_else(|| set("AMS_RELAY_DATA"));
        // systemd names the folder that it made.
        named.or_else(|| set("STATE_DIRECTORY")).unwrap_or_else(|| default_data(set))
    }

    /// The config, from its file and the flags.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let data = self.data();
        let storage = Storage::Folder(data.clone());
        let beside = data.join("relay.toml");
        let mut config = match &self.config {
            Some(file) => Config::read(storage, file)?,
            None if beside.exists() => Config::read(storage, &beside)?,
            None => Config::new(storage),
        };
        if let Command::Serve(serve) = &self.command {
            config.root_administers = serve.root_administers;
            let wrong = |flag: &str, text| ConfigError::Value { flag: flag.to_owned(), text };
            if let Some(text) = &serve.listen {
                let at = crate::config::listen(text).map_err(|text| wrong("--listen", text))?;
                config.listen = Some(at);
            }
            if let Some(text) = &serve.public_address {
                let public = crate::config::public_address(text)
                    .map_err(|text| wrong("--public-address", text))?;
                config.public_address = Some(public);
            }
        }
        Ok(config)
    }
}

fn default_data(set: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(folder) = super::platform::system_data() {
        return folder;
    }
    let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| set("HOME").map(|home| home.join(".local/share")));
    data.unwrap_or_default().join("ams-relay")
}
