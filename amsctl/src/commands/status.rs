//! `amsctl status`

use ams_rpc::methods::daemon;
use ams_rpc::types::NoParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Show the daemon, its relays, its queue and its inbox.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl status
  amsctl status --json | jq .queue")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<daemon::Status>(&NoParams {}, render::status)
    }
}
