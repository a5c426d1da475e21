//! `amsctl contact requests`

use ams_rpc::methods::contact;
use ams_rpc::types::{NoParams, Requests};

use crate::columns::table;
use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List requests that came in and those made here.
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
    table(&incoming.chain(outgoing).collect::<Vec<_>>())
}
