//! Servers as processes of their own, ended by their own number, and what they use.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// How long a process may take to say that it is ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// Length of the tick in which Linux tells processor time: `USER_HZ` is 100 everywhere.
const TICK: Duration = Duration::from_millis(10);

/// A server that runs. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: Pid,
    line: String,
}

impl Server {
    /// Starts `command`, with its log in `folder`; returns when it has written a line.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Result<Self> {
        let mut server = Self::start_silent(&mut command, folder)?;
        let stdout = server.child.stdout.take().context("stdout is not piped")?;
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut server.line)?;
        server.line.truncate(server.line.trim_end().len());
        if server.line.is_empty() {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            bail!("{} did not start:\n{log}", command.get_program().display());
        }
        Ok(server)
    }

    /// As [`Server::start`], without waiting for anything.
    pub(crate) fn start_silent(command: &mut Command, folder: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let program = command.get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("pid")?;
        Ok(Self { child, pid, line: String::new() })
    }

    /// The line that it wrote.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Processor time that it used so far, all threads, in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field, the program's name, may contain anything.
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u32>);
        let ticks = ticks.sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }

    /// Resident memory, KiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// Asks it to stop, and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(self.pid, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                bail!("process {} did not stop", self.child.id());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("   {error:#}");
        }
    }
}

/// One of the three programs, beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is missing: `cargo build --release --workspace` makes it",
        path.display()
    );
    Ok(path)
}

/// A program with nothing of this shell's profile.
pub(crate) fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    for variable in
        ["AMS_HOME", "AMS_RELAY_DATA", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET", "LISTEN_FDS", "RUST_LOG"]
    {
        command.env_remove(variable);
    }
    command
}

/// Ten thousand links need as many open files, here and in the servers, which inherit the limit.
pub(crate) fn raise_open_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(())
}
