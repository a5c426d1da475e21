//! `amsctl peer`

pub mod connect;
pub mod disconnect;
pub mod list;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// Meet people directly, without a relay.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Ask whoever answers at an address to be a contact, or connect to a contact now.
    Connect(connect::Args),
    /// List the direct peers and their states.
    List(list::Args),
    /// Disconnect, and stay so until `amsctl peer connect`.
    Disconnect(disconnect::Args),
}

impl Command {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::Connect(args) => args.run(session),
            Self::List(args) => args.run(session),
            Self::Disconnect(args) => args.run(session),
        }
    }
}
