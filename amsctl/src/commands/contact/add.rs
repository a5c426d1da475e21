//! `amsctl contact add`

use ams_rpc::methods::contact;
use ams_rpc::types::ContactAddParams;

use crate::failed::Failed;
use crate::render;
use crate::session::Session;
use crate::text;

/// Ask somebody to be a contact, or redeem a contact link. Says `pending` at once, whoever it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl contact add bob@home
  amsctl contact add bob@relay.example.org --as robert
  amsctl contact add 'ams://relay.example.org:7311/contact#…'")]
pub struct Args {
    /// The user's name, an `@`, and the relay: its nickname, HOST or HOST:PORT. Or a contact link, in
    /// quotes.
    #[arg(value_name = "USER@RELAY|LINK")]
    address: String,

    /// The name that the contact shall have here.
    #[arg(long = "as", value_name = "NAME")]
    local: Option<String>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = ContactAddParams { address: self.address, local: self.local };
        let mut name = None;
        let exit = session.show::<contact::Add>(&params, |brief| {
            name = Some(brief.name.clone());
            render::contact_brief(brief)
        })?;
        if let (Some(name), Some(wanted)) = (name, params.local)
            && name != wanted
        {
            let (name, wanted) = (text::line(&name), text::line(&wanted));
            text::note(&format!(
                "amsctl: {name} is a contact already, and keeps that name\n  amsctl contact rename \
                 {name} {wanted}"
            ));
        }
        Ok(exit)
    }
}
