//! Direct links: daemon to daemon, without a relay.
//!
//! 1. [`listen`]: somebody connects; [`guest`] learns who it is before anything else, and takes a
//!    stranger's introduction
//! 2. [`meet`]: we look at who answers at an address
//! 3. [`peers`]: one actor for each contact that has a direct way
//! 4. [`actor`]: has at most one link, dials where that can be ([`dial`]), takes what comes in
//!    ([`incoming`])
//! 5. [`serve`]: the loop of a living link; [`lane`] brings what came to the disk
//!
//! On disk: [`row`] (ways, approvals to be told); [`offer`] (what contacts that both allow it tell each
//! other of it), within what [`reach`] says.

mod actor;
mod dial;
mod guest;
mod incoming;
mod lane;
mod listen;
mod meet;
pub mod offer;
mod peers;
mod reach;
mod row;
mod serve;
#[cfg(test)]
mod tests;

pub use listen::{ListenError, Listening};
pub use meet::{MeetError, Meeter};
pub use peers::{Peers, PeersHandle};
pub use row::{Approvals, DirectRow, Directs, HANDLE, forget, instead, make, put, wanted};
