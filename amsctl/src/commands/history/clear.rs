//! `amsctl history clear`

use ams_rpc::Exit;
use ams_rpc::methods::history;
use ams_rpc::types::HistoryClearParams;

use crate::failed::Failed;
use crate::session::Session;
use crate::text::note;

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
        let params = HistoryClearParams { contact: self.contact };
        let cleared = session.show_page::<history::Clear>(&params, |cleared| {
            format!("{} removed here", cleared.removed)
        })?;
        if cleared.unread > 0 {
            note(&format!("amsctl: {} of them had not been had by a reader", cleared.unread));
        }
        Ok(Exit::Done.code())
    }
}
