//! Two profiles and the rules between them, with a relay that is nothing but a test's hands:
//! each test decides which frame and which envelope arrives, how often, and in which order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that goes wrong may panic"
)]

mod hands;
mod keys;
mod meeting;
mod messages;
mod person;
mod remembering;
mod swapping;
mod waiting;
