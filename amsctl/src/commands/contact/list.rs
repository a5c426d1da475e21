//! `amsctl contact list`

use ams_rpc::methods::contact;
use ams_rpc::types::NoParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List the contacts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl contact list
  amsctl contact list --json | jq -r '.contacts[].name'")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<contact::List>(&NoParams {}, |result| render::contacts(&result.contacts))
    }
}
