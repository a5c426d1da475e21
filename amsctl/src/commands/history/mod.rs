//! `amsctl history`

pub mod clear;
pub mod list;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// Show what was said, oldest first.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  amsctl history
  amsctl history alice --limit 10
  amsctl history --search 'disk full'
  amsctl history clear alice"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    list: list::Args,
}

/// What else can be done with it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Remove the messages with a contact here; what the other side has stays.
    Clear(clear::Args),
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self.command {
            None => self.list.run(session),
            Some(Command::Clear(args)) => args.run(session),
        }
    }
}
