//! `amsctl backup`

use std::path::PathBuf;

use ams_rpc::Exit;
use ams_rpc::methods::profile;
use ams_rpc::types::{ProfileParams, ProfileSummary};

use crate::failed::Failed;
use crate::password::{self, Source};
use crate::session::Session;
use crate::text::line;

/// Write identity, contacts and kept messages into a new file, sealed under a passphrase. Never
/// ratchets: a profile that is restored from it gets fresh keys with everybody.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl backup ~/ams.backup
  amsctl backup /mnt/usb/ams.backup --passphrase-file secret.txt")]
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
        let passphrase = password::new(source, "Passphrase of the backup: ")?;
        let file = std::path::absolute(&self.file).map_err(|error| {
            Failed::new(Exit::Failed, format!("cannot use {}: {error}", self.file.display()))
        })?;
        let file = file.into_os_string().into_string();
        let file = file.map_err(|_| Failed::usage("the file's path is not UTF-8"))?;
        let params = ProfileParams { file, passphrase };
        session.show_slow::<profile::Backup>("sealing the backup", &params, text)
    }
}

fn text(made: &ProfileSummary) -> String {
    format!(
        "{} contacts and {} messages of {}\n",
        made.contacts,
        made.messages,
        line(&made.fingerprint)
    )
}
