//! `amsctl relay leave`

use ams_rpc::methods::relay;
use ams_rpc::types::RelayLeaveParams;

use crate::failed::Failed;
use crate::session::Session;

/// Forget a relay here; the account there stays unless it is deleted too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl relay leave home
  amsctl relay leave home --delete-account")]
pub struct Args {
    /// The relay's nickname.
    nick: String,

    /// Delete the account there as well; its name is never given again.
    #[arg(long)]
    delete_account: bool,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params =
            RelayLeaveParams { nick: self.nick, delete_account: Some(self.delete_account) };
        session.show::<relay::Leave>(&params, |_| String::new())
    }
}
