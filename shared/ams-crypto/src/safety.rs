//! The safety number: 60 digits, equal on both sides, by which two people check that nobody stands
//! between them. Signal's construction: per identity 5,200 rounds of SHA-512, 30 digits of it; the
//! two halves sorted. No account name goes in, so the number is the same over every path.

use std::fmt;

use sha2::{Digest, Sha512};

use crate::identity::IdentityPublic;

/// Rounds per half: each makes a search for an identity with a similar number dearer.
const ROUNDS: usize = 5_200;
/// Version of the construction, first input of the first round.
const VERSION: [u8; 2] = [0, 1];
/// Digits of a group; a group is made of 5 bytes.
const GROUP: usize = 5;

/// 60 digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SafetyNumber(String);

/// The safety number of two identities, in either order. Takes a few milliseconds.
pub fn safety_number(one: &IdentityPublic, other: &IdentityPublic) -> SafetyNumber {
    let (one, other) = (half(one), half(other));
    SafetyNumber(if one <= other { one + &other } else { other + &one })
}

impl SafetyNumber {
    /// The digits without spaces.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether somebody read out the same digits, however grouped.
    pub fn is(&self, text: &str) -> bool {
        let said = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        said.eq(self.0.chars())
    }
}

/// Twelve groups of five digits.
impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, digit) in self.0.chars().enumerate() {
            if at > 0 && at.is_multiple_of(GROUP) {
                f.write_str(" ")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

fn half(identity: &IdentityPublic) -> String {
    let key = identity.as_bytes();
    // As in Signal's NumericFingerprintGenerator, the first round takes version and key in place
    // of a hash.
    let mut hash =
        Sha512::new().chain_update(VERSION).chain_update(key).chain_update(key).finalize();
    for _ in 1..ROUNDS {
        hash = Sha512::new().chain_update(hash).chain_update(key).finalize();
    }
    let groups = hash.chunks_exact(5).take(6).map(|chunk| {
        let value = chunk.iter().fold(0_u64, |value, &byte| (value << 8) | u64::from(byte));
        format!("{:05}", value % 100_000)
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::IdentityKey;

    #[test]
    fn both_sides_see_the_same_known_digits() {
        let [seven, eight] = [7, 8].map(|byte| IdentityKey::from_bytes(&[byte; 32]).public());
        let number = safety_number(&seven, &eight);
        // Computed apart, with hashlib.
        assert_eq!(number.digits(), "477348138657223417971788356367967664435141000885425005292134");
        assert_eq!(number, safety_number(&eight, &seven));
        assert_eq!(
            number.to_string(),
            "47734 81386 57223 41797 17883 56367 96766 44351 41000 88542 50052 92134"
        );
        assert_ne!(number, safety_number(&seven, &seven));
    }

    #[test]
    fn read_out_in_any_grouping() {
        let [seven, eight] = [7, 8].map(|byte| IdentityKey::from_bytes(&[byte; 32]).public());
        let number = safety_number(&seven, &eight);
        assert!(number.is(number.digits()));
        assert!(number.is(&number.to_string()));
        assert!(number.is(&number.to_string().replace(' ', "-\n")));
        assert!(!number.is(&number.digits()[1..]));
        assert!(!number.is(""));
        assert!(!number.is(&format!("{number} 1")));
    }
}
