//! `amsctl reader remove`

use ams_rpc::methods::inbox;
use ams_rpc::types::ReaderParams;

use crate::failed::Failed;
use crate::session::Session;

/// Forget a reader and its position.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  amsctl reader remove log")]
pub struct Args {
    /// The reader's name.
    #[arg(value_name = "NAME")]
    reader: String,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        session.show::<inbox::Forget>(&ReaderParams { reader: self.reader }, |_| String::new())
    }
}
