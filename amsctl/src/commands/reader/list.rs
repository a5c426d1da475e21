//! `amsctl reader list`

use ams_rpc::methods::inbox;
use ams_rpc::types::{NoParams, Readers};

use crate::columns::table;
use crate::failed::Failed;
use crate::render;
use crate::session::Session;

/// List the readers, and how many messages each has not had.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl reader list")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<inbox::Readers>(&NoParams {}, text)
    }
}

fn text(readers: &Readers) -> String {
    let rows: Vec<[String; 3]> = readers
        .readers
        .iter()
        .map(|reader| {
            let used = reader.used.map(|used| format!("used {}", render::time(used)));
            [reader.name.clone(), format!("{} unread", reader.unread), used.unwrap_or_default()]
        })
        .collect();
    table(&rows)
}
