//! What was accepted from a sender against what a reader was shown.

use std::collections::{BTreeMap, BTreeSet};

/// What became of everything that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Accepted, and never shown.
    pub lost: usize,
    /// Shown again.
    pub doubled: usize,
    /// Shown, and never accepted.
    pub invented: usize,
    /// Shown after one that was accepted later.
    pub disordered: usize,
}

impl Balance {
    /// Everything once, in order.
    pub const EVEN: Self = Self { lost: 0, doubled: 0, invented: 0, disordered: 0 };
}

/// Compares the two. What was accepted has no doubles.
#[must_use]
pub fn balance(accepted: &[String], shown: &[String]) -> Balance {
    let places: BTreeMap<&str, usize> =
        accepted.iter().enumerate().map(|(place, text)| (text.as_str(), place)).collect();
    assert_eq!(places.len(), accepted.len(), "the test accepted something twice");
    let mut balance = Balance::EVEN;
    let mut seen = BTreeSet::new();
    let mut newest = 0;
    for text in shown {
        let Some(&place) = places.get(text.as_str()) else {
            balance.invented += 1;
            continue;
        };
        if !seen.insert(place) {
            balance.doubled += 1;
            continue;
        }
        if place < newest {
            balance.disordered += 1;
        }
        newest = newest.max(place);
    }
    balance.lost = accepted.len() - seen.len();
    balance
}

/// Everything that was accepted was shown once, in order.
#[track_caller]
pub fn assert_even(whose: &str, accepted: &[String], shown: &[String]) {
    let balance = balance(accepted, shown);
    assert_eq!(
        balance,
        Balance::EVEN,
        "{whose}: {} accepted, {} shown",
        accepted.len(),
        shown.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(numbers: &[u32]) -> Vec<String> {
        numbers.iter().map(u32::to_string).collect()
    }

    /// The control: whatever can go wrong is noticed, each as what it is.
    #[test]
    fn every_fault_is_noticed() {
        let accepted = texts(&[1, 2, 3]);
        for (shown, expected) in [
            (&[1, 2, 3][..], Balance::EVEN),
            (&[1, 3], Balance { lost: 1, ..Balance::EVEN }),
            (&[], Balance { lost: 3, ..Balance::EVEN }),
            (&[1, 2, 2, 3], Balance { doubled: 1, ..Balance::EVEN }),
            (&[1, 2, 3, 1], Balance { doubled: 1, ..Balance::EVEN }),
            (&[2, 1, 3], Balance { disordered: 1, ..Balance::EVEN }),
            (&[1, 2, 3, 4], Balance { invented: 1, ..Balance::EVEN }),
        ] {
            assert_eq!(balance(&accepted, &texts(shown)), expected, "{shown:?}");
        }
    }
}
