//! A relay or daemon as a process: started, killed, started again.
//!
//! Ready is what it tells the service manager, so nothing is polled. Where a test fails, the log of
//! each of its processes is copied into the folder that `AMS_KEEP_LOGS` names.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::PATIENCE;
use crate::programs::program;

/// A program with its arguments, which runs or does not. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    // Set once.
    program: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Its log, and the socket on which it says that it is ready.
    log: PathBuf,
    notify: UnixDatagram,
    notify_at: PathBuf,
    child: Option<Child>,
    said: Option<String>,
}

impl Process {
    /// Not started yet; `folder` is for its log and must be its own.
    #[must_use]
    pub fn new(program: &'static str, arguments: &[&str], folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let notify_at = folder.join("notify");
        let notify = UnixDatagram::bind(&notify_at).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            log: folder.join("log"),
            notify,
            notify_at,
            child: None,
            said: None,
        }
    }

    /// Starts it, and returns when it is ready, with the time that took.
    pub fn start(&mut self) -> Duration {
        assert!(self.child.is_none(), "{} runs already", self.program);
        let began = Instant::now();
        // What an earlier process said is not this one's.
        self.notify.set_nonblocking(true).unwrap();
        while self.notify.recv(&mut [0; 512]).is_ok() {}
        self.notify.set_nonblocking(false).unwrap();
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = command(self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("NOTIFY_SOCKET", &self.notify_at)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let child = self.child.insert(child);
        let mut bytes = [0; 512];
        loop {
            match hear(&self.notify, &mut bytes) {
                Ok(got) if bytes[..got].starts_with(b"READY=1") => break,
                Ok(_) => {}
                Err(error) => {
                    let log = fs::read_to_string(&self.log).unwrap_or_default();
                    panic!("{} is not ready: {error}\n{log}", self.program);
                }
            }
        }
        let took = began.elapsed();
        // Read only where something is said: a daemon says nothing.
        if self.program == "ams-relay" {
            let mut line = String::new();
            let mut said = BufReader::new(child.stdout.take().unwrap());
            said.read_line(&mut line).unwrap();
            self.said = Some(line.trim_end().to_owned());
        }
        took
    }

    /// It has this variable from the next start on.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The first line on its stdout: a relay's address.
    #[must_use]
    pub fn said(&self) -> &str {
        self.said.as_deref().unwrap()
    }

    /// SIGHUP: returns when it has read its config again.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
        let mut bytes = [0; 512];
        loop {
            let got = hear(&self.notify, &mut bytes).unwrap();
            if bytes[..got].starts_with(b"READY=1") {
                return;
            }
        }
    }

    /// SIGSTOP: it is there, and answers nobody when this returns.
    pub fn pauses(&self) {
        self.signal(Signal::STOP);
        waitpid(Some(self.number()), WaitOptions::UNTRACED).unwrap();
    }

    /// SIGCONT: it goes on where it was.
    pub fn goes_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.number(), signal).unwrap();
    }

    fn number(&self) -> Pid {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).unwrap()
    }

    /// SIGKILL: it gets no chance to do anything more.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "{} had ended by itself: {ended}", self.program);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The log goes away with the test's folder.
        let keep = env::var_os("AMS_KEEP_LOGS").map(PathBuf::from);
        if let (true, Some(keep)) = (thread::panicking(), keep) {
            let beside = self.log.parent().and_then(Path::file_name).unwrap_or_default();
            let name = format!("{}-{}.log", std::process::id(), beside.to_string_lossy());
            let _ = fs::copy(&self.log, keep.join(name));
        }
    }
}

/// The next thing that is said. A signal, such as that a child of this process has ended, is none: a wait with
/// an end is interrupted by it whatever its handler wants (signal(7)).
fn hear(notify: &UnixDatagram, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match notify.recv(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            heard => return heard,
        }
    }
}

/// A program with nothing of this machine's environment that it looks at.
#[must_use]
pub fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    for variable in [
        "AMS_HOME",
        "AMS_RELAY_DATA",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "WATCHDOG_USEC",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Arguments and environment of a process, as far as the system shows them to us.
#[must_use]
pub fn shown_by_the_system(pid: u32) -> Vec<(&'static str, Vec<u8>)> {
    let read = |file: &'static str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
        Some((file, bytes))
    };
    ["cmdline", "environ"].into_iter().filter_map(read).collect()
}

/// A file of this name that holds a text, for the programs' eyes.
pub fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.join(name);
    let mut options = File::options();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    path
}
