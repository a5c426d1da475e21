//! Where jitter comes from: the system's randomness, or a seed that can be repeated.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt as _, SeedableRng as _};

/// Draws moments, never keys. Clones share it.
#[derive(Clone, Default)]
pub struct Chance(Option<Arc<Mutex<StdRng>>>);

impl Chance {
    /// Repeats the same draws: for simulations.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// A length within `range`.
    pub fn within(&self, range: RangeInclusive<Duration>) -> Duration {
        fn draw(rng: &mut impl Rng, range: RangeInclusive<Duration>) -> Duration {
            if range.is_empty() { *range.start() } else { rng.random_range(range) }
        }
        match &self.0 {
            None => draw(&mut rand::rng(), range),
            Some(seeded) => {
                draw(&mut *seeded.lock().unwrap_or_else(PoisonError::into_inner), range)
            }
        }
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Chance(seeded)" } else { "Chance(system)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_the_system_does_not() {
        let range = Duration::ZERO..=Duration::from_secs(1000);
        let draws =
            |chance: Chance| -> Vec<_> { (0..20).map(|_| chance.within(range.clone())).collect() };
        assert_eq!(draws(Chance::seeded(7)), draws(Chance::seeded(7)));
        assert_ne!(draws(Chance::seeded(7)), draws(Chance::seeded(8)));
        assert_ne!(draws(Chance::default()), draws(Chance::default()));
        let one = Duration::from_secs(1);
        assert_eq!(Chance::default().within(one..=Duration::ZERO), one);
    }
}
