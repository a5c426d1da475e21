//! `amsctl contact unblock`

use ams_rpc::methods::contact;
use ams_rpc::types::ContactParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// End a block.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl contact unblock alice")]
pub struct Args {
    /// The name.
    name: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<contact::Unblock>(&ContactParams { name: self.name }, render::contact_brief)
    }
}
