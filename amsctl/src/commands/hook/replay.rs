//! `amsctl hook replay`

use ams_rpc::methods::hook;
use ams_rpc::types::{HookReplayParams, HookReplayed, MessageId};

use crate::failed::Failed;
use crate::session::Session;

/// Run a hook again for what it failed for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl hook replay notify
  amsctl hook replay pager 5f0c1d2e3b4a59687786950413223140")]
pub struct Args {
    /// The hook's name.
    #[arg(value_name = "NAME")]
    hook: String,

    /// Only for events about these messages.
    #[arg(value_name = "ID")]
    ids: Vec<MessageId>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let ids = Some(self.ids).filter(|ids| !ids.is_empty());
        session.show::<hook::Replay>(&HookReplayParams { name: self.hook, ids }, text)
    }
}

fn text(replayed: &HookReplayed) -> String {
    format!("{} to be run again\n", replayed.replayed)
}
