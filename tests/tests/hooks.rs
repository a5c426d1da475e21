//! Hooks of real daemons, with real scripts: what they get, how they end, and that none is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use ams_rpc::client::Client;
use ams_rpc::methods::hook;
use ams_rpc::types::{HookList, NoParams};
use ams_tests::PATIENCE;
use ams_tests::process::{Process, file};
use ams_tests::shell::{Operator, User};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// What scripts write, line by line, as soon as they do.
struct Pipe {
    lines: Receiver<String>,
}

impl Pipe {
    fn new(path: &Path) -> Self {
        fifo(path);
        // Written to by us as well, so that it never ends.
        let file = File::options().read(true).write(true).open(path).unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(file).lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    #[track_caller]
    fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of a script")
    }

    fn is_quiet(&self) -> bool {
        self.lines.try_recv().is_err()
    }
}

struct House {
    folder: tempfile::TempDir,
    alice: User,
    bob: User,
    daemons: Vec<Process>,
    relay: Operator,
    told: Pipe,
}

/// Alice with this config, in which `DIR` is a folder of hers, and bob, whom she knows. `scripts` lie in
/// that folder.
fn house(window: &str, config: &str, scripts: &[(&str, &str)]) -> House {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start_trying(folder.path(), window);
    let [alice, bob] = ["alice", "bob"].map(|name| User::new(&folder.path().join(name)));
    let own = folder.path().join("own");
    for path in [alice.home(), &own] {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let dir = own.to_str().unwrap();
    for (name, text) in scripts {
        let path = file(&own, name, &format!("#!/bin/sh\n{}", text.replace("DIR", dir)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    file(alice.home(), "config.toml", &config.replace("DIR", dir));
    let told = Pipe::new(&own.join("told"));
    let mut hers = alice.daemon(&[]).with("AMS_TEST_PASSED", "yes").with("AMS_TEST_KEPT", "no");
    hers.start();
    let daemons = vec![hers, bob.starts_daemon()];
    for (user, name) in [(&alice, "alice"), (&bob, "bob")] {
        user.joins(&relay.invites(name)).exits(0);
    }
    alice.meets("alice", &bob, "bob");
    House { folder, alice, bob, daemons, relay, told }
}

impl House {
    fn own(&self, name: &str) -> PathBuf {
        self.folder.path().join("own").join(name)
    }

    fn bob_sends(&self, words: &[&str]) {
        let send = ["send", "alice", "--wait", "delivered", "--timeout", "1m"];
        self.bob.amsctl(&[&send, words].concat()).exits(0);
    }

    /// Asks until it is so: what becomes of a hook is told by no event.
    fn hooks(&self, what: &str, is: impl Fn(&HookList) -> bool) -> HookList {
        let mut client = Client::connect(&self.alice.home().join("amsd.sock")).unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let list = client.call::<hook::List>(&NoParams {}).unwrap();
            if is(&list) {
                return list;
            }
            assert!(Instant::now() < end, "no {what}: {list:?}");
            thread::yield_now();
        }
    }
}

/// Waits for the end of a process that is nobody's child here.
fn ends(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    // Gone already, and nobody has its number: then it has ended.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ended, 1, "{pid:?} still runs");
}

#[test]
fn a_hook_gets_the_message_and_little_else() {
    let script =
        "{ cat; env | sort | tr '\\n' ' '; echo; pwd; ls -A; echo \"args $# $1\"; } >DIR/told\n";
    let config = "[[hook]]\nname = 'look'\nrun = ['DIR/look', '$HOME; `id`']\n\
                  pass_env = ['AMS_TEST_PASSED', 'AMS_TEST_MISSING']\n";
    let house = house("60s", config, &[("look", script)]);
    let nasty = "$(touch /tmp/pwned); `id` \u{1b}[31m' \"";
    house.bob_sends(&["--title", "Disk", "--priority", "5", "--tag", "cron", nasty]);
    let event: Value = serde_json::from_str(&house.told.next()).unwrap();
    assert_eq!(event["type"], "message.received");
    assert_eq!(
        (&event["hook"], &event["test"], &event["tries"]),
        (&"look".into(), &false.into(), &0.into())
    );
    let message = &event["message"];
    assert_eq!((&message["body"], &message["from"]), (&nasty.into(), &"bob".into()));
    assert_eq!((&message["title"], &message["priority"]), (&"Disk".into(), &5.into()));
    assert_eq!((&message["tags"][0], &message["verified"]), (&"cron".into(), &false.into()));
    let variables = house.told.next();
    let names: Vec<&str> =
        variables.split(' ').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    // The shell's own beside those that are promised.
    let known = [
        "AMS_TEST_PASSED",
        "AMS_EVENT",
        "AMS_MESSAGE_ID",
        "HOME",
        "LANG",
        "OLDPWD",
        "PATH",
        "PWD",
        "SHLVL",
        "_",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{variables}");
    assert!(variables.contains("AMS_TEST_PASSED=yes "), "{variables}");
    let id = message["id"].as_str().unwrap();
    assert!(variables.contains("AMS_EVENT=message.received "), "{variables}");
    assert!(variables.contains(&format!("AMS_MESSAGE_ID={id} ")), "{variables}");
    assert_eq!(house.told.next(), house.alice.home().join("data/hooks").to_str().unwrap());
    // Nothing lies in there; and arguments are as the config has them.
    assert_eq!(house.told.next(), "args 1 $HOME; `id`");
    let done = house.hooks("the hook to be done", |list| list.hooks[0].waiting == 0);
    assert_eq!((done.hooks[0].failed, done.failures.len()), (0, 0));
    // A program that was run read nothing: the message is as unread as it was.
    assert!(house.alice.amsctl(&["recv"]).ok().contains("Disk"));
}

#[test]
fn what_fails_is_tried_again_listed_and_repeated() {
    let script =
        "echo $AMS_MESSAGE_ID >DIR/told\n[ -e DIR/works ] && exit 0\necho 'no paper' >&2\nexit 7\n";
    let config = "[[hook]]\nname = 'print'\nrun = ['DIR/print']\nretries = 1\n";
    let house = house("60s", config, &[("print", script)]);
    house.bob_sends(&["hello"]);
    let id = house.told.next();
    assert_eq!(house.told.next(), id, "with the same id");
    let list = house.hooks("a failure", |list| !list.failures.is_empty());
    let [failure] = &list.failures[..] else { panic!("{list:?}") };
    assert_eq!((failure.id.to_string(), failure.tries), (id.clone(), 2));
    assert!(failure.reason.contains("exit status: 7: no paper"), "{}", failure.reason);
    let status = house.alice.amsctl(&["status"]).ok();
    assert!(status.contains("hook print: failing") && status.contains("failed for 1"), "{status}");
    let shown = house.alice.amsctl(&["hook", "list"]).ok();
    assert!(shown.contains("no paper") && shown.contains(&id) && shown.contains("bob"), "{shown}");

    // Tried out, it fails as well, and says so.
    let tried = house.alice.amsctl(&["hook", "test", "print"]).exits(1);
    assert!(tried.out.contains("no paper") && tried.err.contains("exit status: 7"), "{tried:?}");
    house.told.next();
    house.alice.amsctl(&["hook", "test", "fax"]).exits(7).says("no hook is called fax");
    let other = ["hook", "test", "print", "--event", "relay.down"];
    house.alice.amsctl(&other).exits(2).says("not run for relay.down");
    house.alice.amsctl(&["hook", "replay", "print", &"0".repeat(32)]).exits(7);

    file(&house.own(""), "works", "");
    assert_eq!(house.alice.amsctl(&["hook", "replay", "print", &id]).ok(), "1 to be run again");
    assert_eq!(house.told.next(), id);
    house.hooks("all to be well", |list| list.hooks[0].waiting == 0 && list.failures.is_empty());
    assert_eq!(house.alice.amsctl(&["hook", "replay", "print"]).ok(), "0 to be run again");
}

/// Killed while a program runs, the daemon runs it again: at least once, never not at all.
#[test]
fn a_daemon_that_is_killed_loses_none() {
    let script = "echo \"$AMS_MESSAGE_ID $$\" >DIR/told\nread go <DIR/go\n";
    let config = "[[hook]]\nname = 'slow'\nrun = ['DIR/slow']\ntimeout = '10m'\n";
    let mut house = house("60s", config, &[("slow", script)]);
    fifo(&house.own("go"));
    house.bob_sends(&["one"]);
    house.bob_sends(&["two"]);
    let first = house.told.next();
    let (id, pid) = first.split_once(' ').unwrap();
    house.daemons[0].kill();
    // It is left alone.
    rustix::process::kill_process(
        Pid::from_raw(pid.parse().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    ends(pid);
    house.daemons[0].start();
    let again = house.told.next();
    assert_eq!(again.split_once(' ').unwrap().0, id);
    let mut feed = File::options().read(true).write(true).open(house.own("go")).unwrap();
    writeln!(feed, "go").unwrap();
    let second = house.told.next();
    assert_ne!(second.split_once(' ').unwrap().0, id);
    // Stopped in order, it ends what runs, and runs it again at the next start.
    house.alice.amsctl(&["stop"]).exits(0);
    house.daemons[0].wait();
    ends(second.split_once(' ').unwrap().1);
    house.daemons[0].start();
    let third = house.told.next();
    assert_eq!(third.split_once(' ').unwrap().0, second.split_once(' ').unwrap().0);
    writeln!(feed, "go").unwrap();
    house.hooks("all to be well", |list| list.hooks[0].waiting == 0);
    assert!(house.told.is_quiet());
}

/// Neither the disk nor the memory is a hook's to fill; what it starts is held to that as well.
#[cfg(target_os = "linux")]
#[test]
fn a_hook_has_limits() {
    // The limits are there before the message is.
    let script = "cat >/dev/null\n\
                  grep -E '^Max (file size|address space|core file size) ' /proc/self/limits |\n\
                  while read -r line; do echo $line; done >DIR/told\n";
    let config = "[[hook]]\nname = 'look'\nrun = ['DIR/look']\n";
    let house = house("60s", config, &[("look", script)]);
    house.bob_sends(&["hi"]);
    let told = [(); 3].map(|()| house.told.next());
    let (file, memory) = (1_u64 << 30, 4_u64 << 30);
    assert_eq!(
        told,
        [
            format!("Max file size {file} {file} bytes"),
            "Max core file size 0 0 bytes".to_owned(),
            format!("Max address space {memory} {memory} bytes"),
        ]
    );
}

/// What takes too long is ended with all that it started.
#[test]
fn a_program_has_its_time_and_its_group_no_longer() {
    let script = "sleep 1000 &\necho \"$$ $!\" >DIR/told\nyes | head -c 1000000\nwait\n";
    let config = "[[hook]]\nname = 'hang'\nrun = ['DIR/hang']\ntimeout = '700ms'\nretries = 0\n";
    let house = house("60s", config, &[("hang", script)]);
    house.bob_sends(&["hello"]);
    let pids = house.told.next();
    let list = house.hooks("a failure", |list| !list.failures.is_empty());
    assert_eq!(list.failures[0].reason, "took longer than 700ms and was ended");
    pids.split(' ').for_each(ends);
    // Its output is kept as far as it may go.
    let tried = house.alice.amsctl(&["--json", "hook", "test", "hang"]).exits(1);
    let tried: Value = serde_json::from_str(&tried.out).unwrap();
    assert_eq!(tried["output"].as_str().unwrap().len(), 64 * 1024);
    house.told.next().split(' ').for_each(ends);
}

#[test]
fn what_could_not_be_delivered_and_a_relay_that_went_are_told() {
    let script = "cat >DIR/told\n";
    let config = "[[hook]]\nname = 'a'\non = ['message.undelivered']\nrun = ['DIR/tell']\n\
                  [[hook]]\nname = 'b'\non = ['relay.down', 'relay.up']\nrun = ['DIR/tell']\n\
                  [[hook]]\nname = 'c'\nfrom = ['carol']\nrun = ['DIR/tell']\n\
                  [[hook]]\nname = 'd'\nverified_only = true\nrun = ['DIR/tell']\n";
    let mut house = house("0s", config, &[("tell", script)]);
    let status = house.alice.amsctl(&["status"]).ok();
    assert!(status.contains("hook c is run for carol, and no contact is called that"), "{status}");
    // While it joined.
    let up: Value = serde_json::from_str(&house.told.next()).unwrap();
    assert_eq!((&up["type"], &up["name"]), (&"relay.up".into(), &"home".into()));
    house.bob_sends(&["for nobody's hook"]);
    house.bob.amsctl(&["stop"]).exits(0);
    house.daemons[1].wait();
    house.alice.amsctl(&["send", "bob", "hello"]).exits(0);
    let undelivered: Value = serde_json::from_str(&house.told.next()).unwrap();
    assert_eq!(undelivered["type"], "message.undelivered");
    assert_eq!((&undelivered["contact"], &undelivered["hook"]), (&"bob".into(), &"a".into()));
    house.relay.process.kill();
    let down: Value = serde_json::from_str(&house.told.next()).unwrap();
    assert_eq!((&down["type"], &down["hook"]), (&"relay.down".into(), &"b".into()));
    assert!(house.told.is_quiet());
}

/// A program that somebody else could change is not run: told with its line when the config is read,
/// and looked at again at each run.
#[test]
fn a_program_that_others_can_write_is_not_run() {
    let config = "[[hook]]\nname = 'p'\nrun = ['DIR/p']\nretries = 0\n";
    let house = house("60s", config, &[("p", "echo ran >DIR/told\n")]);
    fs::set_permissions(house.own("p"), fs::Permissions::from_mode(0o722)).unwrap();
    house.bob_sends(&["hello"]);
    let list = house.hooks("a failure", |list| !list.failures.is_empty());
    assert!(list.failures[0].reason.contains("chmod go-w"), "{list:?}");
    assert!(house.told.is_quiet());

    // Read again, the config is refused and the one before stays.
    house.daemons[0].reload();
    let status = house.alice.amsctl(&["status"]).ok();
    assert!(status.contains("line 3: `run`: ") && status.contains("chmod go-w"), "{status}");
    let erin = User::new(&house.folder.path().join("erin"));
    fs::create_dir(erin.home()).unwrap();
    fs::set_permissions(erin.home(), fs::Permissions::from_mode(0o700)).unwrap();
    let text = config.replace("DIR", house.own("").to_str().unwrap().trim_end_matches('/'));
    file(erin.home(), "config.toml", &text);
    erin.amsd(&[]).exits(2).says("line 3: `run`: ");

    fs::set_permissions(house.own("p"), fs::Permissions::from_mode(0o700)).unwrap();
    house.daemons[0].reload();
    assert_eq!(house.alice.amsctl(&["hook", "replay", "p"]).ok(), "1 to be run again");
    assert_eq!(house.told.next(), "ran");
}
