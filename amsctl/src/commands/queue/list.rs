//! `amsctl queue list`

use ams_rpc::methods::queue;
use ams_rpc::types::QueueListParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List messages that are not delivered yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl queue list
  amsctl queue list --to alice")]
pub struct Args {
    /// Only to this contact.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<queue::List>(&QueueListParams { to: self.to }, |result| {
            render::queue(&result.messages)
        })
    }
}
