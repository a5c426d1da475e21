//! The AMS relay: accounts, contact lists, presence, relaying. It never stores a message, and it
//! never says whether a name exists.
//!
//! A connection meets the modules in this order:
//!
//! 1. `link`: the way through the rooms
//! 2. `gate`: door, handshake, registration, login; it cannot reach the hub
//! 3. `conn`: one client's link once it is known
//! 4. `hub`: who is online, what is held; in memory alone
//! 5. [`accounts`]: what is on disk; one narrow trait
//!
//! Beside that way: [`relay`] starts and stops it all, [`config`], [`data`] (the folder), [`admin`]
//! (what the administrator does), [`cli`], [`limits`], `memory`, [`clock`], `hash`, `metrics`.

pub mod accounts;
pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
mod conn;
pub mod data;
mod gate;
mod hash;
mod hub;
pub mod limits;
mod link;
mod memory;
mod metrics;
pub mod relay;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests;

pub use relay::{Running, StartError, start, start_in, start_on};
