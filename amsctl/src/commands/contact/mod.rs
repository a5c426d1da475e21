//! `amsctl contact`

pub mod accept;
pub mod add;
pub mod block;
pub mod link;
pub mod list;
pub mod reject;
pub mod remove;
pub mod rename;
pub mod requests;
pub mod show;
pub mod trust;
pub mod unblock;
pub mod verify;

use clap::Subcommand;

use crate::failed::Failed;
use crate::session::Session;

/// Ask, accept and verify contacts.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Ask somebody to be a contact.
    Add(add::Args),
    /// Make a link that makes somebody a contact.
    Link(link::Args),
    /// List requests that came in and those made here.
    Requests(requests::Args),
    /// Accept a request.
    Accept(accept::Args),
    /// Reject a request.
    Reject(reject::Args),
    /// Block a contact.
    Block(block::Args),
    /// End a block.
    Unblock(unblock::Args),
    /// List the contacts.
    List(list::Args),
    /// Show a contact and every way to reach it.
    Show(show::Args),
    /// Give a contact another name here.
    Rename(rename::Args),
    /// Remove a contact, or cancel a request.
    Remove(remove::Args),
    /// Show the safety number, or record that it was compared.
    Verify(verify::Args),
    /// Accept a contact's changed key.
    Trust(trust::Args),
}

impl Command {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        match self {
            Self::Add(args) => args.run(session),
            Self::Link(args) => args.run(session),
            Self::Requests(args) => args.run(session),
            Self::Accept(args) => args.run(session),
            Self::Reject(args) => args.run(session),
            Self::Block(args) => args.run(session),
            Self::Unblock(args) => args.run(session),
            Self::List(args) => args.run(session),
            Self::Show(args) => args.run(session),
            Self::Rename(args) => args.run(session),
            Self::Remove(args) => args.run(session),
            Self::Verify(args) => args.run(session),
            Self::Trust(args) => args.run(session),
        }
    }
}
