//! `amsctl relay`

pub mod connect;
pub mod disconnect;
pub mod join;
pub mod leave;
pub mod list;
pub mod login;
pub mod password;
pub mod resume;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// Join relays and connect to them.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Make the account that an invite link names, and connect.
    Join(join::Args),
    /// Enrol this daemon on an account that exists, and connect.
    Login(login::Args),
    /// List the relays and their states.
    List(list::Args),
    /// Connect now, skipping the pause between two tries.
    Connect(connect::Args),
    /// Disconnect, and stay so until `amsctl relay connect`.
    Disconnect(disconnect::Args),
    /// Forget a relay here, or delete the account there as well.
    Leave(leave::Args),
    /// Change the account's password.
    Password(password::Args),
    /// Go on from a copied or restored profile.
    Resume(resume::Args),
}

impl Command {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::Join(args) => args.run(session),
            Self::Login(args) => args.run(session),
            Self::List(args) => args.run(session),
            Self::Connect(args) => args.run(session),
            Self::Disconnect(args) => args.run(session),
            Self::Leave(args) => args.run(session),
            Self::Password(args) => args.run(session),
            Self::Resume(args) => args.run(session),
        }
    }
}
