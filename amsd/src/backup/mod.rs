//! A profile in one file, sealed under a passphrase: identity, contacts, kept messages, and which
//! accounts it had. Never ratchets, nor the keys of this device: what is restored is another device
//! of the same person, which logs in to its accounts and gets fresh keys with everybody.
//!
//! 1. [`write()`]: a snapshot becomes a file
//! 2. [`read()`]: a file becomes a profile, in one transaction, where there is none yet
//!
//! The file is a header, then pieces, each behind its length as a `u32` whose highest bit is set on
//! the last ([`ams_crypto::backup`]). Their contents, one behind the other in each piece, are CBOR:
//! `[0, head]` first, then `[1, table, key, row]`, where key and row are as they lie on disk
//! ([`tables`]). Rows may gain fields and never change what they mean, here as there.

mod read;
mod tables;
mod write;

pub use read::read;
pub use write::write;

use ams_crypto::backup::BackupError;
use minicbor::{Decode, Encode};

use crate::store::StoreError;

/// Bytes of contents that a backup has at most: it is restored in one transaction, which is in
/// memory until its end.
const MAX_CONTENTS: usize = 256 * 1024 * 1024;
/// From this size on a piece is full.
const FULL_PIECE: usize = 64 * 1024;
/// Set in the length of the last piece.
const LAST: u32 = 1 << 31;

/// What was written or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Of the identity.
    pub fingerprint: String,
    /// Contacts that were not removed.
    pub contacts: u64,
    /// Messages, both ways.
    pub messages: u64,
    /// Accounts: the relay's link and the user's name there.
    pub accounts: Vec<(String, String)>,
}

/// Why there is no backup, or nothing was restored. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum BackupFailed {
    /// The profile's disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What is in the file, or should be.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// There is a profile here already.
    #[error("this profile is in use: it has contacts, messages or accounts")]
    NotEmpty,
}

/// What comes first in a backup.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Head {
    /// Secret of the identity key.
    #[cbor(n(0), with = "minicbor::bytes")]
    identity: [u8; 32],
    /// The form of the rows.
    #[n(1)]
    layout: u64,
    /// The highest numbers that were given: to contacts, places in the timeline, relays.
    #[n(2)]
    contacts: u64,
    /// See `contacts`.
    #[n(3)]
    timeline: u64,
    /// See `contacts`.
    #[n(4)]
    relays: u64,
    /// The same of direct ways.
    #[cbor(n(5), default)]
    directs: u64,
}
