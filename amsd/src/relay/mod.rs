//! Accounts at relays: how they are made, and the link of each.
//!
//! 1. [`accounts`]: an account is joined, logged in to, changed, left
//! 2. [`links`]: one actor for each account that shall be connected
//! 3. [`dial`]: from an address to an encrypted link
//! 4. [`actor`]: holds that link, brings the account's rows and envelopes to the disk and carries
//!    what goes out
//! 5. [`event`]: what the link tells the router, and what the router gives it
//!
//! On disk: [`row`] (accounts, work marks), [`chores`] (what is still to be told).

pub mod accounts;
pub(crate) mod actor;
pub mod chores;
mod dial;
mod event;
mod links;
mod row;
#[cfg(test)]
mod scripted;

pub use accounts::{AccountError, Accounts};
pub use dial::DialError;
pub use event::{LinkEvent, LinkHandle, Mailbox, Parcel};
pub use links::{Deps, Links, LinksHandle};
pub use row::{
    Marks, Refusal, RelayId, RelayRow, Relays, account, by_nick, link_of, mark, raise_mark,
};
