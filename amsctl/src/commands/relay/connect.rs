//! `amsctl relay connect`

use ams_rpc::methods::relay;
use ams_rpc::types::RelayParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Connect now, skipping the pause between two tries.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl relay connect home")]
pub struct Args {
    /// The relay's nickname.
    nick: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<relay::Connect>(&RelayParams { nick: self.nick }, render::relay)
    }
}
