//! `amsctl queue keep`

use ams_rpc::methods::queue;

use crate::commands::queue::Which;
use crate::failed::Failed;
use crate::session::Session;

/// Keep messages: they go out by themselves when the contact comes online.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl queue keep 000102030405060708090a0b0c0d0e0f
  amsctl queue keep --to alice
  amsctl queue keep --all")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        self.which.decide::<queue::Keep>(session, |_| {})
    }
}
