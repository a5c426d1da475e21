//! `amsctl contact accept`

use ams_rpc::methods::contact;
use ams_rpc::types::{ContactAcceptParams, ContactBrief, ContactState};

use crate::failed::Failed;
use crate::render;
use crate::session::Session;
use crate::text::line;

/// Accept a request.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl contact accept alice
  amsctl contact accept alice --as alice-at-work")]
pub struct Args {
    /// The name in the request, or the request's id.
    #[arg(value_name = "NAME|REQUEST_ID")]
    name: String,

    /// The name that the contact shall have here.
    #[arg(long = "as", value_name = "LOCAL")]
    local: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = ContactAcceptParams { name: self.name, local: self.local };
        session.show::<contact::Accept>(&params, text)
    }
}

/// Its own daemon may be away; until it answers, the contact is `pending`.
fn text(accepted: &ContactBrief) -> String {
    match accepted.state {
        ContactState::Pending => {
            format!(
                "{}: accepted, and active once the other side's daemon answers",
                line(&accepted.name)
            )
        }
        _ => render::contact_brief(accepted),
    }
}
