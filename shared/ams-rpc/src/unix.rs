//! The system side of the endpoint on Unix: binding, who is at the other end, whether it is still
//! there, and folders that are nobody else's.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::tokio::{Listener as LocalListener, Stream};
use interprocess::local_socket::traits::{Stream as _, StreamCommon};
use interprocess::local_socket::{self, GenericFilePath, ListenerOptions, ToFsName};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::geteuid;
use tokio::io::Interest;

use crate::client::Whose;

/// The longest path of a socket: `sun_path` without its final zero.
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Why a socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Longer than the system allows.
    #[error(
        "the socket path {path} has {length} bytes; the system allows {max}: \
         choose a shorter home folder (AMS_HOME or --home)",
        max = MAX_SOCKET_PATH
    )]
    PathTooLong {
        /// The path.
        path: String,
        /// Its length in bytes.
        length: usize,
    },
    /// Somebody answers there.
    #[error("something is serving {path} already")]
    AlreadyServed {
        /// The path.
        path: String,
    },
    /// The service manager holds it, for a daemon that it starts itself.
    #[error(
        "systemd holds the socket {path} and starts the daemon when somebody connects; \
         to start it now: systemctl{user} start amsd",
        user = if *system { "" } else { " --user" }
    )]
    HeldForUs {
        /// The path.
        path: String,
        /// By the system's manager, not the user's.
        system: bool,
    },
    /// There is something, and it is no socket.
    #[error("{path} is there and is not a socket; move it away")]
    NotASocket {
        /// The path.
        path: String,
    },
    /// The system says no.
    #[error("cannot make the socket {path}: {source}")]
    Io {
        /// The path.
        path: String,
        /// What it says.
        source: io::Error,
    },
}

/// Whether `path` is short enough for a socket.
///
/// # Errors
/// [`BindError::PathTooLong`].
pub fn check_socket_path(path: &Path) -> Result<(), BindError> {
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        return Err(BindError::PathTooLong { path: path.display().to_string(), length });
    }
    Ok(())
}

/// The file of a socket that we made: removed when we go, unless another one took its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |found: &fs::Metadata| found.dev() == self.device && found.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(|found| ours(&found)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket, mode 0600 before anybody can connect.
///
/// A socket that is there is probed first: one that answers is left alone, one that nobody serves
/// any more is replaced.
pub(crate) fn bind(path: &Path) -> Result<(LocalListener, SocketFile), BindError> {
    let shown = || path.display().to_string();
    let failed = |source| BindError::Io { path: shown(), source };
    check_socket_path(path)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: shown() });
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(served) => return Err(served_already(&served, shown())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let options = ListenerOptions::new()
        .name(path.to_fs_name::<GenericFilePath>().map_err(failed)?)
        // It would remove whatever is at the path when it is dropped, ours or not.
        .reclaim_name(false);
    // Elsewhere the folder alone keeps others out: the mode of a socket means nothing there.
    #[cfg(target_os = "linux")]
    let options = {
        use interprocess::os::unix::local_socket::ListenerOptionsExt;
        options.mode(0o600)
    };
    let listener = options.create_tokio().map_err(failed)?;
    let made = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), device: made.dev(), inode: made.ino() };
    Ok((listener, file))
}

/// Who serves a socket that answers: another daemon, or a service manager that waits for callers.
fn served_already(socket: &UnixStream, path: String) -> BindError {
    #[cfg(target_os = "linux")]
    if let Ok(peer) = rustix::net::sockopt::socket_peercred(socket)
        && let Ok(name) = fs::read_to_string(format!("/proc/{}/comm", peer.pid.as_raw_nonzero()))
        && name.trim_end() == "systemd"
    {
        return BindError::HeldForUs { path, system: peer.pid.is_init() };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
    BindError::AlreadyServed { path }
}

/// A socket that somebody else bound, to be taken over.
pub type Handed = OwnedFd;

/// Takes over a socket that was bound by somebody else, as systemd does.
pub(crate) fn adopt(socket: Handed) -> io::Result<LocalListener> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let listener = interprocess::os::unix::uds_local_socket::tokio::Listener::try_from(socket)?;
    Ok(LocalListener::UdSocket(listener))
}

/// Whether the peer of `stream` may use this program: the same user, or root where that is
/// allowed. The credentials are those that it had when it connected.
pub(crate) fn may_call(stream: &Stream, allow_root: bool) -> io::Result<bool> {
    let peer = stream.peer_creds()?.euid();
    Ok(peer == Some(geteuid().as_raw()) || (allow_root && peer == Some(0)))
}

/// The calling end of a connection.
#[derive(Debug)]
pub(crate) struct Calling(local_socket::Stream);

impl Calling {
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        local_socket::Stream::connect(path.to_fs_name::<GenericFilePath>()?).map(Self)
    }

    /// Whether the server at the other end is one that a client may talk to: the same user's, since
    /// a socket in a folder that somebody else prepared could be anybody's. Root may talk to
    /// everyone.
    pub(crate) fn may_be_called(&self, whose: Whose, path: &Path) -> io::Result<bool> {
        let own = geteuid();
        let server = self.0.peer_creds()?.euid();
        if own.is_root() || server == Some(own.as_raw()) {
            return Ok(true);
        }
        Ok(whose == Whose::Named && server == Some(fs::metadata(path)?.uid()))
    }

    /// How long to wait for something to read; `None`: without end.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_recv_timeout(timeout)
    }
}

