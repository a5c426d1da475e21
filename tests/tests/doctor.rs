//! `amsctl doctor` and `ams-relay doctor`: each thing is broken, found, and mended as the fix says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use ams_tests::process::{Process, command, file};
use ams_tests::programs::program;
use ams_tests::shell::User;
use serde_json::Value;

/// What a doctor said.
struct Report {
    exit: i32,
    checks: Vec<Value>,
}

impl Report {
    fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        let checks = report["checks"].as_array().unwrap().clone();
        let count = |state| checks.iter().filter(|check| check["state"] == state).count();
        assert_eq!(report["wrong"], count("wrong"));
        assert_eq!(report["warnings"], count("warning"));
        for check in &checks {
            // Whatever is not well has a way to mend it.
            assert_eq!(check["fix"].is_null(), check["state"] == "ok", "{check}");
            assert!(!check["finding"].as_str().unwrap().is_empty(), "{check}");
        }
        Self { exit: output.status.code().unwrap(), checks }
    }

    #[track_caller]
    fn is_well(&self) {
        let wrong: Vec<&Value> =
            self.checks.iter().filter(|check| check["state"] == "wrong").collect();
        assert!(wrong.is_empty() && self.exit == 0, "exit {}: {wrong:#?}", self.exit);
    }

    /// It found this to be so, in these words; its fix.
    #[track_caller]
    fn finds(&self, check: &str, state: &str, words: &str) -> String {
        let found = self.checks.iter().find(|found| {
            found["check"] == check
                && found["state"] == state
                && found["finding"].as_str().unwrap().contains(words)
        });
        let found =
            found.unwrap_or_else(|| panic!("no {check} {state} {words}: {:#?}", self.checks));
        assert_eq!(self.exit, i32::from(self.checks.iter().any(|check| check["state"] == "wrong")));
        found["fix"].as_str().unwrap_or_default().to_owned()
    }
}

/// Does what a fix says.
fn mend(fix: &str) {
    let done = Command::new("sh").args(["-c", fix]).status().unwrap();
    assert!(done.success(), "{fix}");
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The clock of this machine cannot be set, but the files can be later than it says.
fn from_tomorrow(path: &Path) {
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
    File::open(path).unwrap().set_modified(tomorrow).unwrap();
}

/// With so many open files at most.
fn with_files(most: u32, name: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.env_remove("AMS_HOME").env_remove("AMS_RELAY_DATA").env_remove("NOTIFY_SOCKET");
    shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]).arg(program(name));
    shell
}

struct Alice {
    folder: tempfile::TempDir,
    user: User,
}

impl Alice {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = User::new(&folder.path().join("alice"));
        Self { folder, user }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.user.home().join(below)
    }

    fn doctor(&self) -> Report {
        Report::of(command("amsctl").arg("--home").arg(self.user.home()).args(["--json", "doctor"]))
    }
}

#[test]
fn a_proxy_that_does_not_answer() {
    let alice = Alice::new();
    fs::create_dir(alice.user.home()).unwrap();
    chmod(alice.user.home(), 0o700);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = proxy.local_addr().unwrap();
    file(alice.user.home(), "config.toml", &format!("socks5 = \"{at}\"\n"));
    let _daemon = alice.user.starts_daemon();
    alice.doctor().finds("proxy", "ok", "answers");
    drop(proxy);
    let fix = alice.doctor().finds("proxy", "wrong", "nothing listens");
    assert!(fix.contains("`socks5`"), "{fix}");
}

#[test]
fn the_daemon_and_its_folders() {
    let alice = Alice::new();
    let fix = alice.doctor().finds("daemon", "wrong", "amsd is not running");
    assert!(fix.contains("--daemon"), "{fix}");
    let daemon = alice.user.starts_daemon();
    alice.doctor().is_well();

    for (below, mode, words) in [
        ("", 0o777, "can be written by others"),
        ("data", 0o755, "can be read by others"),
        ("data/amsd.redb", 0o644, "amsd.redb can be read by others"),
    ] {
        let path = alice.path(below);
        let right = fs::metadata(&path).unwrap().permissions();
        chmod(&path, mode);
        mend(&alice.doctor().finds("permissions", "wrong", words));
        alice.doctor().is_well();
        fs::set_permissions(&path, right).unwrap();
    }
    file(alice.user.home(), "config.toml", "");
    chmod(&alice.path("config.toml"), 0o666);
    mend(&alice.doctor().finds("permissions", "wrong", "others can write it"));
    chmod(&alice.path("amsd.sock"), 0o666);
    mend(&alice.doctor().finds("socket", "wrong", "its mode is 666"));
    alice.doctor().is_well();

    // A mistake in a config that was not taken is one of the daemon's warnings.
    file(alice.user.home(), "config.toml", "presence = 7\n");
    daemon.reload();
    alice.doctor().finds("warning", "warning", "line 1");
    drop(daemon);

    // Without a daemon, the profile itself is looked at.
    alice.doctor().finds("profile", "wrong", "line 1");
    file(alice.user.home(), "config.toml", "");
    alice.doctor().finds("profile", "ok", "all is well");
    // One that is sealed is no mistake, and not started without its passphrase.
    let passphrase = shown(&file(alice.folder.path(), "passphrase", "a long passphrase\n"));
    alice.user.amsd(&["--set-passphrase", "--new-passphrase-file", &passphrase]).exits(0);
    alice.doctor().finds("profile", "ok", "sealed under a passphrase");
    alice.user.amsd(&[]).exits(4).says("--passphrase-file");
    let refused = alice.user.amsctl(&["--start", "status"]).exits(11).says("sealed under");
    let asks = format!("amsd --home {} --daemon asks", alice.user.home().display());
    assert!(refused.err.contains(&asks), "{}", refused.err);
    alice.user.amsd(&["--remove-passphrase", "--passphrase-file", &passphrase]).exits(0);

    from_tomorrow(&alice.path("data/amsd.redb"));
    let fix = alice.doctor().finds("clock", "wrong", "but the database was changed at");
    assert!(fix.contains("timedatectl"), "{fix}");
    fs::remove_file(alice.path("data/amsd.redb")).unwrap();
    alice.doctor().finds("profile", "wrong", "");

    let mut few = with_files(100, "amsctl");
    few.arg("--home").arg(alice.user.home()).args(["--json", "doctor"]);
    let fix = Report::of(&mut few).finds("files", "wrong", "100 may be open");
    assert!(fix.contains("ulimit -n 512"), "{fix}");
}

