//! `amsctl contact remove`

use ams_rpc::methods::contact;
use ams_rpc::types::ContactParams;

use crate::failed::Failed;
use crate::session::Session;

/// Remove a contact, or cancel a request that was made here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl contact remove alice")]
pub struct Args {
    /// The name.
    name: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<contact::Remove>(&ContactParams { name: self.name }, |_| String::new())
    }
}
