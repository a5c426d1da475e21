//! How much memory a run takes, and whether it gives back what it took. Runs beside each other in one
//! process share its memory.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What a run may take at most: two relays, five daemons, and the disks of all of them.
const MOST: usize = 64 << 20;
/// What may stay behind when many runs are over, one after the other: the process's own, and no part of
/// each run.
const LEFT_BEHIND: usize = 4 << 20;
/// After so many runs the process has what it keeps.
const WARM: u64 = 20;

/// Looks at the memory between runs that follow each other.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    kept: Option<usize>,
}

impl Memory {
    /// What is wrong with it after `done` runs.
    pub(crate) fn look(&mut self, done: u64) -> Option<String> {
        let beside = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let most = MEMORY.max_allocated();
        if most > MOST.saturating_mul(beside) {
            return Some(format!("{most} bytes of memory were taken at once"));
        }
        if done < WARM {
            return None;
        }
        let now = MEMORY.allocated();
        let kept = *self.kept.get_or_insert(now);
        let more = now.saturating_sub(kept);
        (more > LEFT_BEHIND).then(|| format!("{more} bytes of memory were not given back"))
    }

    /// For somebody who watches.
    pub(crate) fn tell(&self) -> String {
        let (most, now) = (MEMORY.max_allocated() >> 10, MEMORY.allocated() >> 10);
        format!("{most} KiB of memory at most, {now} KiB now")
    }
}
