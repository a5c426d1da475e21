//! Random bytes of the operating system.

/// `N` fresh random bytes.
///
/// Ends the process when the operating system has no randomness to give: every key and nonce rests
/// on it, and no caller could go on safely.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

/// Overwrites `out` with random bytes, as [`bytes`].
pub fn fill(out: &mut [u8]) {
    if getrandom::fill(out).is_err() {
        std::process::abort();
    }
}
