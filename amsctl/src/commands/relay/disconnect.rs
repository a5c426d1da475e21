//! `amsctl relay disconnect`

use ams_rpc::methods::relay;
use ams_rpc::types::RelayParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Disconnect, and stay so until `amsctl relay connect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl relay disconnect home")]
pub struct Args {
    /// The relay's nickname.
    nick: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<relay::Disconnect>(&RelayParams { nick: self.nick }, render::relay)
    }
}
