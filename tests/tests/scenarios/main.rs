//! What people do, with the real code of relay and daemons over real sockets, within one process.

mod away;
mod contacts;
mod presence;
mod profiles;
mod readers;
mod relays;
mod talk;
mod waits;
