//! The process on Windows: how it goes to the background, and what ends it.
//!
//! There is no fork: a process in the background is a copy that was started without a console. It
//! tells how its start went on its stdout, and what opens the keys is told to it on its stdin.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ams_rpc::Listener;
use ams_rpc::places::Places;
use ams_rpc::platform::{Handed, keep_stdio};
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
    ctrl_logoff, ctrl_shutdown,
};

use crate::cli::{Ended, absolute};
use crate::home::HomeError;
use crate::passphrase::Passphrase;
use crate::scoped::{ScopedError, ScopedSocket};

/// Set for the copy in the background; what it says is whether a passphrase comes on its stdin.
const DETACHED: &str = "AMS_DETACHED";
const SEALED: &str = "sealed";
const OPEN: &str = "open";
/// A process without a console.
const DETACHED_PROCESS: u32 = 0x0000_0008;
/// A process that does not get the events of its parent's console.
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

/// Nothing has to be done: folders hand their rights down, and the system keeps others out of the
/// process.
pub fn protect_process() {}

/// No service manager hands a pipe over.
///
/// # Errors
/// None.
pub fn inherited_socket() -> io::Result<Option<Handed>> {
    Ok(None)
}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Detached {
    /// The one that the user started: what became of the other.
    Parent(Result<(), Ended>),
    /// The one that stays.
    Child(Background),
}

/// A daemon in the background that has not said yet whether it started. Its pid file goes with it.
#[derive(Debug)]
pub struct Background {
    is_awaited: bool,
    pid_file: Option<PathBuf>,
}

/// What is said when all is well; otherwise an exit code, a blank, and why.
const READY: &str = "ready\n";

/// Where the passphrase of a start comes from: where the user said, or from whom started us.
#[must_use]
pub fn passphrase_file(given: Option<&Path>) -> Option<&Path> {
    match env::var_os(DETACHED) {
        Some(told) if told == SEALED => Some(Path::new("-")),
        Some(_) => None,
        None => given,
    }
}

/// The pid file is written where the daemon starts, which says what is wrong with it.
///
/// # Errors
/// None here.
pub fn check_pid_file(_: Option<&Path>, _: &Places) -> Result<(), HomeError> {
    Ok(())
}

/// Goes to the background: starts a copy of this process there and waits for what it says; or, in the
/// copy, leaves the folder that it was started in.
///
/// # Errors
/// When the system refuses.
pub fn detach(
    pid_file: Option<&Path>,
    passphrase: Option<&Passphrase>,
    _socket: &Option<Handed>,
) -> io::Result<Detached> {
    if env::var_os(DETACHED).is_some() {
        return Ok(Detached::Child(stay(pid_file)));
    }
    keep_stdio();
    let mut copy = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(DETACHED, if passphrase.is_some() { SEALED } else { OPEN })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP)
        .spawn()?;
    if let (Some(mut stdin), Some(passphrase)) = (copy.stdin.take(), passphrase) {
        // One that ended already says so below.
        let _ = stdin.write_all(passphrase.as_str().as_bytes());
    }
    let said = copy.stdout.take().map(BufReader::new);
    Ok(Detached::Parent(said.map_or_else(|| outcome(io::empty()), outcome)))
}

/// The copy, in the background.
fn stay(pid_file: Option<&Path>) -> Background {
    let pid_file = pid_file.map(absolute);
    let written = pid_file
        .as_deref()
        .map(|path| (path, fs::write(path, format!("{}\n", std::process::id()))));
    if let Some((path, Err(error))) = written {
        let what = format!("cannot go to the background ({}): {error}", path.display());
        Background { is_awaited: true, pid_file: None }.failed(1, &what);
        std::process::exit(1);
    }
    // A folder that somebody works in cannot be removed.
    if let Some(root) = env::current_exe().ok().as_deref().and_then(|own| own.ancestors().last()) {
        let _ = env::set_current_dir(root);
    }
    Background { is_awaited: true, pid_file }
}

/// What the copy says, once it has said it or died.
fn outcome(mut from: impl BufRead) -> Result<(), Ended> {
    let mut said = String::new();
    let _ = from.read_line(&mut said);
    match said.as_str() {
        READY => Ok(()),
        "" => Err(Ended { exit: 1, why: String::new() }),
        told => {
            let (exit, why) = told.split_once(' ').unwrap_or(("", told));
            Err(Ended { exit: exit.parse().unwrap_or(1), why: why.trim_end().to_owned() })
        }
    }
}

impl Background {
    /// Lets the parent go.
    pub fn ready(&mut self) {
        self.say(READY);
    }

    /// Has the parent show why not.
    pub fn failed(mut self, exit: u8, why: &str) {
        self.say(&format!("{exit} {}\n", why.replace('\n', " ")));
    }

    fn say(&mut self, text: &str) {
        if std::mem::take(&mut self.is_awaited) {
            let mut out = io::stdout();
            // A parent that was killed does not want to know.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(path) = &self.pid_file {
            let _ = fs::remove_file(path);
        }
    }
}

/// Why there are no sockets beside the daemon's own.
pub const NO_SHARING: &str = "amsd serves no pipe beside its own on Windows";

/// Whether sockets can be given to others here.
pub const SHARES: bool = false;

/// Makes no socket: the rights of a pipe are not those of a file's mode and group.
///
/// # Errors
/// Always.
pub fn bind_shared(_socket: &ScopedSocket) -> Result<Listener, ScopedError> {
    Err(ScopedError::NotHere)
}

/// What the console asks for. Nothing asks to read the config again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Ctrl-C, Ctrl-Break, its window is closed, or the user or the system goes.
    Stop,
    /// Not here.
    Reload,
}

/// The events of a console that the daemon listens to.
#[derive(Debug)]
pub struct Signals {
    interrupt: CtrlC,
    stop: CtrlBreak,
    close: CtrlClose,
    logoff: CtrlLogoff,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Within a runtime; from here on none of them ends the process by itself, though after the last
    /// three the system does so a few seconds later.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            stop: ctrl_break()?,
            close: ctrl_close()?,
            logoff: ctrl_logoff()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Asked {
        // They all ask for the same.
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.stop.recv() => {}
            _ = self.close.recv() => {}
            _ = self.logoff.recv() => {}
            _ = self.shutdown.recv() => {}
        }
        Asked::Stop
    }
}

/// Nobody has to be told that the pipe answers.
pub fn tell_ready() {}

/// Nobody has to be told that the config is being read.
pub fn tell_reloading() {}

/// Nobody has to be told that the daemon goes down.
pub fn tell_stopping() {}

/// Nobody has to be told that all is well.
pub fn tell_alive() {}

/// No service manager waits for [`tell_alive`].
pub fn watchdog() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_hears_how_it_went() {
        assert_eq!(outcome(READY.as_bytes()), Ok(()));
        let ended = Ended { exit: 2, why: "no space".to_owned() };
        assert_eq!(outcome("2 no space\n".as_bytes()), Err(ended));
        assert!(outcome("".as_bytes()).is_err());
    }
}
