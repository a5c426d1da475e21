//! The interface of AMS on a local socket: one table of methods, their types and errors, and the
//! transport, both ends.
//!
//! JSON-RPC 2.0, one JSON value a line. The same rules hold for the daemon's socket and for the
//! relay's admin socket; each has its own table.
//!
//! In the order in which a call meets them:
//!
//! 1. [`places`]: where the socket is.
//! 2. [`client`]: the calling end, blocking and small.
//! 3. [`server`]: the endpoint: bind, accept, count, check who calls; [`mod@platform`] is its system side,
//!    `unix` or `windows`.
//! 4. [`inside`]: a caller without a socket, in the server's own process.
//! 5. `connection`, `buffers`: one client: lines in, answers and notifications out, everything bounded.
//! 6. `request`: a line becomes requests, or an error that says what is wrong with it.
//! 7. [`service`]: a request meets its handler, if the socket's rule ([`scope`]) lets it.
//! 8. [`methods`], [`admin`]: the tables; [`types`]: what they take and answer; [`error`]: what can
//!    go wrong; [`openrpc`]: all of it as a document.
//!
//! Beside that way: [`health`], what `doctor` finds with both programs.

#![warn(missing_docs)]

pub mod admin;
mod buffers;
pub mod client;
mod connection;
pub mod error;
pub mod health;
pub mod inside;
pub mod methods;
pub mod openrpc;
pub mod places;
mod request;
pub mod scope;
pub mod server;
pub mod service;
pub mod types;
#[cfg(unix)]
pub mod unix;
#[cfg(windows)]
pub mod windows;

#[cfg(unix)]
pub use unix as platform;
#[cfg(windows)]
pub use windows as platform;

pub use connection::CallContext;
pub use error::{ErrorKind, Exit, RpcError};
pub use inside::Inside;
pub use methods::{Entry, METHODS, Method, NOTICES, Notices, Subscription};
pub use server::{Listener, Server};
pub use service::{EventSink, Pending, Service, ServiceBuilder};

#[cfg(test)]
#[cfg(unix)]
mod socket_tests;