#[test]
fn a_relay_that_is_not_reached() {
    let alice = Alice::new();
    let mut relay = Process::new(
        "ams-relay",
        &["serve", "--listen", "127.0.0.1:0", "--data", &shown(&alice.folder.path().join("relay"))],
        &alice.folder.path().join("relay-process"),
    );
    relay.start();
    let invite = command("ams-relay")
        .args(["invite", "create", "alice", "--data"])
        .arg(alice.folder.path().join("relay"))
        .output()
        .unwrap();
    let daemon = alice.user.starts_daemon();
    alice.user.joins(String::from_utf8(invite.stdout).unwrap().trim()).exits(0);
    alice.doctor().is_well();
    alice.doctor().finds("relay", "ok", "up since");

    relay.kill();
    alice.user.until("the link to be gone", |client| {
        let status = client.call::<ams_rpc::methods::daemon::Status>(&Default::default());
        (status.unwrap().relays[0].state != ams_rpc::types::LinkState::Up).then_some(())
    });
    let fix = alice.doctor().finds("relay", "wrong", "nothing listens at 127.0.0.1:");
    assert!(fix.contains("whether it runs"), "{fix}");
    // For people, too.
    let text = alice.user.amsctl(&["doctor"]).exits(1).out;
    assert!(text.contains("\nwrong    relay"), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with("-> ask whoever")), "{text}");
    assert!(text.ends_with("1 wrong, 0 to look at\n"), "{text}");
    drop(daemon);
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_relay_and_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("relay");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let config = file(folder.path(), "relay.toml", &format!("listen = \"{at}\"\n"));
    let doctor = || {
        let (data, config) = (shown(&data), shown(&config));
        Report::of(
            command("ams-relay").args(["doctor", "--json", "--data", &data, "--config", &config]),
        )
    };
    // Before there is one.
    let fix = doctor().finds("data", "wrong", "there is no relay in");
    assert!(fix.contains("ams-relay serve"), "{fix}");
    doctor().finds("port", "wrong", "another program listens there");
    assert!(!data.exists(), "it changes nothing");
    drop(taken);
    doctor().finds("port", "ok", "free");

    let arguments = ["serve", "--data", &shown(&data), "--config", &shown(&config)];
    let mut relay = Process::new("ams-relay", &arguments, &folder.path().join("process"));
    relay.start();
    doctor().is_well();
    doctor().finds("relay", "ok", "it runs, pid");
    doctor().finds("address", "warning", "only this machine can use it");
    for (below, mode, words) in [
        ("", 0o750, "it can be read by others"),
        ("oprf.seed", 0o604, "oprf.seed can be read by others"),
    ] {
        let path = data.join(below);
        let right = fs::metadata(&path).unwrap().permissions();
        chmod(&path, mode);
        mend(&doctor().finds("permissions", "wrong", words));
        doctor().is_well();
        fs::set_permissions(&path, right).unwrap();
    }
    chmod(&data.join("relay.sock"), 0o660);
    mend(&doctor().finds("socket", "wrong", "its mode is 660"));
    doctor().is_well();

    relay.kill();
    let fix = doctor().finds("relay", "wrong", "it does not run");
    assert!(fix.contains("systemctl start ams-relay"), "{fix}");
    doctor().finds("port", "ok", "free");
    from_tomorrow(&data.join("accounts.redb"));
    doctor().finds("clock", "wrong", "but the database was changed at");
    fs::rename(data.join("relay.key"), folder.path().join("away")).unwrap();
    let fix = doctor().finds("keys", "wrong", "relay.key is missing");
    assert!(fix.contains("backup"), "{fix}");
    file(folder.path(), "relay.toml", "listen = \"here\"\n");
    doctor().finds("config", "wrong", "line 1");
}

/// The limit of the relay that runs counts, not that of whoever asks.
#[test]
fn a_relay_with_few_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("relay");
    let mut child = with_files(200, "ams-relay")
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut address).unwrap();
    let report = Report::of(command("ams-relay").args(["doctor", "--json", "--data"]).arg(&data));
    child.kill().unwrap();
    child.wait().unwrap();
    let fix = report.finds("files", "wrong", "200 may be open");
    assert!(fix.contains("LimitNOFILE=4096"), "{fix}");
}
