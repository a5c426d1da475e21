//! `amsctl queue list`

use ams_rpc::Exit;
use ams_rpc::methods::queue;
use ams_rpc::types::{MessageId, QueueListParams, QueuedMessages};

use crate::failed::Failed;
use crate::render;
use crate::session::Session;
use crate::text;

/// List messages that are not delivered yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl queue list
  amsctl queue list --to alice
  amsctl queue list 000102030405060708090a0b0c0d0e0f
  amsctl queue list --limit 10")]
pub struct Args {
    /// Only the messages with these ids.
    #[arg(value_name = "ID", conflicts_with_all = ["all", "to", "limit"])]
    ids: Vec<MessageId>,

    /// Every message, as without it.
    #[arg(long, conflicts_with = "to")]
    all: bool,

    /// Only to this contact.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,

    /// The first so many; default all.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        if !self.ids.is_empty() {
            return these(session, &self.ids);
        }
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

/// Lists these messages, in the order of the queue.
fn these(session: &mut Session, ids: &[MessageId]) -> Result<u8, Failed> {
    let mut shown = QueuedMessages { messages: Vec::new(), more: false };
    let mut params = QueueListParams::default();
    loop {
        let page = session.call::<queue::List>(&params)?;
        params.after = page.messages.last().map(|last| last.message.id);
        let meant = page.messages.into_iter().filter(|one| ids.contains(&one.message.id));
        shown.messages.extend(meant);
        if !page.more || params.after.is_none() {
            break;
        }
    }
    if session.json {
        text::print_value(&shown)?;
    } else {
        text::print(&render::queue(&shown.messages))?;
    }
    let is_shown = |id: &&MessageId| shown.messages.iter().any(|one| one.message.id == **id);
    match ids.iter().find(|id| !is_shown(id)) {
        None => Ok(Exit::Done.code()),
        Some(id) => Err(Failed::new(Exit::NotFound, format!("message {id} is not in the queue"))
            .hint(format!("amsctl message show {id} says what became of it"))),
    }
}
