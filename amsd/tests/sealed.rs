//! Keys at rest and in memory, with the real program: a key file under a passphrase, and what the
//! system says of the memory of a daemon that runs.

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
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ams_rpc::client::Client;
use ams_rpc::methods as m;
use ams_rpc::types::{DaemonStatus, NoParams};

struct Profile(tempfile::TempDir);

impl Profile {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn key(&self) -> Vec<u8> {
        fs::read(self.home().join("data/data.key")).unwrap()
    }

    /// A file that says this.
    fn file(&self, text: &str) -> String {
        let path = self.0.path().join(text.trim());
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn amsd(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amsd"));
        command.arg("--home").arg(self.home()).args(arguments).stdin(Stdio::null());
        command.env_remove("AMS_HOME").env_remove("CREDENTIALS_DIRECTORY");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.amsd(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts a daemon, gives what it says of itself, and stops it.
    fn starts_with(&self, arguments: &[&str]) -> DaemonStatus {
        self.succeeds(&[&["--daemon"], arguments].concat());
        self.ends()
    }

    fn client(&self) -> Client {
        Client::connect(&self.home().join("amsd.sock")).unwrap()
    }

    fn ends(&self) -> DaemonStatus {
        let status = self.client().call::<m::daemon::Status>(&NoParams {}).unwrap();
        self.client().call::<m::daemon::Stop>(&NoParams {}).unwrap();
        let lock = fs::File::open(self.home().join("data/lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared).unwrap();
        status
    }
}

#[test]
fn a_key_file_is_sealed_sealed_anew_and_opened_for_good() {
    let profile = Profile::new();
    let me = profile.starts_with(&[]).fingerprint;
    let plain = profile.key();
    let (first, second) = (profile.file("the first one\n"), profile.file("the second one"));

    // While a daemon has the profile nothing is changed under it.
    profile.succeeds(&["--daemon"]);
    let seal = ["--set-passphrase", "--new-passphrase-file", &first];
    assert!(profile.fails(&seal).contains("running for this profile"));
    profile.ends();
    // Nobody is there to be asked.
    assert!(profile.fails(&["--set-passphrase"]).contains("--new-passphrase-file"));
    // Seven characters, and more bytes.
    let short = profile.file("schl\u{fc}\u{df}e");
    let refused = profile.fails(&["--set-passphrase", "--new-passphrase-file", &short]);
    assert!(refused.contains("at least 8 characters"), "{refused}");
    assert_eq!(profile.key(), plain);

    assert!(profile.succeeds(&seal).contains("sealed"));
    let secret = &plain[9..41];
    assert!(!profile.key().windows(8).any(|window| window == &secret[..8]));
    for needs in [&["--daemon"][..], &["--check"], &["--remove-passphrase"]] {
        assert!(profile.fails(needs).contains("--passphrase-file"), "{needs:?}");
    }
    let wrong = ["--daemon", "--passphrase-file", &second];
    assert!(profile.fails(&wrong).contains("the passphrase is wrong"));
    assert_eq!(profile.starts_with(&["--passphrase-file", &first]).fingerprint, me);
    assert!(profile.succeeds(&["--check", "--passphrase-file", &first]).contains("all is well"));

    let change =
        ["--set-passphrase", "--passphrase-file", &first, "--new-passphrase-file", &second];
    profile.succeeds(&change);
    let old = ["--daemon", "--passphrase-file", &first];
    assert!(profile.fails(&old).contains("the passphrase is wrong"));

    // The service manager gives it in a folder of credentials.
    let credentials = profile.0.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("amsd.passphrase"), "the second one").unwrap();
    let mut started = profile.amsd(&["--daemon"]);
    assert!(started.env("CREDENTIALS_DIRECTORY", &credentials).status().unwrap().success());
    assert_eq!(profile.ends().fingerprint, me);

    profile.succeeds(&["--remove-passphrase", "--passphrase-file", &second]);
    assert_eq!(profile.key(), plain);
    assert_eq!(profile.starts_with(&[]).fingerprint, me);
    assert!(profile.succeeds(&["--remove-passphrase"]).contains("nothing was done"));
}

#[test]
fn a_first_start_with_a_passphrase_never_writes_the_key_as_it_is() {
    let profile = Profile::new();
    let short = profile.file("short\n");
    let refused = profile.fails(&["--daemon", "--passphrase-file", &short]);
    assert!(refused.contains("at least 8 characters"), "{refused}");
    let file = profile.file("from the beginning");
    let me = profile.starts_with(&["--passphrase-file", &file]).fingerprint;
    assert!(profile.fails(&["--daemon"]).contains("sealed under a passphrase"));
    assert_eq!(profile.starts_with(&["--passphrase-file", &file]).fingerprint, me);
    for empty in ["", "\n"] {
        let path = profile.0.path().join("empty");
        fs::write(&path, empty).unwrap();
        let refused = profile.fails(&["--daemon", "--passphrase-file", path.to_str().unwrap()]);
        assert!(refused.contains("it is empty"), "{refused}");
    }
}

/// The store's key lies on a page that is locked and goes into no core file, and nobody else may
/// look into the process.
#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_a_daemon_is_locked_and_cannot_be_dumped() {
    let profile = Profile::new();
    profile.succeeds(&["--daemon"]);
    let status = profile.client().call::<m::daemon::Status>(&NoParams {}).unwrap();
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", status.pid));

    let locked = read("status").unwrap();
    let locked = locked.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    assert!(!locked.trim().starts_with("0 "), "{locked}");
    let limits = read("limits").unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    match read("smaps") {
        // Only root may look into a process that cannot be dumped.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        Ok(maps) => {
            assert!(rustix::process::geteuid().is_root(), "anybody may look into the daemon");
            let flags = maps.lines().filter_map(|line| line.strip_prefix("VmFlags:"));
            let has = |flags: &str, flag: &str| flags.split_whitespace().any(|f| f == flag);
            let kept = flags.filter(|flags| has(flags, "lo") && has(flags, "dd"));
            assert!(kept.count() > 0, "no page is both locked and left out of core files");
        }
    }
    profile.ends();
}
