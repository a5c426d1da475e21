//! The relay from outside: clients over streams in memory, with the real links and the real
//! accounts.

mod abuse;
mod attaching;
mod client;
mod contacts;
mod enrolment;
mod leaking;
mod relaying;
mod shortage;
mod storage;
mod transcript;
mod two_worlds;
mod walls;
