//! `amsctl peer list`

use ams_rpc::methods::peer;
use ams_rpc::types::NoParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List the direct peers and their states.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl peer list")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<peer::List>(&NoParams {}, |result| render::peers(&result.peers))
    }
}
