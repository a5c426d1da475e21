//! The interface as programs in any language see it: the document that describes it, the examples
//! in that document, the clients in `packaging/examples`, and many callers at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

mod clients;
mod crowd;
mod document;
mod examples;
mod schema;
