//! The AMS daemon. Rooms, in the order in which a message meets them:
//!
//! 1. [`outbox`]: a message is accepted, and kept until its receipt
//! 2. [`router`]: over which path it goes, and when
//! 3. [`session`]: it is sealed into an envelope
//! 4. [`relay`] or [`peer`]: the link carries the envelope
//! 5. [`inbox`]: on the other side, an envelope becomes a message, kept until it was read
//!
//! A user's program meets it at [`rpc`], and hears of it through [`dispatch`]; one that may do only a part
//! has a socket of its own ([`scoped`]). [`hooks`] are programs that it runs for what happens.
//!
//! The process: [`cli`], [`config`], [`home`] (folders, one daemon each), [`logs`], [`mod@platform`] (`unix`, `windows`),
//! [`process`] (signals), [`running`] (start and stop, with [`open`] for keys and database,
//! [`passphrase`] for what opens the keys, [`migrate`] for those of an earlier version),
//! [`check`] (a profile is looked at), [`backup`] (and taken along).
//!
//! Beside that way: [`store`] (the disk), [`contacts`] (who is known), [`profile`] (who we are),
//! [`timeline`] (the order of everything), [`tidy`] (what is old leaves), [`tally`] (how many), [`live`] (what is up),
//! [`fact`] (what a commit tells), `lane` (what a link brings, on its way to the disk), `pulse` (does a task still go around), [`settings`], [`mod@outside`] (time, chance, network), [`tcp`] (the network, also through a proxy), [`clock`],
//! `swap` (may memory end up on a disk).

pub mod backup;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod dispatch;
pub mod fact;
pub mod home;
pub mod hooks;
pub mod inbox;
mod lane;
pub mod live;
pub mod logs;
pub mod migrate;
pub mod open;
pub mod outbox;
pub mod outside;
pub mod passphrase;
pub mod peer;
pub mod process;
pub mod profile;
mod pulse;
pub mod relay;
pub mod router;
pub mod rpc;
pub mod running;
pub mod scoped;
pub mod session;
pub mod settings;
pub mod store;
mod swap;
pub mod tally;
pub mod tcp;
pub mod tidy;
pub mod timeline;
#[cfg(unix)]
pub mod unix;
#[cfg(windows)]
pub mod windows;

#[cfg(unix)]
pub use unix as platform;
#[cfg(windows)]
pub use windows as platform;

pub use home::Home;
pub use process::{ConfigFile, RunError, run};
pub use running::{Running, Start, StartError, start};
