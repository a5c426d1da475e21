//! `amsctl message show`

use ams_rpc::methods::message;
use ams_rpc::types::{MessageId, MessageParams};

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Show a message and every step it took.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl message show 000102030405060708090a0b0c0d0e0f")]
pub struct Args {
    /// The message's id.
    id: MessageId,

    /// Only the one with this contact.
    #[arg(long, value_name = "NAME")]
    contact: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = MessageParams { id: self.id, contact: self.contact };
        session.show::<message::Show>(&params, |result| {
            result.messages.iter().map(render::message_steps).collect::<Vec<_>>().join("\n")
        })
    }
}
