//! The system side of the endpoint on Windows: a pipe that only its user can open, who is at the
//! other end, whether it is still there, and folders that are nobody else's.
//!
//! The pipe's rights, and that it is the first of its name and takes nobody from other machines, are
//! set when it is made, and the system holds them. A client asks who serves the pipe before it says
//! anything, since whoever is first may take a name, and lets the server know who it is and nothing
//! more.

mod ffi;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fs;
use std::io::{self, Read, Write};
use std::os::windows::fs::MetadataExt;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use interprocess::local_socket::tokio::{Listener as LocalListener, Stream};
use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::windows::local_socket::ListenerOptionsExt;
use interprocess::os::windows::security_descriptor::SecurityDescriptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use widestring::U16CString;
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_REPARSE_POINT, SECURITY_IDENTIFICATION,
};

use crate::client::Whose;

/// The longest name of a pipe, all of it.
pub const MAX_SOCKET_PATH: usize = 256;
/// How names of pipes of this machine begin.
const PIPES: &str = r"\\.\pipe\";
/// The SID of the system itself.
const SYSTEM: &str = "S-1-5-18";
/// How long a client waits while the server makes the next end of its pipe, and between two tries.
const BUSY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(10));
/// How often it is looked whether the other end of a pipe is there: nobody tells.
const LOOK: Duration = Duration::from_millis(250);

/// Why a pipe cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Longer than the system allows.
    #[error(
        "the name of the pipe {path} has {length} characters; the system allows {max}",
        max = MAX_SOCKET_PATH
    )]
    PathTooLong {
        /// The name.
        path: String,
        /// Its length.
        length: usize,
    },
    /// It is no name of a pipe.
    #[error("{path} is no name of a pipe, like {}ams", PIPES)]
    NotAPipe {
        /// As it is written.
        path: String,
    },
    /// Somebody serves it.
    #[error("something is serving {path} already")]
    AlreadyServed {
        /// The name.
        path: String,
    },
    /// The system says no.
    #[error("cannot make the pipe {path}: {source}")]
    Io {
        /// The name.
        path: String,
        /// What it says.
        source: io::Error,
    },
}

/// Whether `path` can be the name of a pipe.
///
/// # Errors
/// [`BindError::PathTooLong`], [`BindError::NotAPipe`].
pub fn check_socket_path(path: &Path) -> Result<(), BindError> {
    let path = path.display().to_string();
    let length = path.encode_utf16().count();
    if length > MAX_SOCKET_PATH {
        return Err(BindError::PathTooLong { path, length });
    }
    match path.strip_prefix(PIPES) {
        Some(name) if !name.is_empty() => Ok(()),
        _ => Err(BindError::NotAPipe { path }),
    }
}

/// A pipe has no file that would have to be removed.
#[derive(Debug)]
pub(crate) struct SocketFile;

/// The rights of a pipe: nobody from other machines, its user, and the system; and no program of the
/// user's that is fenced in, as what a browser runs is (its integrity is below medium).
fn pipe_rights(sid: &str) -> String {
    format!("D:P(D;;GA;;;NU)(A;;GA;;;{sid})(A;;GA;;;SY)S:(ML;;NW;;;ME)")
}

/// Makes the pipe, the first of its name, with its rights before anybody can connect.
pub(crate) fn bind(path: &Path) -> Result<(LocalListener, SocketFile), BindError> {
    let shown = || path.display().to_string();
    let failed = |source| BindError::Io { path: shown(), source };
    check_socket_path(path)?;
    // The system refuses a second one; this says so in words.
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => return Err(BindError::AlreadyServed { path: shown() }),
    }
    let sid = own_sid().map_err(failed)?;
    let rights = U16CString::from_str(pipe_rights(sid)).map_err(io::Error::other);
    let rights = rights.and_then(|rights| SecurityDescriptor::deserialize(&rights));
    let listener = ListenerOptions::new()
        .name(path.to_fs_name::<GenericFilePath>().map_err(failed)?)
        .security_descriptor(rights.map_err(failed)?)
        .create_tokio();
    match listener {
        Ok(listener) => Ok((listener, SocketFile)),
        Err(error) if is(&error, ERROR_ACCESS_DENIED) || is(&error, ERROR_PIPE_BUSY) => {
            Err(BindError::AlreadyServed { path: shown() })
        }
        Err(error) => Err(failed(error)),
    }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// A pipe that somebody else made for us: there is no such thing here.
