//! The AMS wire format: bytes to types and back. No IO, no async runtime, no cryptography.
//!
//! A message meets these modules in this order:
//!
//! 1. [`body`]: what the sender wrote, as the plaintext of the inner ratchet
//! 2. [`inner`]: counter, receipt state and ratchet message, as the plaintext of an envelope
//!    ([`receipt`] is the receipt state in it, [`pad`] its size)
//! 3. [`to_relay`]: the frame that carries the envelope to the relay
//! 4. [`frame`]: how frames lie in a record of the link
//! 5. [`from_relay`]: the frame that carries it on to the recipient
//!
//! Beside that way: [`aside`] (what daemons say to each other under the ratchet), [`to_peer`] (what daemons say to each other on a direct link), [`intro`] (introductions and approvals), [`address`] (`ams://` links),
//! [`id`] (the fixed-size names of things), [`username`], [`limits`] (every bound, once), `cbor`
//! (strict decoding).
#![doc = include_str!("../PROTOCOL.md")]

pub mod address;
pub mod aside;
pub mod body;
mod cbor;
pub mod frame;
pub mod from_relay;
pub mod id;
pub mod inner;
pub mod intro;
pub mod limits;
pub mod pad;
pub mod receipt;
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]
mod samples;
pub mod to_peer;
pub mod to_relay;
pub mod username;

pub use frame::WireError;
