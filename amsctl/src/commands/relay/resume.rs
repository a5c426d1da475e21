//! `amsctl relay resume`

use ams_rpc::methods::relay;
use ams_rpc::types::RelayParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Go on from a copied or restored profile, when no other daemon uses it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl relay resume home")]
pub struct Args {
    /// The relay's nickname.
    nick: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<relay::Resume>(&RelayParams { nick: self.nick }, render::relay)
    }
}
