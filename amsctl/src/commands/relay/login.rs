//! `amsctl relay login`

use std::path::PathBuf;

use ams_rpc::ErrorKind;
use ams_rpc::methods::relay;
use ams_rpc::types::RelayLoginParams;

use crate::confirm;
use crate::failed::Failed;
use crate::password::{self, Source};
use crate::progress::MAKING_KEYS;
use crate::render;
use crate::session::Session;
use crate::text::line;

/// Enrol this daemon on an account that exists, and connect. It takes the place of the account's
/// other device.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl relay login 'ams://relay.example.org:7311/relay#…' --user alice
  amsctl relay login LINK --user alice --replace --password-file secret.txt")]
pub struct Args {
    /// The relay's address link, in quotes.
    link: String,

    /// The account's name.
    #[arg(long, value_name = "NAME")]
    user: String,

    /// The nickname that the relay shall have here; default: its host's name.
    #[arg(long = "as", value_name = "NICK")]
    nick: Option<String>,

    /// Displace the device that the account has, without asking.
    #[arg(long)]
    replace: bool,

    /// Read the account's password from a file, `-` for stdin.
    #[arg(long, value_name = "F")]
    password_file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let source = Source { file: self.password_file.as_deref(), option: "--password-file" };
        let password = password::existing(source, "Password of the account: ")?;
        let mut params = RelayLoginParams {
            link: self.link,
            user: self.user,
            password,
            nick: self.nick,
            replace: Some(self.replace),
        };
        match login(session, &params) {
            Err(failed) if failed.kind == Some(ErrorKind::NeedsReplace.as_str().to_owned()) => {
                if !displaces(&params.user) {
                    return Err(failed);
                }
                params.replace = Some(true);
                login(session, &params)
            }
            ended => ended,
        }
    }
}

fn login(session: &mut Session, params: &RelayLoginParams) -> Result<u8, Failed> {
    session.show_slow::<relay::Login>(MAKING_KEYS, params, render::relay)
}

fn displaces(user: &str) -> bool {
    let user = line(user);
    confirm::is_yes(&format!(
        "The account {user} has another device, which would be displaced. Displace it?"
    ))
}