#[derive(Debug, Clone, Copy)]
pub enum Handed {}

/// Nobody hands a pipe over.
pub(crate) fn adopt(socket: Handed) -> io::Result<LocalListener> {
    match socket {}
}

/// The SID of the user that this program runs as.
///
/// # Errors
/// When the system does not say.
pub fn own_sid() -> io::Result<&'static str> {
    static OWN: OnceLock<String> = OnceLock::new();
    if let Some(sid) = OWN.get() {
        return Ok(sid);
    }
    let sid = sid_of(std::process::id())?;
    Ok(OWN.get_or_init(|| sid))
}

/// The SID of the user that a process runs as.
fn sid_of(pid: u32) -> io::Result<String> {
    written(&ffi::user_of(pid)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A SID as it is written, `S-1-5-…`.
fn written(sid: &[u8]) -> Option<String> {
    let (&[revision, count], rest) = sid.split_first_chunk()?;
    let (authority, rest) = rest.split_first_chunk::<6>()?;
    let authority = authority.iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
    let parts = rest.get(..usize::from(count).checked_mul(4)?)?;
    let mut written = format!("S-{revision}-{authority}");
    for part in parts.as_chunks().0 {
        written.push_str(&format!("-{}", u32::from_le_bytes(*part)));
    }
    Some(written)
}

/// Whether the peer of `stream` may use this program. The rights of the pipe have kept others out
/// already; where it can be seen whose process it is, that is looked at, too.
pub(crate) fn may_call(stream: &Stream, allow_root: bool) -> io::Result<bool> {
    let Some(pid) = stream.peer_creds()?.pid() else { return Ok(true) };
    // The process of somebody with more rights cannot be looked at.
    let Ok(peer) = sid_of(pid) else { return Ok(true) };
    Ok(peer == own_sid()? || (allow_root && peer == SYSTEM))
}

/// Whether the user `own` talks to a server of the user `server`.
fn may_serve(server: &str, own: &str, whose: Whose) -> bool {
    server == own || (whose == Whose::Named && server == SYSTEM)
}

/// The calling end of a connection. Reading from a pipe can only be given up after a time where it
/// goes on beside, so this has a small runtime.
#[derive(Debug)]
pub(crate) struct Calling {
    pipe: NamedPipeClient,
    timeout: Cell<Option<Duration>>,
    runtime: Own,
}

/// A runtime of our own, which may be dropped also where another one runs.
#[derive(Debug)]
struct Own(Option<Runtime>);

impl Own {
    fn new() -> io::Result<Self> {
        Ok(Self(Some(tokio::runtime::Builder::new_current_thread().enable_all().build()?)))
    }

    /// It is there until this is dropped.
    fn runtime(&self) -> io::Result<&Runtime> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Calling {
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        check_socket_path(path).map_err(|_| io::ErrorKind::InvalidInput)?;
        let runtime = Own::new()?;
        let within = runtime.runtime()?.enter();
        let mut options = ClientOptions::new();
        // Whoever serves it may know who we are, and may not act as us.
        options.security_qos_flags(SECURITY_IDENTIFICATION);
        let since = Instant::now();
        let pipe = loop {
            match options.open(path) {
                Err(error) if is(&error, ERROR_PIPE_BUSY) && since.elapsed() < BUSY.0 => {
                    thread::sleep(BUSY.1);
                }
                opened => break opened?,
            }
        };
        drop(within);
        Ok(Self { pipe, timeout: Cell::new(None), runtime })
    }

    /// Whether the server at the other end is one that a client may talk to: the same user's, or
    /// the system's own where its pipe was named. A name can be taken by anybody.
    pub(crate) fn may_be_called(&self, whose: Whose, _path: &Path) -> io::Result<bool> {
        // What cannot be looked at is somebody else's.
        let Ok(server) = sid_of(ffi::server_of(self.pipe.as_handle())?) else { return Ok(false) };
        Ok(may_serve(&server, own_sid()?, whose))
    }

    /// How long to wait for something to read; `None`: without end.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeout.set(timeout);
        Ok(())
    }
}

impl Read for Calling {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Self { pipe, timeout: patience, runtime } = self;
        runtime.runtime()?.block_on(async {
            match patience.get() {
                None => pipe.read(bytes).await,
                Some(patience) => timeout(patience, pipe.read(bytes)).await?,
            }
        })
    }
}

