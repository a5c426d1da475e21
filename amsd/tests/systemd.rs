//! What a service manager and the daemon say to each other. The test is the manager.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ams_rpc::client::Client;
use ams_rpc::methods as m;
use ams_rpc::types::NoParams;
use rustix::process::{Pid, Signal, kill_process};

struct Manager {
    folder: tempfile::TempDir,
    notify: UnixDatagram,
}

/// A daemon that ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// What it wrote, once it has ended.
    fn log(&mut self) -> String {
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { folder, notify }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn socket(&self) -> PathBuf {
        self.home().join("amsd.sock")
    }

    /// The socket, held for the daemon.
    fn listens(&self) -> UnixListener {
        fs::DirBuilder::new().mode(0o700).create(self.home()).unwrap();
        UnixListener::bind(self.socket()).unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        for variable in ["AMS_HOME", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn amsd(&self) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_amsd"));
        command.arg("--home").arg(self.home());
        command
    }

    /// The next thing that is said which begins so.
    fn hears(&self, wanted: &str) -> String {
        let mut bytes = [0; 512];
        loop {
            let got = match self.notify.recv(&mut bytes) {
                // A child ended; that is no word of this one.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                got => got,
            };
            let got = got.unwrap_or_else(|error| panic!("nothing like {wanted}: {error}"));
            let said = String::from_utf8_lossy(&bytes[..got]).into_owned();
            if said.starts_with(wanted) {
                return said;
            }
        }
    }

    fn pid(&self) -> u32 {
        let mut client = Client::connect(&self.socket()).unwrap();
        client.call::<m::daemon::Status>(&NoParams {}).unwrap().pid
    }
}

#[test]
fn it_says_ready_alive_reloading_and_stopping() {
    let manager = Manager::new();
    let child = manager.amsd().env("WATCHDOG_USEC", "50000").spawn().unwrap();
    let mut daemon = Daemon(child);
    manager.hears("READY=1");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    daemon.signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "systemd wants it: {reloading}");
    manager.hears("READY=1");
    daemon.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    assert!(daemon.0.wait().unwrap().success());
}

#[test]
fn nobody_is_fed_who_does_not_ask_for_it() {
    let manager = Manager::new();
    let mut daemon = Daemon(manager.amsd().spawn().unwrap());
    manager.hears("READY=1");
    daemon.signal(Signal::TERM);
    assert!(daemon.0.wait().unwrap().success());
    let mut said = String::new();
    manager.notify.set_nonblocking(true).unwrap();
    let mut bytes = [0; 512];
    while let Ok(got) = manager.notify.recv(&mut bytes) {
        said.push_str(&String::from_utf8_lossy(&bytes[..got]));
    }
    assert!(said.contains("STOPPING=1") && !said.contains("WATCHDOG"), "{said}");
}

/// Whoever connects before the daemon runs is answered when it does, and the socket outlives it.
#[test]
fn it_takes_the_socket_that_it_is_handed() {
    let manager = Manager::new();
    let listener = manager.listens();
    let held = OwnedFd::from(listener.try_clone().unwrap());
    let mut early = Client::connect(&manager.socket()).unwrap();

    // The first file that is handed over is the third that a process has.
    let script = "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = manager.command("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_amsd"), "--home"]).arg(manager.home());
    let mut daemon = Daemon(command.stdin(held).spawn().unwrap());
    let status = early.call::<m::daemon::Status>(&NoParams {}).unwrap();
    assert_eq!(status.pid, daemon.0.id());
    assert_eq!(manager.pid(), daemon.0.id());

    daemon.signal(Signal::TERM);
    assert!(daemon.0.wait().unwrap().success());
    assert!(manager.socket().exists(), "it is the manager's");
    drop(listener);
}

#[test]
fn what_it_is_handed_must_be_a_socket() {
    let manager = Manager::new();
    let script = "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = manager.command("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_amsd"), "--home"]).arg(manager.home());
    let mut daemon = Daemon(command.spawn().unwrap());
    assert_eq!(daemon.0.wait().unwrap().code(), Some(1));
    let log = daemon.log();
    assert!(log.contains("the socket from the service manager"), "{log}");
}

/// The daemon that systemd would start is not the one that the user starts by hand.
#[test]
fn by_hand_while_systemd_holds_the_socket_it_names_the_unit() {
    let manager = Manager::new();
    let listener = manager.listens();
    let start = || {
        let mut daemon = Daemon(manager.amsd().spawn().unwrap());
        assert_eq!(daemon.0.wait().unwrap().code(), Some(1));
        daemon.log()
    };
    let log = start();
    assert!(log.contains("something is serving"), "{log}");

    // From here on this process is called like the one that it plays.
    let own = fs::read_to_string("/proc/self/comm").unwrap();
    fs::write("/proc/self/comm", "systemd").unwrap();
    let log = start();
    fs::write("/proc/self/comm", own.trim_end()).unwrap();
    assert!(log.contains("systemctl --user start amsd"), "{log}");
    assert!(manager.socket().exists());
    drop(listener);
}

#[test]
fn its_log_is_text_or_json_and_says_more_when_asked() {
    let log_of = |arguments: &[&str]| {
        let manager = Manager::new();
        let mut daemon = Daemon(manager.amsd().args(arguments).spawn().unwrap());
        manager.hears("READY=1");
        daemon.signal(Signal::TERM);
        assert!(daemon.0.wait().unwrap().success());
        daemon.log()
    };
    let text = log_of(&[]);
    assert!(text.lines().any(|line| line.ends_with("INFO ready")), "{text}");

    let mut said = Vec::new();
    for line in log_of(&["--log", "json"]).lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
        said.push(line["message"].as_str().unwrap().to_owned());
    }
    assert!(said.iter().any(|message| message == "ready"), "{said:?}");
    assert!(said.iter().any(|message| message == "stopped"), "{said:?}");

    // Where a line comes from is of use to whoever looks for a mistake.
    let more = log_of(&["-v"]);
    assert!(more.lines().any(|line| line.contains(" amsd::running: ready")), "{more}");
    assert!(more.lines().count() >= text.lines().count(), "{more}");
}

#[test]
fn a_second_one_ends_with_a_code_of_its_own() {
    let manager = Manager::new();
    let mut daemon = Daemon(manager.amsd().spawn().unwrap());
    manager.hears("READY=1");
    for arguments in [&[][..], &["--daemon"]] {
        let mut second = Daemon(manager.amsd().args(arguments).spawn().unwrap());
        assert_eq!(second.0.wait().unwrap().code(), Some(3), "{}", second.log());
    }
    let config = manager.home().join("config.toml");
    fs::write(&config, "presence = 7\n").unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    daemon.signal(Signal::TERM);
    daemon.0.wait().unwrap();
    for arguments in [&[][..], &["--daemon"]] {
        let mut second = Daemon(manager.amsd().args(arguments).spawn().unwrap());
        assert_eq!(second.0.wait().unwrap().code(), Some(2), "{}", second.log());
    }
}
