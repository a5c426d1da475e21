//! Tokens: 128 random bits that prove by being known. Only their hash is stored, so that reading
//! the store gives nobody a token.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::labels;
use crate::random;

/// A secret token.
pub struct Token(Zeroizing<[u8; 16]>);

/// What is stored of a token: SHA-256 over label and token. No stretching is needed against
/// guessing 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl Token {
    /// A new token.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes()))
    }

    /// A token that was handed in.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to put into the one link that carries them.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 16]> {
        self.0.clone()
    }

    /// What to store, and to look a token up by: a hash that is found equal tells nothing of a
    /// token that is not known in whole.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(labels::framed(labels::TOKEN, &[&self.0[..]])).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl TokenHash {
    /// Whether `token` is the one, in constant time.
    pub fn is_of(&self, token: &Token) -> bool {
        self.0.ct_eq(&token.hash().0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({})", BASE64URL_NOPAD.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_matches() {
        let token = Token::from_bytes([3; 16]);
        assert!(token.hash().is_of(&token));
        assert!(!token.hash().is_of(&Token::from_bytes([4; 16])));
        assert_eq!(data_encoding::HEXLOWER.encode(&token.hash().0), HASH);
        assert_eq!(format!("{token:?}"), "Token(secret)");
    }

    const HASH: &str = "624914d2b9b6734c73c1f98a0727cfdbc355eae8db5b7f4b29923fc20751e0a8";
}
