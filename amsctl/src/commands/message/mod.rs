//! `amsctl message`

pub mod delete;
pub mod show;
pub mod wait;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// Show, wait for or delete one message.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Show a message and every step it took.
    Show(show::Args),
    /// Wait until a message reached a stage or can no longer reach it.
    Wait(wait::Args),
    /// Delete a message here; what the other side has stays.
    Delete(delete::Args),
}

impl Command {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::Show(args) => args.run(session),
            Self::Wait(args) => args.run(session),
            Self::Delete(args) => args.run(session),
        }
    }
}
