//! A hash for keys that are random already: handles and envelope ids. Whoever chooses them badly
//! slows down only what is his own.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such a key.
pub(crate) type RandomMap<K, V> = HashMap<K, V, BuildHasherDefault<FirstBytes>>;
/// A set of such keys.
pub(crate) type RandomSet<K> = HashSet<K, BuildHasherDefault<FirstBytes>>;

/// The first eight bytes of the key.
#[derive(Debug, Default)]
pub(crate) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(chunk) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*chunk);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
