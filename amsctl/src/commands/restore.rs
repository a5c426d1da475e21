//! `amsctl restore`

use std::path::PathBuf;

use ams_rpc::Exit;
use ams_rpc::methods::profile;
use ams_rpc::types::{ProfileParams, ProfileSummary};

use crate::failed::Failed;
use crate::password::{self, Source};
use crate::session::Session;
use crate::text::line;

/// Restore a backup into a profile that nothing was done with yet. Then log in to its accounts; the
/// device that they had stops.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsd --home DIR --daemon
  amsctl --home DIR restore ~/ams.backup
  amsctl --home DIR relay login LINK --user NAME --replace")]
pub struct Args {
    /// The file.
    file: PathBuf,

    /// Read the passphrase from a file, `-` for stdin.
    #[arg(long, value_name = "F")]
    passphrase_file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let source = Source { file: self.passphrase_file.as_deref(), option: "--passphrase-file" };
        let passphrase = password::existing(source, "Passphrase of the backup: ")?;
        let file = std::path::absolute(&self.file).map_err(|error| {
            Failed::new(Exit::Failed, format!("cannot use {}: {error}", self.file.display()))
        })?;
        let file = file.into_os_string().into_string();
        let file = file.map_err(|_| Failed::usage("the file's path is not UTF-8"))?;
        let params = ProfileParams { file, passphrase };
        session.show_slow::<profile::Restore>("opening the backup", &params, text)
    }
}

fn text(restored: &ProfileSummary) -> String {
    let mut text = format!(
        "{} contacts and {} messages of {}\n",
        restored.contacts,
        restored.messages,
        line(&restored.fingerprint)
    );
    for account in &restored.accounts {
        let (link, user) = (line(&account.link), line(&account.user));
        text.push_str(&format!(
            "log in again: amsctl relay login '{link}' --user {user} --replace\n"
        ));
    }
    text
}
