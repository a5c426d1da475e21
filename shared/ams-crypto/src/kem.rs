//! ML-KEM-768 (FIPS 203): the half of the pair secret that a quantum computer of later years does
//! not open in traffic recorded today.

use std::fmt;

use ams_wire::limits::{KEM_CIPHERTEXT, KEM_KEY};
use ml_kem::kem::{Decapsulate, Encapsulate, Key, KeyExport};
use ml_kem::{DecapsulationKey768, EncapsulationKey768};
use zeroize::Zeroizing;

use crate::random;

/// A secret decapsulation key, kept as the 64-byte seed that makes it (FIPS 203 section 7.1).
pub struct KemSecret(Zeroizing<[u8; 64]>);

/// The bytes are no encapsulation key (FIPS 203 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ML-KEM-768 key")]
pub struct BadKemKey;

/// The bytes have not the length of a ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ML-KEM-768 ciphertext")]
pub struct BadKemCiphertext;

/// What encapsulation gives.
pub struct Encapsulated {
    /// For the holder of the key.
    pub ciphertext: [u8; KEM_CIPHERTEXT],
    /// What the holder will find in it.
    pub shared: Zeroizing<[u8; 32]>,
}

impl KemSecret {
    /// A new key.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes()))
    }

    /// The key whose seed [`KemSecret::to_bytes`] gave.
    pub fn from_bytes(seed: &[u8; 64]) -> Self {
        Self(Zeroizing::new(*seed))
    }

    /// The seed, for sealed storage.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        self.0.clone()
    }

    /// The encapsulation key.
    pub fn public(&self) -> Vec<u8> {
        self.expand().encapsulation_key().to_bytes().to_vec()
    }

    /// The secret in `ciphertext`. One made for another key gives another secret, not an error
    /// (implicit rejection, FIPS 203 section 6.3).
    ///
    /// # Errors
    /// [`BadKemCiphertext`] for a wrong length.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Zeroizing<[u8; 32]>, BadKemCiphertext> {
        let shared = self.expand().decapsulate_slice(ciphertext).map_err(|_| BadKemCiphertext)?;
        Ok(Zeroizing::new(shared.into()))
    }

    fn expand(&self) -> DecapsulationKey768 {
        DecapsulationKey768::from_seed((*self.0).into())
    }
}

impl fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemSecret(secret)")
    }
}

/// Whether `key` is a well-formed encapsulation key of [`KEM_KEY`] bytes.
///
/// # Errors
/// [`BadKemKey`].
pub fn check(key: &[u8]) -> Result<(), BadKemKey> {
    parse(key).map(|_| ())
}

/// Makes a secret that only the holder of `key` can read from the ciphertext.
///
/// # Errors
/// [`BadKemKey`].
pub fn encapsulate(key: &[u8]) -> Result<Encapsulated, BadKemKey> {
    let (ciphertext, shared) = parse(key)?.encapsulate();
    Ok(Encapsulated { ciphertext: ciphertext.into(), shared: Zeroizing::new(shared.into()) })
}

fn parse(key: &[u8]) -> Result<EncapsulationKey768, BadKemKey> {
    if key.len() != KEM_KEY {
        return Err(BadKemKey);
    }
    let key = Key::<EncapsulationKey768>::try_from(key).map_err(|_| BadKemKey)?;
    EncapsulationKey768::new(&key).map_err(|_| BadKemKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};

    fn counting_seed() -> [u8; 64] {
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    }

    #[test]
    fn key_generation_is_that_of_fips_203() {
        // The example key pair of the IETF's ML-KEM certificates, SHA-256 over its public key.
        let public = KemSecret::from_bytes(&counting_seed()).public();
        assert_eq!(public.len(), KEM_KEY);
        assert_eq!(
            HEXLOWER.encode(&Sha256::digest(&public)),
            "0b7934c83125c788995e2ba6bd761e33046b3e40571be53e023309a29f398cc9"
        );
    }

    #[test]
    fn implicit_rejection_is_that_of_fips_203() {
        // A ciphertext that nobody made gives SHAKE256(z ‖ ciphertext), here computed apart.
        let secret = KemSecret::from_bytes(&counting_seed());
        assert_eq!(
            HEXLOWER.encode(&secret.decapsulate(&[0; KEM_CIPHERTEXT]).unwrap()[..]),
            "c8fbeddafdacef2ffeb8b354ea644f11b5c150f3e2c4a74ce38abba8f854ae16"
        );
    }

    #[test]
    fn both_sides_share() {
        let secret = KemSecret::generate();
        let made = encapsulate(&secret.public()).unwrap();
        let again = KemSecret::from_bytes(&secret.to_bytes());
        assert_eq!(again.decapsulate(&made.ciphertext).unwrap(), made.shared);
        let mut bent = made.ciphertext;
        bent[500] ^= 1;
        assert_ne!(secret.decapsulate(&bent).unwrap(), made.shared);
    }

    #[test]
    fn malformed_bytes_are_errors() {
        let public = KemSecret::generate().public();
        assert_eq!(check(&public), Ok(()));
        assert_eq!(check(&public[1..]), Err(BadKemKey));
        assert_eq!(check(&[]), Err(BadKemKey));
        // A coefficient that is not reduced (FIPS 203 section 7.2, modulus check).
        assert_eq!(check(&[0xff; KEM_KEY]), Err(BadKemKey));
        assert!(encapsulate(&[0xff; KEM_KEY]).is_err());
        let secret = KemSecret::generate();
        assert_eq!(secret.decapsulate(&[0; KEM_CIPHERTEXT - 1]), Err(BadKemCiphertext));
        assert_eq!(secret.decapsulate(&[0; KEM_CIPHERTEXT + 1]), Err(BadKemCiphertext));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", KemSecret::generate()), "KemSecret(secret)");
    }
}
