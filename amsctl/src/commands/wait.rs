//! `amsctl wait`

use ams_rpc::Exit;
use ams_rpc::methods::contact;
use ams_rpc::types::{Awaited, ContactWaitParams, Period};

use crate::failed::Failed;
use crate::session::{Limit, Session};
use crate::text;

/// Wait until a contact is online.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl wait alice --online && amsctl send alice 'you are back'
  amsctl wait alice --online --timeout 5m || echo 'alice did not come'")]
pub struct Args {
    /// The contact's name.
    name: String,

    /// What to wait for.
    #[arg(long, required = true)]
    online: bool,

    /// How long at most, like 30s or 5m; exit 12 when it is over.
    #[arg(long, value_name = "DUR")]
    timeout: Option<Period>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = |timeout| ContactWaitParams {
            name: self.name.clone(),
            awaited: Awaited::Online,
            timeout,
        };
        let result = session.persist::<contact::Wait>(Limit::new(self.timeout), params)?;
        if session.json {
            text::print(&serde_json::to_string(&result).unwrap_or_default())?;
        }
        if result.exit != Exit::Done.code() {
            text::note(&format!("amsctl: {} is {}", text::line(&result.name), result.presence));
        }
        Ok(result.exit)
    }
}
