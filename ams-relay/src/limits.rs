//! Token buckets, and tables of them by key. They run by the clock that their caller tells.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keys that a table remembers.
const MAX_KEYS: usize = 65_536;

/// How much is let pass.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// One token comes in this time.
    each: Duration,
    /// As many are there at most.
    burst: u32,
}

impl Rate {
    /// `count` in `time`, and as many as `burst` at once.
    pub fn new(count: u32, time: Duration, burst: u32) -> Self {
        Self { each: time.checked_div(count.max(1)).unwrap_or(time), burst: burst.max(1) }
    }

    fn of(self, tokens: u32) -> Duration {
        self.each.saturating_mul(tokens)
    }
}

/// A token bucket, kept as the moment when it will be full again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one token if there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let after = self.after(rate, now, 1);
        let fits = after.saturating_duration_since(now) <= rate.of(rate.burst);
        if fits {
            self.full_at = Some(after);
        }
        fits
    }

    /// Takes tokens even if there are none, and gives the moment when the debt is paid, if there is
    /// one now.
    pub fn owe(&mut self, rate: Rate, now: Instant, tokens: u32) -> Option<Instant> {
        let after = self.after(rate, now, tokens);
        self.full_at = Some(after);
        let paid = after.checked_sub(rate.of(rate.burst))?;
        (paid > now).then_some(paid)
    }

    fn after(self, rate: Rate, now: Instant, tokens: u32) -> Instant {
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        from.checked_add(rate.of(tokens)).unwrap_or(from)
    }

    fn is_full(self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

/// Buckets by key. Keys are kept as hashes under a key of this process, so that memory tells
/// nobody's name and nobody can choose what collides.
#[derive(Debug)]
pub struct Table {
    rate: Rate,
    hasher: RandomState,
    buckets: Mutex<HashMap<u64, Bucket>>,
}

impl Table {
    /// An empty table; every bucket is full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, hasher: RandomState::new(), buckets: Mutex::default() }
    }

    /// Takes one token of `key` if there is one.
    pub fn take(&self, key: &impl Hash, now: Instant) -> bool {
        let key = self.hasher.hash_one(key);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KEYS && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            // By time alone, whoever's it is: what is forgotten must not tell anything.
            if buckets.len() >= MAX_KEYS
                && let Some(oldest) =
                    buckets.iter().min_by_key(|(_, bucket)| bucket.full_at).map(|(key, _)| *key)
            {
                buckets.remove(&oldest);
            }
        }
        buckets.entry(key).or_default().take(self.rate, now)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::new(10, Duration::from_secs(1), 3);
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert!(bucket.take(rate, start));
        }
        assert!(!bucket.take(rate, start));
        assert!(!bucket.take(rate, start + Duration::from_millis(99)));
        assert!(bucket.take(rate, start + Duration::from_millis(100)));
        assert!(!bucket.take(rate, start + Duration::from_millis(100)));
    }

    #[test]
    fn a_debt_is_paid_by_waiting() {
        let rate = Rate::new(10, Duration::from_secs(1), 5);
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(bucket.owe(rate, start, 5), None);
        assert_eq!(bucket.owe(rate, start, 2), Some(start + Duration::from_millis(200)));
        assert_eq!(bucket.owe(rate, start + Duration::from_millis(200), 0), None);
    }

    #[test]
    fn a_table_counts_each_key_by_itself_and_stays_bounded() {
        let table = Table::new(Rate::new(1, Duration::from_secs(3600), 1));
        let now = Instant::now();
        assert!(table.take(&"alice", now));
        assert!(!table.take(&"alice", now));
        assert!(table.take(&"bob", now));
        for key in 0..MAX_KEYS + 10 {
            let moment = now + Duration::from_micros(u64::try_from(key).unwrap());
            assert!(table.take(&key, moment));
        }
        assert!(table.buckets.lock().unwrap().len() <= MAX_KEYS);
    }
}
