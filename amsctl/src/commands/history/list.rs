//! `amsctl history [NAME]`

use ams_rpc::methods::history;
use ams_rpc::types::{HistoryParams, MessageId};

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Which messages are shown.
#[derive(Debug, clap::Args)]
#[group(id = "list")]
pub struct Args {
    /// Only with this contact.
    #[arg(value_name = "NAME")]
    contact: Option<String>,

    /// Only where text or title contain this.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,

    /// The newest so many; default 50.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,

    /// Only what is older than this message.
    #[arg(long, value_name = "ID")]
    before: Option<MessageId>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = HistoryParams {
            contact: self.contact,
            search: self.search,
            limit: self.limit,
            before: self.before,
        };
        session.show::<history::List>(&params, |result| {
            result.messages.iter().map(render::message).collect()
        })
    }
}
