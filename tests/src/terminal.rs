//! A terminal with a program in it, as a user sees it: keys go in, and what is drawn comes out.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::PATIENCE;

/// A terminal of 24 lines, and the program in it.
#[derive(Debug)]
pub struct Terminal {
    keys: File,
    drawn: Receiver<Vec<u8>>,
    /// All of it that was not waited for yet.
    seen: String,
    child: Child,
}

impl Terminal {
    /// The program is the terminal's own, as one that a shell has started: what asks for a password
    /// asks there.
    #[must_use]
    pub fn running(program: &Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let path = OsStr::from_bytes(name.as_bytes());
        let open = || OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut run = Command::new("setsid");
        run.arg("--ctty").arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => run.env(name, value),
                None => run.env_remove(name),
            };
        }
        run.env("TERM", "xterm");
        run.stdin(open()).stdout(open()).stderr(open());
        let child = run.spawn().unwrap();
        // The ends that the program has must not stay open here.
        drop(run);
        let ours = File::from(ours);
        let (keys, mut screen) = (ours.try_clone().unwrap(), ours);
        let (sender, drawn) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Linux tells the end of a terminal as an error.
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys, drawn, seen: String::new(), child }
    }

    /// Presses keys.
    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is drawn, after everything that was waited for before; what was drawn up to
    /// there.
    #[track_caller]
    pub fn shows(&mut self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(what) {
                let rest = self.seen.split_off(at + what.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.drawn.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {what:?} in {:?}", self.seen),
            }
        }
    }

    /// Waits until keys are not drawn, as a person does before a secret: the prompt is there a moment
    /// earlier. The system tells nobody, so it is asked.
    #[track_caller]
    pub fn hides_what_is_typed(&self) {
        let end = Instant::now() + PATIENCE;
        while tcgetattr(&self.keys).unwrap().local_modes.contains(LocalModes::ECHO) {
            assert!(Instant::now() < end, "what is typed is shown: {:?}", self.seen);
            thread::yield_now();
        }
    }

    /// Waits for the end of the program, and of all that has its terminal open: its exit code, and
    /// what was drawn last.
    #[track_caller]
    pub fn ends(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        loop {
            match self.drawn.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => return (code, self.seen),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("its terminal is held open: {:?}", self.seen)
                }
            }
        }
    }
}
