//! `amsctl contact trust`

use ams_rpc::methods::contact;
use ams_rpc::types::ContactTrustParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// Accept a contact's changed key, exactly the one with this fingerprint. `contact show` has it. The
/// contact is not verified by that: compare the number when you can.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl contact trust alice mfra-5x2q-…
  amsctl contact trust alice \"$(amsctl contact show alice --json | jq -r .offered_fingerprint)\"")]
pub struct Args {
    /// The contact's name.
    name: String,

    /// The fingerprint of the key that is offered.
    fingerprint: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = ContactTrustParams { name: self.name, fingerprint: self.fingerprint };
        session.show::<contact::Trust>(&params, render::contact_brief)
    }
}
