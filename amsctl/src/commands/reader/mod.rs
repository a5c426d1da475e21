//! `amsctl reader`

pub mod list;
pub mod remove;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// List or remove readers of the inbox.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// List the readers, and how many messages each has not had.
    List(list::Args),
    /// Forget a reader and its position.
    Remove(remove::Args),
}

impl Command {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::List(args) => args.run(session),
            Self::Remove(args) => args.run(session),
        }
    }
}
