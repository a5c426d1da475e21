//! What people do, with the real code of relay and daemons over real sockets, within one process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

mod away;
mod contacts;
mod cuts;
mod presence;
mod profiles;
mod readers;
mod relays;
mod talk;
mod waits;
mod wishes;
