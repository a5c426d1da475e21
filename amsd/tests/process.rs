//! The real program, started as a user starts it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ams_rpc::client::Client;
use ams_rpc::methods as m;
use ams_rpc::types::{DaemonStatus, HookTestParams, NoParams, Visibility};
use rustix::process::{Pid, Signal, kill_process};

struct Profile(tempfile::TempDir);

impl Profile {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn amsd(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amsd"));
        command.arg("--home").arg(self.home()).env_remove("AMS_HOME").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.amsd().args(arguments).output().unwrap()
    }

    fn client(&self) -> Client {
        Client::connect(&self.home().join("amsd.sock")).unwrap()
    }

    fn status(&self) -> DaemonStatus {
        self.client().call::<m::daemon::Status>(&NoParams {}).unwrap()
    }

    fn write_config(&self, text: &str) {
        let path = self.home().join("config.toml");
        fs::create_dir_all(self.home()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A daemon in the foreground, and what it writes.
struct Foreground {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Foreground {
    fn start(profile: &Profile) -> Self {
        Self::of(profile.amsd())
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut started = Self { child, log };
        started.line_with("ready");
        started
    }

    /// The next line of the log that has this in it.
    fn line_with(&mut self, wanted: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "it ended without `{wanted}`");
            if line.contains(wanted) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success(), "it did not fail");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn goes_to_the_background_and_answers_at_once() {
    let profile = Profile::new();
    let pid_file = profile.0.path().join("pid");
    let started = profile.run(&["--daemon", "--pid-file", pid_file.to_str().unwrap()]);
    assert!(started.status.success(), "{started:?}");
    let status = profile.status();
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), status.pid.to_string());

    let second = error_of(&profile.run(&["--daemon"]));
    assert!(second.contains(&format!("pid {}", status.pid)), "{second}");
    let second = error_of(&profile.run(&[]));
    assert!(second.contains(&format!("pid {}", status.pid)), "{second}");
    let second = profile.run(&["--daemon", "--pid-file", pid_file.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(3));
    assert!(error_of(&second).contains(&format!("pid {}", status.pid)), "{second:?}");
    let check = error_of(&profile.run(&["--check"]));
    assert!(check.contains(&format!("pid {}", status.pid)), "{check}");

    stop(&profile);
    assert!(!pid_file.exists());
    assert!(fs::read_to_string(profile.home().join("data/amsd.log")).unwrap().contains("stopped"));
}

/// Asks the daemon to stop and waits until it has let go of its folder.
fn stop(profile: &Profile) {
    profile.client().call::<m::daemon::Stop>(&NoParams {}).unwrap();
    let lock = fs::File::open(profile.home().join("data/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared).unwrap();
}

/// Whoever starts a daemon in the background may hold a lock, or read a pipe to its end.
#[test]
fn in_the_background_nothing_of_whoever_started_it_stays_open() {
    let profile = Profile::new();
    let lock = fs::File::create(profile.0.path().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut shell = Command::new("/bin/sh");
    let script = "exec 9<&0 0</dev/null && exec \"$0\" --home \"$1\" --daemon";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_amsd")]).arg(profile.home());
    // The lock goes along as one descriptor; ours is closed with the command.
    shell.env_remove("AMS_HOME").stdin(lock);
    assert!(shell.status().unwrap().success());
    drop(shell);
    profile.status();
    let lock = fs::File::open(profile.0.path().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    stop(&profile);
}

/// A program that is run for what happens gets nothing that was open where the daemon was started.
#[cfg(target_os = "linux")]
#[test]
fn a_hook_gets_three_descriptors_and_no_other() {
    let profile = Profile::new();
    // The last one is the folder that it lists.
    profile.write_config("[[hook]]\nname = 'look'\nrun = ['/bin/ls', '/proc/self/fd']\n");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec 9<&0 8>&2 && exec \"$0\" --home \"$1\"", env!("CARGO_BIN_EXE_amsd")]);
    shell.arg(profile.home()).env_remove("AMS_HOME").stdin(Stdio::null());
    let _daemon = Foreground::of(shell);
    // It is ready before it has its hooks.
    while profile.client().call::<m::hook::List>(&NoParams {}).unwrap().hooks.is_empty() {}
    let params = HookTestParams { name: "look".into(), event: None };
    let tried = profile.client().call::<m::hook::Test>(&params).unwrap();
    assert_eq!((tried.reason, tried.output.as_str()), (None, "0\n1\n2\n3\n"));
}

#[test]
fn a_start_in_the_background_that_fails_says_why() {
    let profile = Profile::new();
    fs::create_dir(profile.home()).unwrap();
    fs::set_permissions(profile.home(), fs::Permissions::from_mode(0o777)).unwrap();
    let failed = error_of(&profile.run(&["--daemon"]));
    assert!(failed.contains("can be written by others"), "{failed}");

    fs::set_permissions(profile.home(), fs::Permissions::from_mode(0o700)).unwrap();
    profile.write_config("requests = \"maybe\"\n");
    let failed = error_of(&profile.run(&["--daemon"]));
    assert!(failed.contains("line 1: `requests`"), "{failed}");
    assert!(!profile.home().join("data").exists());

    profile.write_config("");
    let nowhere = profile.0.path().join("nowhere/pid");
    let failed = error_of(&profile.run(&["--daemon", "--pid-file", nowhere.to_str().unwrap()]));
    assert!(failed.contains("nowhere/pid: No such file or directory"), "{failed}");
    // Another one's, who has another profile.
    let taken = profile.0.path().join("taken");
    let held = fs::File::create(&taken).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let failed = error_of(&profile.run(&["--daemon", "--pid-file", taken.to_str().unwrap()]));
    assert!(failed.contains("taken: another process holds it"), "{failed}");
}

#[test]
fn signals_reload_and_stop() {
    let profile = Profile::new();
    profile.write_config("presence = \"visible\"\n");
    let mut daemon = Foreground::start(&profile);
    assert_eq!(profile.status().presence, Visibility::Visible);

    profile.write_config("presence = \"invisible\"\n");
    daemon.signal(Signal::HUP);
    daemon.line_with("read again");
    assert_eq!(profile.status().presence, Visibility::Invisible);

    profile.write_config("\npresense = \"visible\"\n");
    daemon.signal(Signal::HUP);
    let line = daemon.line_with("the old config stays");
    assert!(line.contains("line 2") && line.contains("presense"), "{line}");
    assert_eq!(profile.status().presence, Visibility::Invisible);

    daemon.signal(Signal::TERM);
    daemon.line_with("stopped");
    assert!(daemon.child.wait().unwrap().success());
    assert!(!profile.home().join("amsd.sock").exists());
}

#[test]
fn after_a_kill_it_checks_whole_and_starts_again() {
    let profile = Profile::new();
    let daemon = Foreground::start(&profile);
    let before = profile.status().fingerprint;
    daemon.signal(Signal::KILL);
    drop(daemon);

    let files = |folder: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let data = profile.home().join("data");
    let untouched = files(&data);
    let check = profile.run(&["--check"]);
    assert!(check.status.success(), "{check:?}");
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains(&before) && said.contains("all is well"), "{said}");
    assert_eq!(files(&data), untouched, "a check changes nothing");

    // The socket that was left behind is no obstacle.
    let daemon = Foreground::start(&profile);
    assert_eq!(profile.status().fingerprint, before);
    drop(daemon);
}

#[test]
fn what_others_could_read_is_tightened() {
    let profile = Profile::new();
    drop(Foreground::start(&profile));
    let data = profile.home().join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let database = data.join("amsd.redb");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Foreground::start(&profile));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&database)), (0o700, 0o600));
    assert_eq!(mode(&profile.home()), 0o700);
}

#[test]
fn what_is_not_there_yet_is_said() {
    let profile = Profile::new();
    let check = error_of(&profile.run(&["--check"]));
    assert!(check.contains("no profile"), "{check}");
    assert!(!profile.home().exists());
}
