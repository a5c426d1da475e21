//! An authenticated, encrypted link over any byte stream.
//!
//! 1. [`handshake`] turns a [`stream`] into a [`Link`]: its two halves, and who is at the other end
//!    ([`peer`]: the same between two daemons)
//! 2. [`sender`] gathers frames and writes them as few, padded records
//! 3. [`receiver`] reads records and hands out their frames
//! 4. [`keepalive`] says when to ping and when the other side is gone
//! 5. [`backoff`] says when to dial again; [`chance`] is the jitter of both
//!
//! An idle link owns no buffer: reading and gathering happen in buffers of the thread
//! (`buffers`). What the frames say is `ams_wire`'s; a link ends well only by a `Bye` frame, so
//! every end of the stream is a cut.

pub mod backoff;
mod buffers;
pub mod chance;
pub mod handshake;
pub mod keepalive;
pub mod peer;
pub mod receiver;
pub mod sender;
pub mod stream;

pub use chance::Chance;
pub use handshake::Link;
pub use receiver::Receiver;
pub use sender::Sender;
pub use stream::Stream;

#[cfg(test)]
mod tests;
