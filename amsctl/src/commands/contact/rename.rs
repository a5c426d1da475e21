//! `amsctl contact rename`

use ams_rpc::methods::contact;
use ams_rpc::types::ContactRenameParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Give a contact another name here. The contact never learns it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl contact rename bob robert")]
pub struct Args {
    /// The name it has.
    name: String,

    /// The name it shall have.
    new: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = ContactRenameParams { name: self.name, new: self.new };
        session.show::<contact::Rename>(&params, render::contact_brief)
    }
}
