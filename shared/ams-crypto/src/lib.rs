//! The cryptography of AMS: keys, sealing, links, accounts, and the key file. Synchronous; no IO
//! but the key file. Nothing here is audited.
//!
//! In the order in which two people who never met come to speak:
//!
//! 1. [`keyfile`] keeps a profile's or relay's long-lived secrets; [`store`] seals everything else
//!    that rests on the disk, record by record, and [`backup`] what leaves it (`stretch` makes keys of
//!    passphrases, `locked` is memory that does not go to swap)
//! 2. [`identity`] signs, [`dh`] agrees, [`kem`] does so against quantum computers; [`labels`]
//!    keeps their uses apart, [`random`] feeds them
//! 3. [`noise`] makes a link: handshake, then records; [`device`] says whose the other end is where no
//!    relay does
//! 4. [`opaque`] enrols a device for an account without showing the password; [`token`] is what an
//!    invite holds
//! 5. [`introduction`] makes and answers requests for contact ([`blob`] seals what a relay must not
//!    read); both sides get [`pair`] root keys and an [`olm`] session; [`safety`] compares identities
//! 6. [`envelope`] seals each message once more around Olm (`xchacha` is the cipher of 1 and 6)

pub mod backup;
pub mod blob;
pub mod device;
pub mod dh;
pub mod envelope;
pub mod identity;
pub mod introduction;
pub mod kem;
pub mod keyfile;
pub mod labels;
mod locked;
pub mod noise;
pub mod olm;
pub mod opaque;
pub mod pair;
pub mod random;
pub mod safety;
pub mod store;
mod stretch;
pub mod token;
#[cfg(test)]
mod vectors;
mod xchacha;

pub use zeroize::Zeroizing;
