//! Rows at rest: each value is sealed on its own, bound to its table and key, so that rows can be
//! neither read nor swapped. `version 1 ‖ nonce (24 random bytes) ‖ XChaCha20-Poly1305(value)`.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::locked::Locked;
use crate::xchacha::{self, NONCE, TAG};
use crate::{labels, random};

/// Bytes that a sealed row is longer than its value: version 1, nonce 24, tag 16.
pub const OVERHEAD: usize = 41;

const VERSION: u8 = 1;

/// The row was not sealed with this key for this place, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored row does not open: it was changed, moved, or sealed with another key")]
pub struct BadRow;

/// Seals and opens rows.
pub struct StoreKey {
    /// For rows, then for names.
    keys: Locked<64>,
}

impl StoreKey {
    /// From a profile's data key (see [`crate::keyfile`]).
    pub fn new(data_key: &[u8; 32]) -> Self {
        let keys = Locked::new(|keys: &mut [u8; 64]| {
            let (rows, names) = keys.split_at_mut(32);
            subkey(data_key, labels::STORE, rows);
            subkey(data_key, labels::STORE_NAME, names);
        });
        Self { keys }
    }

    /// Whether the system keeps it out of swap.
    pub fn is_locked(&self) -> bool {
        self.keys.is_locked()
    }

    fn rows(&self) -> &[u8; 32] {
        self.keys.part(0)
    }

    fn names(&self) -> &[u8; 32] {
        self.keys.part(32)
    }

    /// What stands for `name` as a key of `table`: 16 bytes of HMAC-SHA256, so that a row can be
    /// found by a name that is not readable on disk.
    pub fn blind(&self, table: &str, name: &[u8]) -> [u8; 16] {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.names()) else {
            std::process::abort();
        };
        mac.update(&place(table, name));
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        whole.first_chunk().copied().unwrap_or_default()
    }

    /// Seals `value` for row `key` of `table`.
    pub fn seal(&self, table: &str, key: &[u8], value: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = random::bytes();
        let mut row = Vec::with_capacity(value.len().saturating_add(OVERHEAD));
        row.push(VERSION);
        row.extend_from_slice(&nonce);
        row.extend_from_slice(value);
        let body = row.get_mut(OVERHEAD.saturating_sub(TAG)..).unwrap_or_default();
        let tag = xchacha::seal(self.rows(), &nonce, &place(table, key), body);
        row.extend_from_slice(&tag);
        row
    }

    /// Opens what [`StoreKey::seal`] made for the same place.
    ///
    /// # Errors
    /// [`BadRow`].
    pub fn open(&self, table: &str, key: &[u8], row: &[u8]) -> Result<Vec<u8>, BadRow> {
        let (&version, rest) = row.split_first().ok_or(BadRow)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(BadRow)?;
        if version != VERSION {
            return Err(BadRow);
        }
        let mut value = sealed.to_vec();
        let opened = xchacha::open(self.rows(), nonce, &place(table, key), &mut value);
        let length = opened.map_err(|_| BadRow)?.len();
        value.truncate(length);
        Ok(value)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(secret)")
    }
}

fn subkey(data_key: &[u8; 32], label: &[u8], key: &mut [u8]) {
    // HKDF-Expand fails only above 255 blocks; a key of zeros must not go on.
    if Hkdf::<Sha256>::new(None, data_key).expand(label, key).is_err() {
        std::process::abort();
    }
}

fn place(table: &str, key: &[u8]) -> Vec<u8> {
    labels::framed(labels::STORE, &[table.as_bytes(), key])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_its_place_alone() {
        let store = StoreKey::new(&[1; 32]);
        let row = store.seal("inbox", b"k1", b"value");
        assert_eq!(row.len(), 5 + OVERHEAD);
        assert_eq!(store.open("inbox", b"k1", &row).unwrap(), b"value");
        assert_eq!(store.open("inbox", b"k2", &row), Err(BadRow));
        assert_eq!(store.open("inbo", b"xk1", &row), Err(BadRow));
        assert_eq!(StoreKey::new(&[2; 32]).open("inbox", b"k1", &row), Err(BadRow));
        assert_ne!(row, store.seal("inbox", b"k1", b"value"));
        assert_eq!(store.open("t", b"", &store.seal("t", b"", b"")).unwrap(), b"");
    }

    #[test]
    fn perturbed_rows_do_not_open() {
        let store = StoreKey::new(&[1; 32]);
        let row = store.seal("t", b"k", b"value");
        for at in 0..row.len() {
            let mut bent = row.clone();
            bent[at] ^= 1;
            assert_eq!(store.open("t", b"k", &bent), Err(BadRow), "{at}");
            assert_eq!(store.open("t", b"k", &row[..at]), Err(BadRow), "{at}");
        }
    }

    #[test]
    fn a_row_of_version_1_opens() {
        // Computed apart, from the construction in the text above.
        let row = data_encoding::HEXLOWER.decode(ROW.as_bytes()).unwrap();
        let opened = StoreKey::new(&[1; 32]).open("inbox", b"k1", &row).unwrap();
        assert_eq!(opened, b"frozen value");
    }

    #[test]
    fn a_name_stands_for_itself_in_one_table() {
        let store = StoreKey::new(&[1; 32]);
        let blind = store.blind("inbox", b"k1");
        // Computed apart.
        assert_eq!(data_encoding::HEXLOWER.encode(&blind), "0edbab500b75cf7d655d86c4649a8bb9");
        assert_ne!(blind, store.blind("inbox", b"k2"));
        assert_ne!(blind, store.blind("outbox", b"k1"));
        assert_ne!(blind, StoreKey::new(&[2; 32]).blind("inbox", b"k1"));
    }

    const ROW: &str = "01000102030405060708090a0b0c0d0e0f1011121314151617\
        e3f12a02bf1757296c7915d843408c86698fff53f5ee8b90922be39a";
}
