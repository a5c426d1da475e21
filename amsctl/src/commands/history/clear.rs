//! `amsctl history clear`

use ams_rpc::methods::history;
use ams_rpc::types::HistoryClearParams;

use crate::failed::Failed;
use crate::session::Session;

/// Remove the messages with a contact here; what the other side has stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl history clear alice")]
pub struct Args {
    /// The contact's name.
    #[arg(value_name = "NAME")]
    contact: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<history::Clear>(&HistoryClearParams { contact: self.contact }, |result| {
            format!("{} removed here", result.removed)
        })
    }
}
