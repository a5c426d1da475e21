//! `amsctl presence`

use ams_rpc::methods::presence;
use ams_rpc::types::{PresenceParams, Visibility};

use crate::failed::Failed;
use crate::session::Session;

/// Show or hide that this daemon is online, until changed again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl presence invisible
  amsctl presence visible")]
pub struct Args {
    /// `visible` or `invisible`.
    #[arg(value_name = "visible|invisible")]
    presence: Visibility,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session
            .show::<presence::Set>(&PresenceParams { presence: self.presence }, |_| String::new())
    }
}
