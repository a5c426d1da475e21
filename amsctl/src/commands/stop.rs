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
        let pid = match session.call::<daemon::Status>(&NoParams {}) {
            // It would not hear that it is to stop, either.
            Err(failed) if failed.is_away() => return Err(failed),
            status => status.map(|status| status.pid).ok(),
        };
        let exit = session.show::<daemon::Stop>(&NoParams {}, |_| String::new())?;
        // So that a new one can be started at once.
        session.wait_for_end(pid);
        Ok(exit)
    }
}
