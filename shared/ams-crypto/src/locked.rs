//! Memory for the few secrets that live as long as the process and open everything else: pages of
//! their own, which do not go to swap and into no core file, and are wiped at the end.

use std::fmt;

use memmap2::MmapMut;
use zeroize::{Zeroize, Zeroizing};

/// `N` secret bytes.
pub(crate) struct Locked<const N: usize> {
    at: Place<N>,
    is_locked: bool,
}

enum Place<const N: usize> {
    Pages(MmapMut),
    /// Where the system has no pages to give.
    Heap(Box<Zeroizing<[u8; N]>>),
}

impl<const N: usize> Locked<N> {
    /// Zeros, which `fill` puts something in the place of: so nothing of it lies elsewhere.
    pub(crate) fn new(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let pages = MmapMut::map_anon(N).ok();
        let is_locked = pages.as_ref().is_some_and(keep_here);
        let mut at = pages.map_or_else(|| Place::Heap(Box::new([0; N].into())), Place::Pages);
        match &mut at {
            Place::Pages(pages) => match pages.first_chunk_mut() {
                Some(bytes) => fill(bytes),
                None => std::process::abort(),
            },
            Place::Heap(bytes) => fill(bytes),
        }
        Self { at, is_locked }
    }

    /// Whether it stays out of swap.
    pub(crate) fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// `M` of them, from `from` on.
    pub(crate) fn part<const M: usize>(&self, from: usize) -> &[u8; M] {
        let bytes = match &self.at {
            Place::Pages(pages) => &pages[..],
            Place::Heap(bytes) => &bytes[..],
        };
        match bytes.get(from..).and_then(|rest| rest.first_chunk()) {
            Some(part) => part,
            None => std::process::abort(),
        }
    }
}

impl<const N: usize> Drop for Locked<N> {
    fn drop(&mut self) {
        if let Place::Pages(pages) = &mut self.at {
            pages.zeroize();
        }
    }
}

impl<const N: usize> fmt::Debug for Locked<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(secret)")
    }
}

/// Keeps pages out of core files and of swap; whether they stay out of swap.
#[cfg(unix)]
fn keep_here(pages: &MmapMut) -> bool {
    // A kernel that does not know this writes no core file of ours either: see `set_dumpable`.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::DontDump);
    pages.lock().is_ok()
}

#[cfg(not(unix))]
fn keep_here(_: &MmapMut) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_there_is_there() {
        let locked = Locked::<64>::new(|bytes| {
            for (place, byte) in bytes.iter_mut().zip(0..) {
                *place = byte;
            }
        });
        assert_eq!(locked.part::<2>(0), &[0, 1]);
        assert_eq!(locked.part::<32>(32).last(), Some(&63));
        assert_eq!(format!("{locked:?}"), "Locked(secret)");
    }
}
