//! The process on Unix: what it may leak, how it goes to the background, signals, and what a
//! service manager is told.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ams_rpc::Listener;
use ams_rpc::places::Places;
use ams_rpc::unix::{FolderError, Handed};
use daemonize::{Daemonize, Outcome};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Ended, absolute};
use crate::home::{Home, HomeError};
use crate::passphrase::Passphrase;
use crate::scoped::{ScopedError, ScopedSocket};

/// What no file of ours gives to others.
const UMASK: u32 = 0o077;
/// The first descriptor that is neither stdin, stdout nor stderr.
const FIRST: RawFd = 3;

/// Keeps memory out of core files and other processes, files to their owner, and what whoever
/// started us had open from the programs that we start. First of all, so that nothing is made before.
pub fn protect_process() {
    close_fds::set_fds_cloexec_threadsafe(FIRST, &[]);
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    // Neither can fail in a way that could be mended; a sandbox may have set both already.
    let _ =
        rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// The socket that a service manager bound for us. Before anything else reads the environment: it
/// takes the variables away.
///
/// # Errors
/// When what was handed over is no such socket.
pub fn inherited_socket() -> io::Result<Option<Handed>> {
    let mut handed = listenfd::ListenFd::from_env();
    if handed.len() == 0 {
        return Ok(None);
    }
    Ok(handed.take_unix_listener(0)?.map(Handed::from))
}

/// Which side of the fork this is.
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
    report: Option<PipeWriter>,
    pid_file: Option<PathBuf>,
}

/// What the pipe carries when all is well; otherwise an exit code, a blank, and why.
const READY: &str = "ready\n";

/// Where the passphrase of a start comes from: where the user said.
#[must_use]
pub fn passphrase_file(given: Option<&Path>) -> Option<&Path> {
    given
}

/// Closes what whoever started us had open, but for the socket that was meant for us: a lock in
/// there would be held, and a pipe have no end, as long as the daemon runs. Nothing of ours may be
/// open yet.
fn close_inherited(socket: Option<&Handed>) {
    let socket = socket.map(AsRawFd::as_raw_fd);
    let inherited: Vec<RawFd> = close_fds::iter_open_fds(FIRST).collect();
    for number in inherited.into_iter().filter(|number| Some(*number) != socket) {
        // What the list itself was read with is closed already.
        let _ = nix::unistd::close(number);
    }
}

/// Looks whether the pid file can be had, while there is still somebody to be told. Whoever holds it
/// is, as a rule, the daemon that has the profile.
///
/// # Errors
/// [`HomeError`].
pub fn check_pid_file(file: Option<&Path>, places: &Places) -> Result<(), HomeError> {
    let Some(path) = file.map(absolute) else { return Ok(()) };
    let failed = |source| HomeError::Io { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => match Home::look(places.clone()) {
            Err(running @ HomeError::Running { .. }) => Err(running),
            _ => Err(failed(io::Error::other("another process holds it"))),
        },
        Err(error) => Err(failed(error.into())),
    }
}

/// Goes to the background, with the passphrase in memory. Nothing may be open, nor have started a
/// thread or a runtime yet.
///
/// # Errors
/// When the system refuses the pipe or the fork.
pub fn detach(
    pid_file: Option<&Path>,
    _passphrase: Option<&Passphrase>,
    socket: &Option<Handed>,
) -> io::Result<Detached> {
    close_inherited(socket.as_ref());
    let (reader, report) = io::pipe()?;
    let mut daemon = Daemonize::new().umask(UMASK).working_directory("/");
    let pid_file = pid_file.map(absolute);
    if let Some(path) = &pid_file {
        daemon = daemon.pid_file(path);
    }
    match daemon.execute() {
        Outcome::Parent(Err(error)) => Err(io::Error::other(error)),
        Outcome::Parent(Ok(_)) => {
            drop(report);
            Ok(Detached::Parent(outcome(reader)))
        }
        Outcome::Child(Ok(_)) => Ok(Detached::Child(Background { report: Some(report), pid_file })),
        Outcome::Child(Err(error)) => {
            let what = match &pid_file {
                Some(path) => format!("cannot go to the background ({}): {error}", path.display()),
                None => format!("cannot go to the background: {error}"),
            };
            // Whoever has the pid file locked keeps it.
            Background { report: Some(report), pid_file: None }.failed(1, &what);
            std::process::exit(1)
        }
    }
}

