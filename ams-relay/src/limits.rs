//! Token buckets, and tables of them by key. They run by the clock that their caller tells.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keys that a table remembers; the half of them that was seen last, at least.
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
    /// Whether there is a token.
    pub fn has_one(self, rate: Rate, now: Instant) -> bool {
        self.after(rate, now, 1).saturating_duration_since(now) <= rate.of(rate.burst)
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let fits = self.has_one(rate, now);
        if fits {
            self.full_at = Some(self.after(rate, now, 1));
        }
        fits
    }

    /// Puts back a token that was taken for nothing.
    pub fn give_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(rate.each));
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

    /// Tokens that are out, rounded up.
    fn out(self, rate: Rate, now: Instant) -> u32 {
        let left = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let each = rate.each.as_nanos().max(1);
        u32::try_from(left.as_nanos().div_ceil(each)).unwrap_or(u32::MAX)
    }
}

/// What was seen lately, by the hash of its key. It forgets by time alone, whatever it knows of a
/// key: what is forgotten must not tell anything. Two generations make that cheap: what was not
/// asked for since the younger one was full is gone with the older one.
#[derive(Debug)]
pub struct Recent<V> {
    young: HashMap<u64, V>,
    old: HashMap<u64, V>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<V: Default> Recent<V> {
    /// What is known of `key`; nothing yet, if it was not seen lately.
    pub fn of(&mut self, key: u64) -> &mut V {
        if self.young.len() >= MAX_KEYS / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }
}

/// Buckets by key. Keys are kept as hashes under a key of this process (SipHash), so that memory
/// tells nobody's name and nobody can choose what collides.
#[derive(Debug)]
pub struct Table {
    rate: Rate,
    hasher: RandomState,
    buckets: Mutex<Recent<Bucket>>,
}

impl Table {
    /// An empty table; every bucket is full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, hasher: RandomState::new(), buckets: Mutex::default() }
    }

    /// Takes one token of `key` if there is one.
    pub fn take(&self, key: &impl Hash, now: Instant) -> bool {
        self.take_counted(key, now).is_some()
    }

    /// Puts back a token that [`Table::take`] gave, for what was not done after all.
    pub fn give_back(&self, key: &impl Hash) {
        let key = self.hasher.hash_one(key);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.of(key).give_back(self.rate);
    }

    /// As [`Table::take`]; says how many tokens of `key` were out before.
    pub fn take_counted(&self, key: &impl Hash, now: Instant) -> Option<u32> {
        let key = self.hasher.hash_one(key);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.of(key);
        let before = bucket.out(self.rate, now);
        bucket.take(self.rate, now).then_some(before)
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
        for key in 0..2 * MAX_KEYS {
            assert!(table.take(&key, now));
            // Whoever comes again and again is not forgotten, however many others come.
            assert!(key % 1_000 > 0 || !table.take(&"alice", now));
        }
        assert!(table.buckets.lock().unwrap().len() <= MAX_KEYS);
        assert!(table.take(&"bob", now));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let table = Table::new(Rate::new(1, Duration::from_secs(3600), 2));
        let now = Instant::now();
        table.give_back(&"alice");
        assert!(table.take(&"alice", now) && table.take(&"alice", now));
        assert!(!table.take(&"alice", now));
        table.give_back(&"alice");
        assert!(table.take(&"alice", now));
        assert!(!table.take(&"alice", now));
    }

    #[test]
    fn a_table_says_how_often_it_was_asked_lately() {
        let table = Table::new(Rate::new(2, Duration::from_secs(20), 3));
        let now = Instant::now();
        let before: Vec<_> = (0..4).map(|_| table.take_counted(&"alice", now)).collect();
        assert_eq!(before, [Some(0), Some(1), Some(2), None]);
        let later = now + Duration::from_secs(15);
        assert_eq!(table.take_counted(&"alice", later), Some(2));
        assert_eq!(table.take_counted(&"alice", later + Duration::from_secs(60)), Some(0));
    }
}
