//! Commands as a user types them, and what comes of them.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use ams_rpc::client::Client;
use ams_rpc::methods::contact;
use ams_rpc::types::{ContactParams, ContactState, NoParams};

use crate::connection;
use crate::process::{Process, command, file};
use crate::terminal::Terminal;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What was typed, for messages.
    pub typed: String,
    /// Its exit code.
    pub exit: i32,
    /// What it wrote.
    pub out: String,
    /// What it complained.
    pub err: String,
}

impl Ran {
    fn new(typed: String, output: Output) -> Self {
        let exit = output.status.code().unwrap_or_else(|| panic!("{typed}: {}", output.status));
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        Self { typed, exit, out, err }
    }

    /// It exited so.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, code, "{}\n{}{}", self.typed, self.out, self.err);
        self
    }

    /// It exited 0; what it wrote, without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        let done = self.exits(0);
        done.out.trim_end_matches('\n').to_owned()
    }

    /// It complained of this, and wrote nothing.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.err.contains(part), "{}: no `{part}` in\n{}", self.typed, self.err);
        assert_eq!(self.out, "", "{}", self.typed);
        self
    }
}

/// A user with a home folder.
#[derive(Debug, Clone)]
pub struct User {
    home: PathBuf,
}

impl User {
    /// A user whose profile lies in a folder, which need not be there.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    /// The profile's folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Types `amsctl …`.
    #[must_use]
    pub fn amsctl(&self, arguments: &[&str]) -> Ran {
        self.amsctl_with(arguments, "")
    }

    /// Types `… | amsctl …`.
    #[must_use]
    pub fn amsctl_with(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ran {
        let home = self.home.to_str().unwrap();
        run("amsctl", &[&["--home", home], arguments].concat(), stdin.as_ref())
    }

    /// Types `amsd …`.
    #[must_use]
    pub fn amsd(&self, arguments: &[&str]) -> Ran {
        let home = self.home.to_str().unwrap();
        run("amsd", &[&["--home", home], arguments].concat(), b"")
    }

    /// Types `amsctl …` on a terminal, and stays there.
    #[must_use]
    pub fn on_terminal(&self, arguments: &[&str]) -> Terminal {
        self.runs_on_terminal("amsctl", arguments)
    }

    /// As [`User::on_terminal`], with another program.
    #[must_use]
    pub fn runs_on_terminal(&self, program: &'static str, arguments: &[&str]) -> Terminal {
        let mut run = command(program);
        run.arg("--home").arg(&self.home).args(arguments);
        Terminal::running(&run)
    }

    /// Joins by an invite, with the password from a file as `--password-file`.
    #[must_use]
    pub fn joins(&self, invite: &str) -> Ran {
        self.amsctl_with(
            &["relay", "join", invite, "--as", "home", "--password-file", "-"],
            format!("{PASSWORD}\n"),
        )
    }
}

impl User {
    /// Types `amsd --daemon`; the daemon is stopped when what this gives is dropped.
    #[must_use]
    pub fn goes_to_the_background(&self) -> Background {
        let started = self.amsd(&["--daemon"]).exits(0);
        assert_eq!((started.out.as_str(), started.err.as_str()), ("", ""));
        self.in_the_background()
    }

    /// The daemon that a command starts; it is stopped when what this gives is dropped.
    #[must_use]
    pub fn in_the_background(&self) -> Background {
        Background { user: self.clone() }
    }

    /// Starts the daemon in the foreground, as a service manager does.
    #[must_use]
    pub fn starts_daemon(&self) -> Process {
        self.starts_daemon_with(&[])
    }

    /// As [`User::starts_daemon`], with more arguments.
    #[must_use]
    pub fn starts_daemon_with(&self, arguments: &[&str]) -> Process {
        let mut daemon = self.daemon(arguments);
        daemon.start();
        daemon
    }

    /// The daemon, which does not run yet.
    #[must_use]
    pub fn daemon(&self, arguments: &[&str]) -> Process {
        let home = self.home.to_str().unwrap();
        let beside = self.home.with_extension("process");
        Process::new("amsd", &[&["--home", home], arguments].concat(), &beside)
    }

    /// Waits for something that the daemon tells of.
    pub fn until<T>(&self, what: &str, look: impl FnMut(&mut Client) -> Option<T>) -> T {
        connection::until(&self.home.join("amsd.sock"), what, look)
    }

