//! `amsctl relay join`

use std::path::PathBuf;

use ams_rpc::methods::relay;
use ams_rpc::types::RelayJoinParams;

use crate::failed::Failed;
use crate::password::{self, Source};
use crate::progress::MAKING_KEYS;
use crate::render;
use crate::session::Session;

/// Make the account that an invite link names, and connect.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl relay join 'ams://relay.example.org:7311/invite#…'
  amsctl relay join LINK --as home --password-file secret.txt")]
pub struct Args {
    /// The invite link, in quotes.
    link: String,

    /// The nickname that the relay shall have here; default: its host's name.
    #[arg(long = "as", value_name = "NICK")]
    nick: Option<String>,

    /// Read the password that the account shall have from a file, `-` for stdin.
    #[arg(long, value_name = "F")]
    password_file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let source = Source { file: self.password_file.as_deref(), option: "--password-file" };
        let password = password::new(source, "Password for the new account: ")?;
        let params = RelayJoinParams { link: self.link, password, nick: self.nick };
        session.show_slow::<relay::Join>(MAKING_KEYS, &params, render::relay)
    }
}
