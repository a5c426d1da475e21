//! `amsctl doctor`

use ams_rpc::Exit;
use ams_rpc::health::Report;
use ams_rpc::methods::daemon;
use ams_rpc::types::NoParams;

use crate::failed::Failed;
use crate::session::Session;
use crate::{doctor, text};

/// Look for what is wrong, and say what to do about it.
///
/// Changes nothing. Each line is a check, how it is (ok, warning, wrong), and what was found; below it,
/// what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Checks:
  permissions  only you can change the folders and the config, and read what is in data/
  disk         there is room for the database
  files        the daemon may have enough files open
  clock        it is not in the past, and did not go back
  daemon       it runs and answers
  profile      where it does not run: amsd --check
  socket       its rights
  version      amsd is as new as amsctl
  port         the daemon answers where it listens for direct peers
  relay        each one is connected, or why not
  warning      what the daemon warns of

Exit codes: 0 nothing is wrong, 1 something is.

Examples:
  amsctl doctor
  amsctl doctor --json | jq -r '.checks[] | select(.state != \"ok\") | .fix'")]
pub struct Args {}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let (places, socket) = (session.places()?, session.socket()?);
        let status = session.call::<daemon::Status>(&NoParams {});
        let report = Report::of(doctor::look(places.as_ref(), &socket, status.as_ref()));
        let shown = if session.json {
            let report = serde_json::to_string(&report);
            let failed = |error: serde_json::Error| Failed::new(Exit::Failed, error.to_string());
            text::json(&report.map_err(failed)?)
        } else {
            report.text(text::line)
        };
        text::print(&shown)?;
        Ok(report.exit())
    }
}
