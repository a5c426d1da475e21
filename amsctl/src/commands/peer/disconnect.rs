//! `amsctl peer disconnect`

use ams_rpc::methods::peer;
use ams_rpc::types::PeerParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Disconnect, and stay so until `amsctl peer connect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl peer disconnect bob")]
pub struct Args {
    /// The contact's name.
    name: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<peer::Disconnect>(&PeerParams { name: self.name }, render::peer)
    }
}
