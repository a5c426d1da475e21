//! `amsctl hook test`

use ams_rpc::methods::hook;
use ams_rpc::types::{EventType, HookTestParams, HookTested};

use crate::failed::Failed;
use crate::session::Session;
use crate::text::{self, block, line};

/// Run a hook's program now, with an event that is made up, and show what it writes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl hook test notify
  amsctl hook test pager --event message.undelivered

The program is run as it always is: with the same arguments, environment, limits and checks. Exit code
1 where it failed.")]
pub struct Args {
    /// The hook's name.
    #[arg(value_name = "NAME")]
    hook: String,

    /// With an event of this type; default: the first that the hook is run for.
    #[arg(long, value_name = "TYPE")]
    event: Option<EventType>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let params = HookTestParams { name: self.hook, event: self.event };
        let ran = session.show_page::<hook::Test>(&params, text)?;
        if let Some(reason) = &ran.reason {
            text::note(&format!("amsctl: {} failed: {}", line(&ran.name), line(reason)));
        }
        Ok(ran.exit)
    }
}

fn text(ran: &HookTested) -> String {
    match ran.output.trim_end() {
        "" => String::new(),
        output => format!("{}\n", block(output)),
    }
}
