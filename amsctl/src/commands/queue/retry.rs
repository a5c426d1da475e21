//! `amsctl queue retry`

use ams_rpc::methods::queue;

use crate::commands::queue::Which;
use crate::failed::Failed;
use crate::session::Session;

/// Try messages again now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl queue retry 000102030405060708090a0b0c0d0e0f
  amsctl queue retry --to alice
  amsctl queue retry --all")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        self.which.decide::<queue::Retry>(session)
    }
}
