//! A word on stderr about what takes more than a moment, so that nobody thinks it hangs.

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

impl Progress {
    /// Says `what` is being done if it takes longer than a second.
    #[must_use]
    pub fn of(what: &'static str) -> Self {
        let (ended, end) = channel::<()>();
        let saying = thread::spawn(move || {
            if end.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                text::note(&format!("amsctl: {what} …"));
            }
        });
        Self { ended: Some(ended), saying: Some(saying) }
    }
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