impl Write for Calling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { pipe, runtime, .. } = self;
        runtime.runtime()?.block_on(pipe.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the other end has closed. A pipe has no halves: who says nothing more is gone.
#[derive(Debug)]
pub(crate) struct Hangup(Mutex<Option<OwnedHandle>>);

impl Hangup {
    pub(crate) fn of(stream: &Stream) -> io::Result<Self> {
        let Stream::NamedPipe(pipe) = stream;
        Ok(Self(Mutex::new(Some(pipe.as_handle().try_clone_to_owned()?))))
    }

    /// Asks the system.
    pub(crate) fn now(&self) -> bool {
        let pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.as_ref().is_none_or(is_gone)
    }

    /// Registers for being told.
    pub(crate) fn watch(&self) -> io::Result<HangupWatch> {
        let pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.as_ref().map(OwnedHandle::try_clone).transpose().map(HangupWatch)
    }

    /// A pipe's writing end cannot be closed by itself.
    pub(crate) fn shut_writing(&self) {}

    /// Lets go of the pipe, whoever still holds this.
    pub(crate) fn shut(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What was written and not read yet has to be read first.
fn is_gone(pipe: &OwnedHandle) -> bool {
    ffi::peek(pipe.as_handle()).is_err()
}

/// Resolves at a hang-up.
pub(crate) struct HangupWatch(Option<OwnedHandle>);

impl HangupWatch {
    pub(crate) async fn hung_up(&self) -> io::Result<()> {
        while self.0.as_ref().is_some_and(|pipe| !is_gone(pipe)) {
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Waits until the process has ended, for so long at most. A process that cannot be watched is not
/// waited for.
pub fn wait_for_exit(pid: u32, patience: Duration) {
    let _ = ffi::wait(pid, patience);
}

/// Keeps our stdin, stdout and stderr from programs that are started from here on, but for those
/// that are given to them: somebody may wait until the last who has them is gone.
pub fn keep_stdio() {
    // What is not there need not be kept.
    let _ = ffi::keep(io::stdin().as_handle());
    let _ = ffi::keep(io::stdout().as_handle());
    let _ = ffi::keep(io::stderr().as_handle());
}

/// Bytes that are free for us where `path` is.
pub(crate) fn free(path: &Path) -> io::Result<u64> {
    ffi::free(path)
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A link of any kind, which could lead anywhere.
    #[error("{path} is a link; name the folder itself")]
    Symlink {
        /// The path.
        path: String,
    },
    /// Something else than a folder.
    #[error("{path} is not a folder; move it away or choose another one")]
    NotAFolder {
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

/// The rights of a folder that we make, and of all that will lie in it: its user's, and the
/// system's.
fn folder_rights(sid: &str) -> String {
    format!("D:P(A;OICI;FA;;;{sid})(A;OICI;FA;;;SY)")
}

/// Makes `path` and its parents, with rights for their user alone, or checks that what is there is
/// a folder and no link. The rights of one that is there are left as they are.
///
/// # Errors
/// Says what is wrong with the folder; changes nothing then.
pub fn private_dir(path: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { path: path.display().to_string(), source };
    let rights = folder_rights(own_sid().map_err(failed)?);
    let missing = path.ancestors().take_while(|at| !at.as_os_str().is_empty() && !at.exists());
    let missing: Vec<&Path> = missing.collect();
    for folder in missing.into_iter().rev() {
        match ffi::make_folder(folder, &rights) {
            // Somebody was faster, or it is a link that leads nowhere; the check below says.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
    }
    check_private_dir(path)
}

/// Checks that there is a folder, and no link.
///
/// # Errors
/// Says what is wrong with the folder.
pub fn check_private_dir(path: &Path) -> Result<(), FolderError> {
    let shown = || path.display().to_string();
    let found =
        fs::symlink_metadata(path).map_err(|source| FolderError::Io { path: shown(), source })?;
    if is_link(&found) {
        return Err(FolderError::Symlink { path: shown() });
    }
    if !found.is_dir() {
        return Err(FolderError::NotAFolder { path: shown() });
    }
    Ok(())
}

/// Whether it leads elsewhere: a symbolic link, a junction, or what else has the system do so.
#[must_use]
pub fn is_link(found: &fs::Metadata) -> bool {
    found.file_type().is_symlink() || found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0
}
