//! The ratchets and pair secrets: plaintext in, envelope out, and back.
//!
//! 1. [`seal`]: a message becomes an envelope; ratchet and ciphertext are in the same commit
//! 2. [`receipt`]: what each envelope says of the other direction
//! 3. [`open`]: an envelope becomes a message, on a copy of the ratchet
//!
//! Everything runs inside a transaction: no ratchet is ever newer in memory than on disk, so no
//! key can be used twice after a crash.

pub mod open;
pub mod receipt;
pub mod row;
pub mod seal;
