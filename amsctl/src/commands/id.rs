//! `amsctl id`

use ams_rpc::methods::identity;
use ams_rpc::types::{Identity, NoParams};

use crate::columns::table;
use crate::failed::Failed;
use crate::session::Session;

/// Show the own fingerprint and accounts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl id
  amsctl id --json | jq -r .fingerprint")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<identity::Show>(&NoParams {}, text)
    }
}

fn text(identity: &Identity) -> String {
    let mut rows = vec![["fingerprint".to_owned(), identity.fingerprint.clone()]];
    let row = |name: &str| {
        let name = name.to_owned();
        move |value: &String| [name.clone(), value.clone()]
    };
    rows.extend(identity.accounts.iter().map(row("account")));
    rows.extend(identity.peer_links.iter().map(row("peer link")));
    table(&rows)
}