impl Read for Calling {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Calling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether the other end has closed altogether, which is not the same as having nothing more to
/// say.
#[derive(Debug)]
pub(crate) struct Hangup(OwnedFd);

impl Hangup {
    pub(crate) fn of(stream: &Stream) -> io::Result<Self> {
        let Stream::UdSocket(stream) = stream;
        Ok(Self(stream.as_fd().try_clone_to_owned()?))
    }

    /// Asks the system.
    pub(crate) fn now(&self) -> bool {
        let mut asked = [PollFd::new(&self.0, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::HUP | PollFlags::ERR;
        rustix::event::poll(&mut asked, Some(&at_once)).is_ok()
            && asked.iter().any(|fd| fd.revents().intersects(gone))
    }

    /// Registers for being told.
    pub(crate) fn watch(&self) -> io::Result<HangupWatch> {
        let stream = UnixStream::from(self.0.try_clone()?);
        Ok(HangupWatch(tokio::net::UnixStream::from_std(stream)?))
    }

    /// Says that nothing more will be written.
    pub(crate) fn shut_writing(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }

    /// Ends both directions, whoever still holds the socket.
    pub(crate) fn shut(&self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

/// Resolves at a hang-up.
pub(crate) struct HangupWatch(tokio::net::UnixStream);

impl HangupWatch {
    pub(crate) async fn hung_up(&self) -> io::Result<()> {
        // A hang-up ends the writing side for good, the end of what the peer says does not.
        // Readiness is kept per registration, so clearing it here takes nothing from the writer.
        loop {
            let ready = self.0.ready(Interest::WRITABLE).await?;
            if ready.is_write_closed() {
                return Ok(());
            }
            let wait = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.0.try_io(Interest::WRITABLE, wait);
        }
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A symbolic link, which could lead anywhere.
    #[error("{path} is a symbolic link; name the folder itself")]
    Symlink {
        /// The path.
        path: String,
    },
    /// There is something, and it is no folder.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// The path.
        path: String,
    },
    /// Somebody else's.
    #[error("{path} belongs to user {owner}, not to you; choose another folder")]
    NotOurs {
        /// The path.
        path: String,
        /// Its owner's number.
        owner: u32,
    },
    /// Others may write into it.
    #[error("{path} can be written by others; run: chmod go-w '{path}'")]
    Loose {
        /// The path.
        path: String,
    },
    /// The system says no.
    #[error("cannot use the folder {path}: {source}; choose one that you may write to")]
    Io {
        /// The path.
        path: String,
        /// What it says.
        source: io::Error,
    },
}

/// Makes `path` and its parents, mode 0700, or checks that what is there is ours, no symbolic link
/// and not writable by others.
///
/// # Errors
/// Says what is wrong with the folder; changes nothing then.
pub fn private_dir(path: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { path: path.display().to_string(), source };
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        // Something else than a folder; the check below says what.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    check_private_dir(path)
}

/// Checks that a folder which exists is ours, no symbolic link and not writable by others.
///
/// # Errors
/// Says what is wrong with the folder.
pub fn check_private_dir(path: &Path) -> Result<(), FolderError> {
    let shown = || path.display().to_string();
    let found =
        fs::symlink_metadata(path).map_err(|source| FolderError::Io { path: shown(), source })?;
    if found.file_type().is_symlink() {
        return Err(FolderError::Symlink { path: shown() });
    }
    if !found.is_dir() {
        return Err(FolderError::NotAFolder { path: shown() });
    }
    if found.uid() != geteuid().as_raw() {
        return Err(FolderError::NotOurs { path: shown(), owner: found.uid() });
    }
    if found.mode() & 0o022 != 0 {
        return Err(FolderError::Loose { path: shown() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_folder_is_made_or_checked() {
        let base = tempfile::tempdir().unwrap();
        let made = base.path().join("a/b");
        private_dir(&made).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(base.path().join("a")).unwrap().mode() & 0o777, 0o700);
        private_dir(&made).unwrap();

        fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).unwrap();
        private_dir(&made).unwrap();
        fs::set_permissions(&made, fs::Permissions::from_mode(0o770)).unwrap();
        let error = private_dir(&made).unwrap_err();
        assert!(matches!(error, FolderError::Loose { .. }));
        assert!(error.to_string().contains("chmod go-w"));

        let link = base.path().join("link");
        std::os::unix::fs::symlink(base.path().join("a"), &link).unwrap();
        assert!(matches!(private_dir(&link), Err(FolderError::Symlink { .. })));
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(private_dir(&file), Err(FolderError::NotAFolder { .. })));
        let below = file.join("x");
        assert!(matches!(private_dir(&below), Err(FolderError::Io { .. })));
    }
}
