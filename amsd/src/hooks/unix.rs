//! One run of a hook's program on Unix: no shell, little of our environment, a process group of its
//! own, an end.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::{Programs, Ran, Run, Running};

/// Bytes of a program's output that are kept. It may write more, for nobody.
const MAX_OUTPUT: usize = 64 * 1024;
/// Characters of its last line that a reason quotes.
const MAX_QUOTE: usize = 200;
/// Links on the way to a program, as the system has it.
const MAX_LINKS: usize = 40;
/// How long output is waited for that somebody outside of its group still holds open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// The largest file that it may write, and the most memory that it may address.
#[cfg(target_os = "linux")]
const LIMITS: [(rustix::process::Resource, u64); 2] =
    [(rustix::process::Resource::Fsize, 1 << 30), (rustix::process::Resource::As, 4 << 30)];

/// Why a file is not run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there, or the system does not let us look.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file, or a folder above it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder, or something stranger.
    #[error("{} is not a program", .0.display())]
    NotAProgram(PathBuf),
    /// Its mode says that nobody runs it.
    #[error("{path} is not executable; run: chmod u+x '{path}'", path = .0.display())]
    NotExecutable(PathBuf),
    /// Somebody else could change it.
    #[error("{} belongs to user {owner}, and neither to you nor to root", path.display())]
    NotOurs {
        /// The file, or a folder above it.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// Others could change it.
    #[error("{path} can be written by others; run: chmod go-w '{path}'", path = .0.display())]
    Loose(PathBuf),
}

/// Checks that nobody but us and root can change what is run under this path: the file that is
/// opened, every link on the way to it, and every folder that one of them lies in.
///
/// # Errors
/// [`ProgramError`].
pub fn check_program(path: &Path) -> Result<(), ProgramError> {
    let failed = |source| ProgramError::Io { path: path.to_owned(), source };
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(nonblock).open(path);
    let found = match opened {
        Ok(file) => file.metadata(),
        // A program that may be run and not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::metadata(path),
        Err(error) => Err(error),
    };
    let found = found.map_err(failed)?;
    if !found.is_file() {
        return Err(ProgramError::NotAProgram(path.to_owned()));
    }
    safe(path, &found)?;
    if found.mode() & 0o111 == 0 {
        return Err(ProgramError::NotExecutable(path.to_owned()));
    }
    check_way(path)
}

/// Goes the way to a file as the system does, link by link.
fn check_way(path: &Path) -> Result<(), ProgramError> {
    let failed = |at: &Path, source| ProgramError::Io { path: at.to_owned(), source };
    let mut at = PathBuf::from("/");
    let mut ahead: Vec<OsString> = names(path).collect();
    let mut links = 0_usize;
    while let Some(name) = ahead.pop() {
        if name == "/" {
            at = PathBuf::from("/");
            continue;
        }
        let found = fs::metadata(&at).map_err(|source| failed(&at, source))?;
        safe(&at, &found)?;
        if name == ".." {
            // No link leads here any more, so this is where it is.
            at.pop();
            continue;
        }
        at.push(name);
        let found = fs::symlink_metadata(&at).map_err(|source| failed(&at, source))?;
        if found.is_symlink() {
            links = links.saturating_add(1);
            if links > MAX_LINKS {
                return Err(failed(path, io::Error::from_raw_os_error(Errno::LOOP.raw_os_error())));
            }
            ours(&at, &found)?;
            let target = fs::read_link(&at).map_err(|source| failed(&at, source))?;
            at.pop();
            ahead.extend(names(&target));
        }
    }
    Ok(())
}

/// The names in a path, the last one first.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components()
        .rev()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_owned())
}

fn ours(path: &Path, found: &fs::Metadata) -> Result<(), ProgramError> {
    let owner = found.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(ProgramError::NotOurs { path: path.to_owned(), owner });
    }
    Ok(())
}

fn safe(path: &Path, found: &fs::Metadata) -> Result<(), ProgramError> {
    ours(path, found)?;
    // In a folder like /tmp everybody may write, and nobody may replace what is another's.
    let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    if found.mode() & 0o022 != 0 && !sticky {
        return Err(ProgramError::Loose(path.to_owned()));
    }
    Ok(())
}

/// The system's own programs.
#[derive(Debug, Clone)]
pub struct System {
    /// The folder that they are run in, which is made where it is not there.
    pub folder: PathBuf,
}

impl Programs for System {
    fn run(&self, run: Run) -> Running {
        let folder = self.folder.clone();
        Box::pin(async move {
            let mut output = Vec::new();
            let outcome = match execute(&folder, &run, &mut output).await {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(format!("ended with {status}{}", quoted(&output))),
                Err(why) => Err(why),
            };
            Ran { outcome, output }
        })
    }
}

