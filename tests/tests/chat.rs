//! `amsctl chat` on a pseudo-terminal, as a user sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use ams_tests::PATIENCE;
use ams_tests::process::{Process, command};
use ams_tests::shell::{self, Operator, User};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal with a program in it: keys go in, and what it draws comes out.
struct Terminal {
    keys: File,
    drawn: Receiver<Vec<u8>>,
    /// All of it so far.
    seen: String,
    child: Child,
}

impl Terminal {
    fn running(user: &User, arguments: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let path = OsStr::from_bytes(name.as_bytes());
        let open = || OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut run = command("amsctl");
        run.arg("--home").arg(user.home()).args(arguments).env("TERM", "xterm");
        run.stdin(open()).stdout(open()).stderr(open());
        let child = run.spawn().unwrap();
        // The ends that the program has must not stay open here.
        drop(run);
        let ours = File::from(ours);
        let (keys, mut screen) = (ours.try_clone().unwrap(), ours);
        let (sender, drawn) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Linux tells the end of a terminal as an error.
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys, drawn, seen: String::new(), child }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is drawn, after everything that was waited for before.
    #[track_caller]
    fn shows(&mut self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(what) {
                let rest = self.seen.split_off(at + what.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.drawn.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {what:?} in {:?}", self.seen),
            }
        }
    }

    #[track_caller]
    fn ends(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }
}

struct House {
    _folder: tempfile::TempDir,
    alice: User,
    bob: User,
    daemons: Vec<Process>,
    _relay: Operator,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [(alice, of_alice), (bob, of_bob)] = shell::friends(&relay, folder.path());
    House { _folder: folder, alice, bob, daemons: vec![of_alice, of_bob], _relay: relay }
}

#[test]
fn two_people_talk() {
    let house = house();
    house
        .bob
        .amsctl(&["send", "alice", "--wait", "delivered", "--timeout", "1m", "before"])
        .exits(0);
    let mut chat = Terminal::running(&house.alice, &["chat", "bob"]);
    chat.shows("bob: before");
    chat.shows("not verified: amsctl contact verify bob");
    chat.shows("to bob> ");

    // What comes in is shown above the line that is being typed, which stays.
    chat.types("half a li");
    chat.shows("half a li");
    let nasty = "hi \u{1b}]0;title\u{7}\u{202e}there";
    house.bob.amsctl(&["send", "alice", nasty]).exits(0);
    let drawn = chat.shows("bob: hi \\u{1b}]0;title\\u{7}\\u{202e}there");
    assert!(!drawn.contains("\u{1b}]0;") && !drawn.contains('\u{202e}'), "{drawn:?}");
    chat.shows("to bob> half a li");
    chat.types("ne\r");
    chat.shows("[delivered] half a line");
    let read = house.bob.amsctl(&["recv", "--timeout", "1m"]).ok();
    assert!(read.contains("alice: half a line"), "{read}");
    chat.shows("[read] half a line");

    // The line before, by the arrow up; and what begins with a slash.
    chat.types("\u{1b}[A\r");
    chat.shows("[delivered] half a line");
    chat.types("//etc/motd\r");
    chat.shows("[delivered] /etc/motd");
    chat.types("/to b\t");
    chat.shows("/to bob");
    chat.types("\r");
    chat.shows("bob is online");
    chat.types("/what\r");
    chat.shows("/quit         or Ctrl-D");

    // Whoever goes away is told of; and what is written then is queued.
    house.bob.amsctl(&["stop"]).exits(0);
    chat.shows("bob is offline");
    chat.types("are you there?\r");
    chat.shows("[sent] are you there?");
    chat.types("\u{4}");
    assert_eq!(chat.ends(), 0);
    // What was shown was read.
    assert_eq!(house.alice.amsctl(&["recv"]).ok(), "");
}

#[test]
fn a_daemon_that_goes_away_is_waited_for() {
    let mut house = house();
    let mut chat = Terminal::running(&house.alice, &["chat", "bob"]);
    chat.shows("to bob> ");
    house.daemons[0].kill();
    chat.shows("amsd is away");
    house.bob.amsctl(&["send", "alice", "while you were away"]).exits(0);
    house.daemons[0].start();
    chat.shows("amsd is back");
    chat.shows("bob: while you were away");
    chat.types("/quit\r");
    assert_eq!(chat.ends(), 0);
}

#[test]
fn it_needs_a_terminal_and_a_contact() {
    let house = house();
    house.alice.amsctl(&["chat", "bob"]).exits(2).says("needs a terminal");
    let mut chat = Terminal::running(&house.alice, &["chat", "carol"]);
    chat.shows("no contact is called carol");
    assert_eq!(chat.ends(), 7);
}
