//! Accounts at relays: one actor for each holds its link.

pub mod chores;
mod event;
mod row;

pub use event::{LinkEvent, LinkHandle, Parcel};
pub use row::{Refusal, RelayId, RelayRow, Relays, by_nick, mark, raise_mark};