    /// Waits for a request and accepts it.
    pub fn accepts(&self, name: &str) {
        self.until("a request", |client| {
            let requests = client.call::<contact::Requests>(&NoParams {}).unwrap();
            requests.incoming.into_iter().find(|request| request.name == name)
        });
        self.amsctl(&["contact", "accept", name]).exits(0);
    }

    /// Waits until a contact can be written to.
    pub fn can_write_to(&self, name: &str) {
        self.until("an active contact", |client| {
            let params = ContactParams { name: name.to_owned() };
            let shown = client.call::<contact::Show>(&params).ok()?;
            (shown.state == ContactState::Active).then_some(())
        });
    }

    /// Both become contacts of each other.
    pub fn meets(&self, own: &str, other: &Self, name: &str) {
        self.amsctl(&["contact", "add", &format!("{name}@home")]).exits(0);
        other.accepts(own);
        self.can_write_to(name);
        other.can_write_to(own);
    }
}

/// A daemon that nobody's process is the parent of. A test that fails leaves it running, but for
/// this.
#[derive(Debug)]
pub struct Background {
    user: User,
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.user.amsctl(&["stop"]);
    }
}

/// A port that is free now and that the system gives to nobody by itself, so that a server that is
/// away for a moment finds it free again. No other test that runs now is given it.
#[must_use]
pub fn quiet_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Tests are threads of one process or processes of neighbouring numbers.
    let first = std::process::id().wrapping_mul(8);
    loop {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + next % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs a program to its end.
#[must_use]
pub fn run(program: &'static str, arguments: &[&str], stdin: &[u8]) -> Ran {
    let mut child = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let typed = format!("{program} {}", arguments.join(" "));
    let output = thread::scope(|scope| {
        // It may end without reading it all.
        scope.spawn(move || {
            let _ = input.write_all(stdin);
        });
        child.wait_with_output().unwrap()
    });
    Ran::new(typed, output)
}

/// A relay as its operator runs it.
#[derive(Debug)]
pub struct Operator {
    data: PathBuf,
    /// The relay's process.
    pub process: Process,
}

/// What makes a relay quick enough for a test.
const RELAY_TOML: &str = "\
[limits]
ask_interval = \"0s\"
presence_tick = \"10ms\"
";

impl Operator {
    /// Starts a relay in `folder`, on a port that it can have again.
    #[must_use]
    pub fn start(folder: &Path, more_arguments: &[&str]) -> Self {
        Self::start_with(folder, "60s", more_arguments)
    }

    /// As [`Operator::start`], with another time for which the relay tries.
    #[must_use]
    pub fn start_trying(folder: &Path, window: &str) -> Self {
        Self::start_with(folder, window, &[])
    }

    fn start_with(folder: &Path, window: &str, more_arguments: &[&str]) -> Self {
        let data = folder.join("relay-data");
        let beside = folder.join("relay");
        std::fs::create_dir_all(&beside).unwrap();
        let text = format!("retry_window = \"{window}\"\n\n{RELAY_TOML}");
        let config = file(&beside, "relay.toml", &text);
        let (data_text, config_text) = (data.to_str().unwrap(), config.to_str().unwrap());
        let listen = format!("127.0.0.1:{}", quiet_port());
        let arguments =
            ["serve", "--data", data_text, "--config", config_text, "--listen", &listen];
        let arguments = [&arguments, more_arguments].concat();
        let mut process = Process::new("ams-relay", &arguments, &beside);
        process.start();
        Self { data, process }
    }

    /// The relay's folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Types `ams-relay …`.
    #[must_use]
    pub fn types(&self, arguments: &[&str]) -> Ran {
        let data = self.data.to_str().unwrap();
        run("ams-relay", &[arguments, &["--data", data]].concat(), b"")
    }

    /// An invite link.
    #[must_use]
    #[track_caller]
    pub fn invites(&self, name: &str) -> String {
        self.types(&["invite", "create", name]).ok()
    }
}

/// Alice and bob, who are at `relay` and know each other, each with a daemon.
#[must_use]
pub fn friends(relay: &Operator, folder: &Path) -> [(User, Process); 2] {
    let [alice, bob] = ["alice", "bob"].map(|name| {
        let user = User::new(&folder.join(name));
        let daemon = user.starts_daemon();
        user.joins(&relay.invites(name)).exits(0);
        (user, daemon)
    });
    alice.0.meets("alice", &bob.0, "bob");
    [alice, bob]
}
