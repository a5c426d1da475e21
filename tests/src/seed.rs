//! Chance that can be repeated: a failed run prints its seed.

use std::env;

/// A generator (SplitMix64). For tests alone; nothing that must be secret comes from it.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The seed in the environment variable, else a new one; printed either way.
    #[must_use]
    pub fn from_environment(variable: &str) -> Self {
        let seed = match env::var(variable) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
            Err(_) => u64::from_be_bytes(ams_crypto::random::bytes()),
        };
        eprintln!("{variable}={seed}");
        Self(seed)
    }

    /// A generator from a number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A place in a list of that length.
    pub fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.place(of.len())]
    }

    /// Whether it happens, of so many times once.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A count from the environment, for longer runs of the same test.
#[must_use]
pub fn count(variable: &str, default: usize) -> usize {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}
