//! `amsctl id`

use ams_rpc::methods::identity;
use ams_rpc::types::{Identity, NoParams};

use crate::columns::table;
use crate::failed::Failed;
use crate::qr;
use crate::session::Session;

/// Show the own fingerprint and accounts, and the links by which others can meet this daemon
/// directly.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl id
  amsctl id --qr
  amsctl id --json | jq -r .fingerprint")]
pub struct Args {
    /// Show the peer links as QR codes as well.
    #[arg(long)]
    qr: bool,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<identity::Show>(&NoParams {}, |identity| text(identity, self.qr))
    }
}

fn text(identity: &Identity, with_qr: bool) -> String {
    let mut rows = vec![["fingerprint".to_owned(), identity.fingerprint.clone()]];
    let row = |name: &str| {
        let name = name.to_owned();
        move |value: &String| [name.clone(), value.clone()]
    };
    rows.extend(identity.accounts.iter().map(row("account")));
    rows.extend(identity.peer_links.iter().map(row("peer link")));
    let codes = identity.peer_links.iter().filter(|_| with_qr).filter_map(|link| qr::code(link));
    codes.collect::<String>() + &table(&rows)
}
