//! `amsctl hook`

pub mod list;
pub mod replay;
pub mod test;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// List, try and repeat the programs that are run for what happens.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// List the hooks, how they fare, and what they failed for.
    List(list::Args),
    /// Run a hook's program now, with an event that is made up.
    Test(test::Args),
    /// Run a hook again for what it failed for.
    Replay(replay::Args),
}

impl Command {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::List(args) => args.run(session),
            Self::Test(args) => args.run(session),
            Self::Replay(args) => args.run(session),
        }
    }
}