/// What the other side says, once it has said it or died.
fn outcome(mut reader: PipeReader) -> Result<(), Ended> {
    let mut said = String::new();
    let _ = reader.read_to_string(&mut said);
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
        self.say(&format!("{exit} {why}"));
    }

    fn say(&mut self, text: &str) {
        if let Some(mut report) = self.report.take() {
            // A parent that was killed does not want to know.
            let _ = report.write_all(text.as_bytes());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(path) = &self.pid_file {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Why there would be no sockets beside the daemon's own.
pub const NO_SHARING: &str = "sockets with a rule of their own are not served on this system";

/// Whether sockets can be given to others here.
pub const SHARES: bool = true;

/// Makes a socket beside the daemon's own, with the rights that its file is to have.
///
/// # Errors
/// [`ScopedError`].
pub fn bind_shared(socket: &ScopedSocket) -> Result<Listener, ScopedError> {
    let shown = || socket.path.display().to_string();
    check_shared_folder(socket.path.parent().unwrap_or(Path::new("/")))?;
    let group = match &socket.group {
        None => None,
        Some(name) => Some(
            group_id(name)
                .ok_or_else(|| ScopedError::NoGroup { group: name.clone(), path: shown() })?,
        ),
    };
    let listener = Listener::bind(&socket.path)?;
    share(&socket.path, socket.mode, group)
        .map_err(|source| ScopedError::Rights { path: shown(), source })?;
    Ok(listener)
}

/// Checks that a folder in which a socket is shared is ours or root's, and that nobody else can put
/// something in its place.
fn check_shared_folder(path: &Path) -> Result<(), FolderError> {
    let shown = || path.display().to_string();
    let found =
        std::fs::metadata(path).map_err(|source| FolderError::Io { path: shown(), source })?;
    let owner = found.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(FolderError::NotOurs { path: shown(), owner });
    }
    if found.mode() & 0o022 != 0 {
        return Err(FolderError::Loose { path: shown() });
    }
    Ok(())
}

/// The number of a group: as it is written, or as the system's file of groups has it.
fn group_id(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| group_in(&std::fs::read_to_string("/etc/group").ok()?, name))
}

/// `NAME:x:NUMBER:members`, a line each.
fn group_in(groups: &str, name: &str) -> Option<u32> {
    let mut lines = groups.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Gives a socket to a group, with these rights. It was its owner's alone until now.
fn share(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals that the daemon listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Within a runtime; from here on none of them ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Asked {
        // To stop comes first: it makes a re-read pointless.
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// Tells the service manager, where there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// The socket answers.
pub fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// The config is being read; [`tell_ready`] ends it.
pub fn tell_reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The daemon goes down.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// All is well; the service manager ends a daemon of whom it does not hear that in time.
pub fn tell_alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How long the service manager waits for [`tell_alive`]; `None`: it does not.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<(), Ended> {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        outcome(reader)
    }

    #[test]
    fn a_group_is_found_by_name_or_number() {
        let groups = "root:x:0:\nci:x:1042:alice,bob\nc:x:7:\n";
        assert_eq!(group_in(groups, "ci"), Some(1042));
        assert_eq!(group_in(groups, "c"), Some(7));
        assert_eq!(group_in(groups, "nobody"), None);
        assert_eq!(group_id("1042"), Some(1042));
        assert_eq!(group_id("root"), Some(0));
    }

    #[test]
    fn the_parent_hears_how_it_went() {
        assert_eq!(said(READY), Ok(()));
        let ended = Ended { exit: 2, why: "no space".to_owned() };
        assert_eq!(said("2 no space"), Err(ended));
        assert!(said("").is_err());
    }
}
