//! `amsctl contact link`

use ams_rpc::methods::contact;
use ams_rpc::types::{ContactLinkMade, ContactLinkParams};

use crate::failed::Failed;
use crate::qr;
use crate::session::Session;
use crate::text::{line, note};

/// Make a link to hand to somebody, good once and for 7 days. Whoever redeems it with `contact add`
/// is your contact, verified on both sides. So hand it over so that nobody else sees it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl contact link
  amsctl contact link --as bob --qr
  amsctl contact link --relay work --json | jq -r .link")]
pub struct Args {
    /// The name that whoever redeems it shall have here; default: the user's name.
    #[arg(long = "as", value_name = "NAME")]
    local: Option<String>,

    /// The relay that it leads over; default: the one that was joined first.
    #[arg(long, value_name = "NICK")]
    relay: Option<String>,

    /// Show it as a QR code as well.
    #[arg(long)]
    qr: bool,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = ContactLinkParams { local: self.local, relay: self.relay };
        let shown = session.show::<contact::Link>(&params, |made| text(made, self.qr))?;
        if !session.json {
            note("good once, for 7 days; whoever has it is who you meet");
        }
        Ok(shown)
    }
}

fn text(made: &ContactLinkMade, with_qr: bool) -> String {
    let link = line(&made.link);
    let code = if with_qr { qr::code(&link) } else { None };
    format!("{}{link}\n", code.unwrap_or_default())
}
