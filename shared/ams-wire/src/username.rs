//! Account names: `[a-z0-9][a-z0-9_.-]{2,31}`, a rule of syntax alone, checked by the client first.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::limits::USERNAME_LEN;

/// A well-formed username. That it is well-formed says nothing about whether it exists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Username(String);

/// The text is no username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a username is 3 to 32 of a-z 0-9 _ . - and begins with a letter or digit")]
pub struct BadUsername;

impl Username {
    /// Checks the syntax.
    pub fn new(text: &str) -> Result<Self, BadUsername> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let well_formed = USERNAME_LEN.contains(&bytes.len())
            && bytes.first().copied().is_some_and(plain)
            && bytes.iter().all(|&b| plain(b) || matches!(b, b'_' | b'.' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(BadUsername) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Username {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<C> Encode<C> for Username {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Username {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|_| minicbor::decode::Error::message("not a username"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_at_its_bounds() {
        for good in ["abc", "0a.", "a_-.9", &"x".repeat(32)] {
            assert!(Username::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", &"x".repeat(33), ".ab", "-ab", "Abc", "a b", "añb", "a\u{0}b"] {
            assert!(Username::new(bad).is_err(), "{bad}");
        }
    }
}
