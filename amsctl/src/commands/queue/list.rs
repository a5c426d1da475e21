//! `amsctl queue list`

use ams_rpc::Exit;
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
        let mut params = QueueListParams { to: self.to, after: None };
        loop {
            let page =
                session.show_page::<queue::List>(&params, |page| render::queue(&page.messages))?;
            match page.messages.last() {
                Some(last) if page.more => params.after = Some(last.id),
                _ => return Ok(Exit::Done.code()),
            }
        }
    }
}