async fn execute(folder: &Path, run: &Run, output: &mut Vec<u8>) -> Result<ExitStatus, String> {
    let hook = &run.hook;
    check_program(&hook.program).map_err(|error| error.to_string())?;
    let failed = |error: io::Error| format!("cannot be run: {error}");
    let (mut child, mut reader) = spawn(folder, run).map_err(failed)?;
    let group = Group::of(&child);
    let stdin = child.stdin.take();
    let ended = timeout(hook.timeout, async {
        let fed = feed(stdin, run.input.as_bytes());
        tokio::pin!(fed);
        let (mut hungry, mut talks) = (true, true);
        loop {
            // Its end comes first; what it wrote until then is read below.
            tokio::select! {
                biased;
                status = child.wait() => return status,
                () = &mut fed, if hungry => hungry = false,
                more = read(&mut reader, output), if talks => talks = more,
            }
        }
    });
    let ended = ended.await;
    // Whatever it left behind in its group goes with it.
    group.end();
    let status = match ended {
        Ok(status) => status.map_err(|error| format!("was lost: {error}")),
        Err(_) => {
            let _ = child.wait().await;
            Err(format!("took longer than {} and was ended", ams_rpc::types::Period(hook.timeout)))
        }
    };
    let _ = timeout(LAST_OUTPUT, async { while read(&mut reader, output).await {} }).await;
    status
}

fn spawn(folder: &Path, run: &Run) -> io::Result<(Child, Receiver)> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&run.hook.program);
    command.args(&run.hook.args).current_dir(folder).env_clear();
    let usual = ["PATH", "HOME", "LANG"];
    for name in usual.into_iter().chain(run.hook.pass_env.iter().map(String::as_str)) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("AMS_EVENT", run.event.as_str());
    if let Some(id) = run.id {
        command.env("AMS_MESSAGE_ID", ams_rpc::types::MessageId(id.0).to_string());
    }
    command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
    let child = command.process_group(0).kill_on_drop(true).spawn()?;
    limit(&child);
    Ok((child, Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// A program that runs wild fills neither the disk nor the memory. The others that it starts take
/// the limits over.
#[cfg(target_os = "linux")]
fn limit(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    for (resource, most) in LIMITS {
        let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        // It may have ended already; and where a lower limit is set, that one holds.
        let _ = rustix::process::prlimit(pid, resource, limit);
    }
}

#[cfg(not(target_os = "linux"))]
fn limit(_: &Child) {}

async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        // It may not care for its input.
        let _ = stdin.write_all(input).await;
    }
}

/// Reads some of its output; `false`: there is no more.
async fn read(reader: &mut Receiver, output: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 4096];
    let Ok(read @ 1..) = reader.read(&mut bytes).await else { return false };
    let room = MAX_OUTPUT.saturating_sub(output.len());
    output.extend(bytes.iter().take(read.min(room)));
    true
}

/// `: LAST LINE` of what it wrote, where there is one.
fn quoted(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map_or_else(String::new, |line| {
        let line: String = line.chars().take(MAX_QUOTE).collect();
        format!(": {line}")
    })
}

/// A program and all that it started, as long as they stay in its process group. Dropping it ends
/// them.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw))
    }

    /// Ends them. The number of a group is not given to anybody else as long as one is left in it.
    fn end(mut self) {
        self.kill();
        self.0 = None;
    }

    fn kill(&self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder(path: &Path, mode: u32) -> PathBuf {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_owned()
    }

    /// Whoever can change a link on the way says what is run.
    #[test]
    fn every_link_on_the_way_is_looked_at() {
        let home = tempfile::tempdir().unwrap();
        let own = folder(&home.path().join("own"), 0o755);
        let loose = folder(&home.path().join("loose"), 0o777);
        let link = |target: &Path, at: PathBuf| {
            symlink(target, &at).unwrap();
            at
        };
        let direct = link(Path::new("/bin/cat"), own.join("cat"));
        check_program(&direct).unwrap();
        let by = |result| match result {
            Err(ProgramError::Loose(path)) => path,
            other => panic!("{other:?}"),
        };
        // A link in the middle; and a folder that is one, by a way that goes up again.
        let inner = link(Path::new("/bin/cat"), loose.join("b"));
        let loose = loose.canonicalize().unwrap();
        assert_eq!(by(check_program(&link(&inner, own.join("a")))), loose);
        link(Path::new("/bin"), loose.join("bin"));
        link(Path::new("../loose/bin"), own.join("bin"));
        assert_eq!(by(check_program(&own.join("bin/cat"))), loose);
        assert_eq!(by(check_program(&own.join("../loose/../own/cat"))), loose);
        // In the same folder, and round and round.
        check_program(&link(Path::new("./cat"), own.join("again"))).unwrap();
        link(Path::new("round"), own.join("round"));
        assert!(matches!(check_program(&own.join("round")), Err(ProgramError::Io { .. })));
        assert!(matches!(check_way(&own.join("round")), Err(ProgramError::Io { .. })));
    }
}
