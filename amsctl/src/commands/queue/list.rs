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
  amsctl queue list --to alice
  amsctl queue list --limit 10")]
pub struct Args {
    /// Only to this contact.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,

    /// The first so many; default all.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let mut params = QueueListParams { to: self.to, after: None, limit: self.limit };
        loop {
            let page =
                session.show_page::<queue::List>(&params, |page| render::queue(&page.messages))?;
            let shown = u32::try_from(page.messages.len()).unwrap_or(u32::MAX);
            params.limit = params.limit.map(|limit| limit.saturating_sub(shown));
            match page.messages.last() {
                Some(last) if page.more && params.limit != Some(0) => {
                    params.after = Some(last.message.id);
                }
                _ => return Ok(Exit::Done.code()),
            }
        }
    }
}
