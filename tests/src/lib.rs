//! The language of the tests: people, their relays, and the lines between them.
//!
//! Within the test's process, in the order in which a scenario meets them:
//!
//! 1. [`net`]: relays and people together; everything of a test lies in one folder, which goes away
//! 2. [`relay`]: a relay on port 0 that can be stopped, started, administered
//! 3. [`person`]: a daemon in a home of its own, and what its user does
//! 4. [`line`](mod@line): the way from a person to a relay, which can be cut, stalled, delayed
//!    or directly to another; [`proxy`]: a way around that knows names
//! 5. [`connection`]: calls over the daemon's socket, and waiting for what a daemon tells
//! 6. [`reader`]: what a person reads
//! 7. [`disk`]: what a relay or a person keeps, on a disk that fails or loses its power
//!
//! With the real programs:
//!
//! 8. [`programs`]: where they are
//! 9. [`process`]: a relay or daemon as a process that is killed and started again
//! 10. [`shell`]: commands as a user types them; [`terminal`]: where they ask, and draw
//! 11. [`traffic`]: people who write and read whatever is killed meanwhile
//!
//! And what is looked at: [`ledger`] (nothing lost, nothing doubled, in order), [`search`] (what must
//! not be on a disk), [`seed`] (chance that can be repeated).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    reason = "the whole crate is test code: a surprise ends the test that met it"
)]

pub mod connection;
pub mod disk;
pub mod ledger;
pub mod line;
pub mod net;
pub mod person;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod reader;
pub mod relay;
pub mod search;
pub mod seed;
pub mod shell;
pub mod terminal;
pub mod traffic;

pub use connection::Connection;
pub use line::Line;
pub use net::Net;
pub use person::Person;
pub use relay::Relay;

use std::time::Duration;

/// How long a test waits for what must come. Not a measure of speed: a loaded machine gets there
/// too, and what never comes still ends.
pub const PATIENCE: Duration = Duration::from_secs(60);
