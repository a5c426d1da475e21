//! What the disk does to a daemon or a relay.
//!
//! 1. [`workload`]: what people do meanwhile, on disks that keep a journal
//! 2. [`look`]: what has to be on such a disk, wherever the power went
//! 3. [`cuts`]: the power goes at any moment, and again while what is left is mended
//! 4. [`errors`]: any call to a daemon's disk fails, in any of the [`steps`] that a user takes
//! 5. [`accounts`]: and any to the disk of a relay's accounts
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

mod accounts;
mod cuts;
mod errors;
mod look;
mod steps;
mod workload;
