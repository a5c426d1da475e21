//! Buffers of the thread, lent to whichever link has something to do. Ten thousand idle links own
//! none.

use std::cell::{Cell, RefCell};

/// Bytes read at once: the largest record with its length, so that it can arrive in one piece.
const SCRATCH: usize = 64 * 1024 + 2;
/// Buffers that a thread keeps for the next link.
const SPARE: usize = 8;
/// Larger ones, left by a burst, are given back to the system.
const MAX_SPARE: usize = 256 * 1024;

thread_local! {
    static SCRATCH_OF_THREAD: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with the thread's read buffer.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let lent = SCRATCH_OF_THREAD.take();
    let mut scratch = lent.unwrap_or_else(|| vec![0; SCRATCH].into_boxed_slice());
    let result = work(&mut scratch);
    SCRATCH_OF_THREAD.set(Some(scratch));
    result
}

/// An empty buffer, with room if the thread has one.
pub(crate) fn take() -> Vec<u8> {
    SPARES.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives a buffer back; leaves an empty one without room behind.
pub(crate) fn put(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if (1..=MAX_SPARE).contains(&buffer.capacity()) {
        buffer.clear();
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(buffer);
            }
        });
    }
}
