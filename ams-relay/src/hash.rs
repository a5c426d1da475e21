//! A hash for keys of sixteen bytes that are mostly random already: handles and envelope ids. Whose
//! they are chooses them, and what they lie in is used by others too (the recipient's link waits for
//! the lock of a lane), so it is keyed: nobody can choose what collides.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// A map by such a key.
pub(crate) type RandomMap<K, V> = HashMap<K, V, Keyed>;
/// A set of such keys.
pub(crate) type RandomSet<K> = HashSet<K, Keyed>;

/// The keys of this process, drawn from the system's randomness.
static KEYS: OnceLock<(u64, u64)> = OnceLock::new();

/// Makes hashers under the keys of this process.
#[derive(Debug, Clone)]
pub(crate) struct Keyed(u64, u64);

impl Default for Keyed {
    fn default() -> Self {
        // Every `RandomState` has keys of its own, and a hash under them is random.
        let draw = || (RandomState::new().hash_one(0), RandomState::new().hash_one(1));
        let (first, second) = *KEYS.get_or_init(draw);
        Self(first, second)
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { keys: (self.0, self.1), hash: 0 }
    }
}

/// Both halves of the key, each mixed with a secret, multiplied and folded (as `foldhash` does it).
#[derive(Debug)]
pub(crate) struct Folded {
    keys: (u64, u64),
    hash: u64,
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let first = bytes.first_chunk().map_or(0, |half| u64::from_ne_bytes(*half));
        let last = bytes.last_chunk().map_or(0, |half| u64::from_ne_bytes(*half));
        let product = u128::from(first ^ self.keys.0).wrapping_mul((last ^ self.keys.1).into());
        let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
        self.hash ^= u64::try_from(low ^ high).unwrap_or_default();
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use std::collections::HashSet;

    use ams_wire::id::EnvelopeId;

    use super::*;

    /// How many different beginnings (they choose the place in a map) the hashes of these have.
    fn places(ids: impl Iterator<Item = [u8; 16]>) -> usize {
        let keyed = Keyed::default();
        ids.map(|id| keyed.hash_one(EnvelopeId(id)) & 0xFFFF).collect::<HashSet<_>>().len()
    }

    fn numbered(place: usize) -> impl Iterator<Item = [u8; 16]> {
        (0..4_096_u32).map(move |number| {
            let mut id = [7; 16];
            id[place..place + 4].copy_from_slice(&number.to_be_bytes());
            id
        })
    }

    #[test]
    fn ids_that_are_alike_do_not_collide() {
        // 4,096 random ones in 65,536 places are about 3,970 different ones; without the keys one.
        for place in 0..=12 {
            let places = places(numbered(place));
            assert!(places > 500, "{place}: {places}");
        }
    }

    #[test]
    fn all_maps_of_a_process_hash_alike() {
        let id = EnvelopeId([3; 16]);
        assert_eq!(Keyed::default().hash_one(id), Keyed::default().hash_one(id));
        assert_ne!(Keyed(1, 2).hash_one(id), Keyed(3, 2).hash_one(id));
        assert_ne!(Keyed(1, 2).hash_one(id), Keyed(1, 3).hash_one(id));
    }
}
