//! `amsctl queue retry`

use ams_rpc::methods::queue;
use ams_rpc::types::State;

use crate::commands::queue::Which;
use crate::failed::Failed;
use crate::session::Session;
use crate::text::note;

/// Try messages again now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl queue retry 000102030405060708090a0b0c0d0e0f
  amsctl queue retry --to alice
  amsctl queue retry --all")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let mut under_way = Vec::new();
        let exit = self.which.decide::<queue::Retry>(session, |outcomes| {
            let sent = outcomes.messages.iter().filter(|outcome| outcome.state == State::Sent);
            under_way.extend(sent.map(|outcome| outcome.id));
        })?;
        match under_way.as_slice() {
            [] => {}
            [id] => note(&format!(
                "amsctl: message {id} is sent and under way already, so there is nothing to try \
                 again: amsctl message wait {id} --for delivered"
            )),
            several => note(&format!(
                "amsctl: {} messages are sent and under way already, so there is nothing to try \
                 again: amsctl queue list",
                several.len()
            )),
        }
        Ok(exit)
    }
}
