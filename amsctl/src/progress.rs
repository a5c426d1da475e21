//! A word on stderr about what takes more than a moment, so that nobody thinks it hangs.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::text;

/// What is done sooner is not worth a word.
const MOMENT: Duration = Duration::from_secs(1);

/// Something is being done, until this is dropped.
#[derive(Debug)]
pub struct Progress {
    // Taken by drop alone.
    ended: Option<Sender<()>>,
    saying: Option<JoinHandle<()>>,
}

/// What takes so long of a password.
pub const MAKING_KEYS: &str = "making keys from the password and asking the relay";

impl Progress {
    /// Says `what` is being done if it takes longer than a second: once, or on a terminal every
    /// second, in a line that goes when it is done.
    #[must_use]
    pub fn of(what: &'static str) -> Self {
        let (ended, end) = channel::<()>();
        let on_terminal = io::stderr().is_terminal();
        let saying = thread::spawn(move || {
            let mut seconds = 0_u64;
            while end.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                seconds = seconds.saturating_add(1);
                if on_terminal {
                    draw(&format!("\r\u{1b}[Kamsctl: {what} … {seconds} s"));
                } else if seconds == 1 {
                    text::note(&format!("amsctl: {what} …"));
                }
            }
            if on_terminal && seconds > 0 {
                draw("\r\u{1b}[K");
            }
        });
        Self { ended: Some(ended), saying: Some(saying) }
    }
}

/// Nobody can be told when that fails.
fn draw(what: &str) {
    let mut screen = io::stderr().lock();
    let _ = screen.write_all(what.as_bytes()).and_then(|()| screen.flush());
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.ended.take());
        if let Some(saying) = self.saying.take() {
            // It ends with its sender; what it said is on stderr then, before what follows.
            let _ = saying.join();
        }
    }
}
