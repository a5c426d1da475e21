//! `amsctl queue discard`

use ams_rpc::methods::queue;

use crate::commands::queue::Which;
use crate::failed::Failed;
use crate::session::Session;

/// Give messages up. What already left cannot be recalled.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl queue discard 000102030405060708090a0b0c0d0e0f
  amsctl queue discard --to alice
  amsctl queue discard --all")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        self.which.decide::<queue::Discard>(session, |_| {})
    }
}
