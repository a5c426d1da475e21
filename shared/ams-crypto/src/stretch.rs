//! A key from a passphrase: whoever guesses pays half a second and 256 MiB for each guess.
//!
//! ```text
//! key = HKDF-Expand(Argon2id(passphrase, salt; 256 MiB, 3 passes, 1 lane), label)
//! ```

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const KIB: u32 = 256 * 1024;
const PASSES: u32 = 3;

/// There is not so much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

/// The key for what `label` names.
pub(crate) fn stretch(
    passphrase: &str,
    salt: &[u8; 16],
    label: &[u8],
) -> Result<Zeroizing<[u8; 32]>, OutOfMemory> {
    let params = Params::new(KIB, PASSES, 1, None).map_err(|_| OutOfMemory)?;
    let mut memory = Vec::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| OutOfMemory)?;
    memory.resize(params.block_count(), Block::default());
    let mut stretched = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut *stretched, &mut memory)
        .map_err(|_| OutOfMemory)?;
    let mut key = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(None, &stretched[..]).expand(label, &mut *key);
    expanded.map_err(|_| OutOfMemory)?;
    Ok(key)
}
