//! `amsctl contact reject`

use ams_rpc::methods::contact;
use ams_rpc::types::ContactParams;

use crate::failed::Failed;
use crate::session::Session;

/// Reject a request. The other side sees somebody who is offline.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl contact reject alice")]
pub struct Args {
    /// The name, or the request's id.
    name: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<contact::Reject>(&ContactParams { name: self.name }, |_| String::new())
    }
}
