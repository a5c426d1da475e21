//! `amsctl message delete`

use ams_rpc::methods::message;
use ams_rpc::types::{MessageId, MessageParams};

use crate::failed::Failed;
use crate::session::Session;

/// Delete a message here; what the other side has stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl message delete 000102030405060708090a0b0c0d0e0f")]
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
        session.show::<message::Delete>(&params, |_| String::new())
    }
}
