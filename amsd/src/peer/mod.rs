//! Direct links: daemon to daemon, without a relay.
//!
//! 1. [`listen`]: somebody connects; [`guest`] learns who it is before anything else, and takes a
//!    stranger's introduction
//! 2. [`meet`]: we look at who answers at an address
//! 3. [`peers`]: one actor for each contact that has a direct way
//! 4. [`actor`]: has at most one link, dials where that can be, takes what comes in
//! 5. [`serve`]: the loop of a living link; [`lane`] brings what came to the disk
//!
//! On disk: [`row`] (ways, approvals to be told).

mod actor;
mod guest;
mod lane;
mod listen;
mod meet;
mod peers;
mod row;
mod serve;

pub use listen::{ListenError, Listening};
pub use meet::{MeetError, Meeter};
pub use peers::{Peers, PeersHandle};
pub use row::{Approvals, DirectRow, Directs, HANDLE, forget, instead, make, name_of, put, wanted};
