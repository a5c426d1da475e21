//! `amsctl relay list`

use ams_rpc::methods::relay;
use ams_rpc::types::NoParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List the relays and their states.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl relay list")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<relay::List>(&NoParams {}, |result| render::relays(&result.relays))
    }
}
