//! What is particular to Unix.

use std::time::Duration;

/// Waits until the process has ended, for so long at most. A process that cannot be watched is not
/// waited for.
#[cfg(target_os = "linux")]
pub(crate) fn wait_for_exit(pid: u32, patience: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let Ok(patience) = Timespec::try_from(patience) else { return };
    let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
}

/// Elsewhere the closed connection has to do.
#[cfg(not(target_os = "linux"))]
pub(crate) fn wait_for_exit(_pid: u32, _patience: Duration) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_is_noticed_before_anybody_asks_how() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let before = std::time::Instant::now();
        wait_for_exit(child.id(), Duration::from_secs(60));
        assert!(before.elapsed() < Duration::from_secs(60));
        child.wait().unwrap();
        wait_for_exit(child.id(), Duration::from_secs(60));
    }
}
