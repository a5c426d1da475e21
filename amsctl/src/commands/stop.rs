//! `amsctl stop`

use ams_rpc::methods::daemon;
use ams_rpc::types::NoParams;

use crate::failed::Failed;
use crate::session::Session;

/// Stop the daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl stop && amsd --daemon")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let exit = session.show::<daemon::Stop>(&NoParams {}, |_| String::new())?;
        // It closes the connection when it is done, so that a new one can be started at once.
        session.wait_for_end();
        Ok(exit)
    }
}
