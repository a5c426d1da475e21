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

/// Stdout, as far as it matters to whom what was written goes.
pub(crate) mod stdout {
    use std::io::{self, IsTerminal};
    use std::thread;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{FileType, fstat};
    use rustix::io::ioctl_fionread;
    use rustix::termios::tcgetwinsize;

    /// How often a reader gets the processor before it is waited for.
    const YIELDS: u32 = 50;
    /// The first and the longest pause between two looks, nanoseconds.
    const PAUSE: (i64, i64) = (50_000, 20_000_000);

    /// How many columns its terminal has; `None` where it is none, or one that does not say.
    pub(crate) fn columns() -> Option<usize> {
        let out = io::stdout();
        if !out.is_terminal() {
            return None;
        }
        tcgetwinsize(out).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    fn kind() -> Option<FileType> {
        fstat(io::stdout()).ok().map(|found| FileType::from_raw_mode(found.st_mode))
    }

    pub(crate) fn is_pipe() -> bool {
        kind() == Some(FileType::Fifo)
    }

    /// Returns when whoever reads the pipe has taken all that was written. What else stdout may be
    /// has taken it already.
    ///
    /// # Errors
    /// `BrokenPipe` when nobody reads any more.
    pub(crate) fn wait_until_taken() -> io::Result<()> {
        let is_pipe = match kind() {
            Some(FileType::Fifo) => true,
            Some(FileType::Socket) => false,
            _ => return Ok(()),
        };
        let out = io::stdout();
        let mut pause = PAUSE.0;
        for look in 0_u32.. {
            if is_pipe && ioctl_fionread(&out)? == 0 {
                return Ok(());
            }
            let nanoseconds = match look {
                _ if !is_pipe => 0,
                0..=YIELDS => {
                    thread::yield_now();
                    0
                }
                _ => {
                    pause = pause.saturating_mul(2).min(PAUSE.1);
                    pause
                }
            };
            let wait = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
            // The end of the reader is told whatever is asked for.
            let mut end = [PollFd::new(&out, PollFlags::empty())];
            match poll(&mut end, Some(&wait)) {
                Ok(0) if !is_pipe => return Ok(()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                // It may have taken everything before it ended.
                Ok(_) if is_pipe && ioctl_fionread(&out)? == 0 => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

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
