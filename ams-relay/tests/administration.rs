//! The program, as an administrator uses it: with the relay running and without.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

struct Relay {
    _folder: tempfile::TempDir,
    data: PathBuf,
    process: Option<Child>,
}

impl Relay {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("relay");
        Self { _folder: folder, data, process: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ams-relay"));
        command.env("AMS_RELAY_DATA", &self.data).env_remove("NOTIFY_SOCKET");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// What a command prints that does what it should.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and first line of what a command says that fails.
    fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text.lines().next().unwrap_or_default().to_owned())
    }

    /// Starts it and gives its address link.
    fn start(&mut self) -> String {
        let mut process = self
            .command()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = Some(process);
        line.trim_end().to_owned()
    }

    fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let pid = process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(process.wait().unwrap().success());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The lines that do not say whether and since when it runs.
fn lasting(status: &str) -> Vec<&str> {
    status
        .lines()
        .filter(|line| !line.starts_with("running"))
        .filter(|line| !line.contains("held_bytes") && !line.contains("memory_bytes"))
        .collect()
}

#[test]
fn administration_is_the_same_with_the_relay_running_and_stopped() {
    let mut relay = Relay::new();
    let (exit, text) = relay.fails(&["invite", "create", "alice"]);
    assert_eq!(exit, 1);
    assert!(text.contains("there is no relay in"), "{text}");
    assert!(!relay.data.exists());

    let address = relay.start();
    assert!(address.starts_with("ams://127.0.0.1:"), "{address}");
    let mut seen = Vec::new();
    for round in ["running", "stopped"] {
        assert_eq!(relay.ok(&["address"]).trim_end(), address);
        let invite = relay.ok(&["invite", "create", "alice", "--expires", "1d"]);
        assert!(invite.contains("/invite#") && invite.lines().count() == 1, "{invite}");
        let list = relay.ok(&["invite", "list"]);
        assert!(list.starts_with("alice "), "{list}");
        relay.ok(&["invite", "list", "--json"]);
        let failures = [
            (vec!["invite", "create", "No Name"], 2),
            (vec!["invite", "revoke", "bob"], 7),
            (vec!["user", "reset", "bob"], 7),
            (vec!["user", "remove", "bob"], 7),
            (vec!["user", "disable", "bob"], 7),
            (vec!["user", "enable", "bob"], 7),
        ]
        .map(|(args, expected)| {
            let (exit, text) = relay.fails(&args);
            assert_eq!(exit, expected, "{args:?}: {text}");
            text
        });
        assert_eq!(relay.ok(&["invite", "revoke", "alice"]), "");
        assert_eq!(relay.ok(&["invite", "list"]), "");
        assert_eq!(relay.ok(&["user", "list"]), "");
        let status = relay.ok(&["status"]);
        let copy = relay.data.with_extension(round);
        let backup = relay.ok(&["backup", copy.to_str().unwrap()]);
        assert!(backup.contains(".keys.tar"), "{backup}");
        let (exit, _) = relay.fails(&["backup", copy.to_str().unwrap()]);
        assert_eq!(exit, 2);
        restore_is_the_same_relay(&copy, &address);
        let lasting = lasting(&status).join("\n");
        seen.push((failures, lasting));
        let says = if round == "running" { "process" } else { "no" };
        assert!(status.lines().any(|line| line.starts_with("running") && line.contains(says)));
        if round == "running" {
            relay.stop();
        }
    }
    assert_eq!(seen[0], seen[1]);
}

/// What a backup holds, put into a folder by `tar` and `cp`, is the same relay.
fn restore_is_the_same_relay(copy: &Path, address: &str) {
    let mut restored = Relay::new();
    std::fs::create_dir(&restored.data).unwrap();
    std::fs::copy(copy, restored.data.join("accounts.redb")).unwrap();
    let keys = format!("{}.keys.tar", copy.display());
    let tar = Command::new("tar").arg("-xf").arg(&keys).arg("-C").arg(&restored.data).status();
    assert!(tar.unwrap().success());
    let key = |link: &str| link.split_once('#').unwrap().1[..40].to_owned();
    assert_eq!(key(&restored.start()), key(address));
    restored.stop();
}

#[test]
fn a_folder_serves_one_relay_and_a_port_too() {
    let mut relay = Relay::new();
    let address = relay.start();
    let (exit, text) = relay.fails(&["serve", "--listen", "127.0.0.1:0"]);
    let pid = relay.process.as_ref().unwrap().id().to_string();
    assert_eq!(exit, 1);
    assert!(text.contains(&format!("is in use by the process {pid};")), "{text}");
    let port = address.split(['/', ':']).nth(4).unwrap();
    let other = Relay::new();
    let (exit, text) = other.fails(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
    assert_eq!(exit, 1);
    assert!(text.contains("another program uses this port"), "{text}");
    assert!(!other.data.exists(), "a relay was made that could not run");
    // Killed, it leaves nothing in the way of the next one.
    relay.process.as_mut().unwrap().kill().unwrap();
    relay.process.as_mut().unwrap().wait().unwrap();
    relay.start();
    relay.stop();
}

#[test]
fn figures_are_served_where_the_config_says() {
    let mut relay = Relay::new();
    // A port that nobody has: the system's choice, given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::create_dir(&relay.data).unwrap();
    let config = format!("metrics = \"127.0.0.1:{port}\"\n");
    std::fs::write(relay.data.join("relay.toml"), config).unwrap();
    relay.start();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = get("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\nams_relay_accounts 0\n"), "{answer}");
    assert!(get("/").starts_with("HTTP/1.1 404"));
    relay.stop();
}

#[test]
fn mistakes_are_said_and_change_nothing() {
    let relay = Relay::new();
    let (exit, text) = relay.fails(&["serve"]);
    assert_eq!(exit, 1);
    assert!(text.contains("--public-address"), "{text}");
    let (exit, text) = relay.fails(&["serve", "--listen", "nowhere"]);
    assert_eq!(exit, 2);
    assert!(text.contains("ADDR:PORT"), "{text}");
    let (exit, text) = relay.fails(&["serve", "--config", "/nonexistent/relay.toml"]);
    assert_eq!(exit, 2);
    assert!(text.contains("/nonexistent/relay.toml"), "{text}");
    let (exit, _) = relay.fails(&["invite", "create", "alice", "--expires", "soon"]);
    assert_eq!(exit, 2);
    let (exit, _) = relay.fails(&["user", "rename"]);
    assert_eq!(exit, 2);
    let long = relay.data.join("x".repeat(120));
    let (exit, text) =
        relay.fails(&["serve", "--listen", "127.0.0.1:0", "--data", long.to_str().unwrap()]);
    assert_eq!(exit, 1);
    assert!(text.contains("socket path"), "{text}");
    std::fs::create_dir(&relay.data).ok();
    std::os::unix::fs::symlink(&relay.data, relay.data.with_extension("link")).unwrap();
    let link = relay.data.with_extension("link");
    let (exit, text) =
        relay.fails(&["serve", "--listen", "127.0.0.1:0", "--data", link.to_str().unwrap()]);
    assert_eq!(exit, 1);
    assert!(text.contains("symbolic link"), "{text}");
}
