//! `amsctl relay password`

use std::path::{Path, PathBuf};

use ams_rpc::methods::relay;
use ams_rpc::types::RelayPasswordParams;

use crate::failed::Failed;
use crate::password::{self, Source};
use crate::progress::MAKING_KEYS;
use crate::session::Session;

/// Change the account's password.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl relay password home
  amsctl relay password home --old-password-file old.txt --password-file new.txt")]
pub struct Args {
    /// The relay's nickname.
    nick: String,

    /// Read the password that the account has from a file, `-` for stdin.
    #[arg(long, value_name = "F")]
    old_password_file: Option<PathBuf>,

    /// Read the password that it shall have from a file, `-` for stdin.
    #[arg(long, value_name = "F")]
    password_file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let (old, new) = (self.old_password_file.as_deref(), self.password_file.as_deref());
        if old == Some(Path::new("-")) && old == new {
            return Err(Failed::usage("only one of the two passwords can come from stdin"));
        }
        let old_password = password::existing(
            Source { file: old, option: "--old-password-file" },
            "Password of the account: ",
        )?;
        let password =
            password::new(Source { file: new, option: "--password-file" }, "New password: ")?;
        let params = RelayPasswordParams { nick: self.nick, old_password, password };
        session.show_slow::<relay::Password>(MAKING_KEYS, &params, |_| String::new())
    }
}
