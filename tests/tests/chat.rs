//! `amsctl chat` on a pseudo-terminal, as a user sees it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use ams_tests::process::Process;
use ams_tests::shell::{self, Operator, User};

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
    let mut chat = house.alice.on_terminal(&["chat", "bob"]);
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
    chat.shows("there is no command /what");
    chat.shows("/quit         or Ctrl-D");

    // Whoever goes away is told of; and what is written then is queued.
    house.bob.amsctl(&["stop"]).exits(0);
    chat.shows("bob is offline");
    chat.types("are you there?\r");
    chat.shows("[sent] are you there?");
    chat.types("\u{4}");
    assert_eq!(chat.ends().0, 0);
    // What was shown was read.
    assert_eq!(house.alice.amsctl(&["recv"]).ok(), "");
}

#[test]
fn a_daemon_that_goes_away_is_waited_for() {
    let mut house = house();
    let mut chat = house.alice.on_terminal(&["chat", "bob"]);
    chat.shows("to bob> ");
    // Everything that it does beside following was done once.
    let before = ["send", "alice", "--wait", "read", "--timeout", "1m", "before"];
    house.bob.amsctl(&before).exits(0);
    chat.shows("bob: before");
    house.daemons[0].kill();
    chat.shows("amsd is away");
    house.bob.amsctl(&["send", "alice", "while you were away"]).exits(0);
    house.daemons[0].start();
    chat.shows("amsd is back");
    let drawn = chat.shows("bob: while you were away");
    assert!(!drawn.contains("amsd is"), "it was away once: {drawn:?}");
    chat.types("/quit\r");
    assert_eq!(chat.ends().0, 0);
}

#[test]
fn a_line_is_tried_until_the_daemon_is_back() {
    let mut house = house();
    let mut chat = house.alice.on_terminal(&["chat", "bob"]);
    chat.shows("to bob> ");
    house.daemons[0].kill();
    chat.shows("amsd is away");
    chat.types("are you there?\r");
    chat.shows("the line is tried until it does");
    house.daemons[0].start();
    let read = house.bob.amsctl(&["recv", "--timeout", "1m"]).ok();
    assert!(read.contains("alice: are you there?"), "{read}");
    chat.shows("[read] are you there?");
    chat.shows("to bob> ");
    chat.types("\u{4}");
    assert_eq!(chat.ends().0, 0);
}

#[test]
fn it_needs_a_terminal_and_a_contact() {
    let house = house();
    house.alice.amsctl(&["chat", "bob"]).exits(2).says("needs a terminal");
    let mut chat = house.alice.on_terminal(&["chat", "carol"]);
    chat.shows("no contact is called carol");
    assert_eq!(chat.ends().0, 7);
}
