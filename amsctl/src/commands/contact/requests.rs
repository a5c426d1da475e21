//! `amsctl contact requests`

use ams_rpc::methods::contact;
use ams_rpc::types::{NoParams, Requests};

use crate::columns::table;
use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List requests that came in, those made here, and contact links that nobody redeemed yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl contact requests")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<contact::Requests>(&NoParams {}, text)
    }
}

fn text(requests: &Requests) -> String {
    let incoming = requests.incoming.iter().map(|request| {
        let again = if request.again { "again" } else { "" };
        [
            "in".to_owned(),
            request.name.clone(),
            request.from.clone(),
            render::time(request.received),
            request.fingerprint.clone(),
            again.to_owned(),
        ]
    });
    let outgoing = requests.outgoing.iter().map(|request| {
        [
            "out".to_owned(),
            request.name.clone(),
            request.to.clone(),
            render::time(request.sent),
            String::new(),
            String::new(),
        ]
    });
    let links = requests.links.iter().map(|link| {
        [
            "link".to_owned(),
            link.name.clone().unwrap_or_default(),
            format!("over {}", link.relay),
            format!("until {}", render::time(link.expires)),
            String::new(),
            String::new(),
        ]
    });
    table(&incoming.chain(outgoing).chain(links).collect::<Vec<_>>())
}
