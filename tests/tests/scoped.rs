//! A socket with a rule: what it lets through, and that nothing else can be reached or learned
//! through it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a surprise ends the test that met it"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ams_rpc::METHODS;
use ams_tests::process::{Process, file};
use ams_tests::shell::{Operator, Ran, User, run};
use serde_json::{Value, json};

struct House {
    folder: tempfile::TempDir,
    alice: User,
    bob: User,
    daemons: Vec<Process>,
    _relay: Operator,
}

/// Alice, whose config shares two sockets, and bob and carol, whom she knows.
fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [alice, bob, carol] =
        ["alice", "bob", "carol"].map(|name| User::new(&folder.path().join(name)));
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(alice.home()).unwrap();
    fs::set_permissions(alice.home(), fs::Permissions::from_mode(0o700)).unwrap();
    let config = format!(
        "[[socket]]\npath = '{0}/page'\nmode = '0666'\nallow = ['send']\nto = ['bob', 'dave']\n\
         [[socket]]\npath = '{0}/look'\nallow = ['read']\n",
        shared.display()
    );
    file(alice.home(), "config.toml", &config);
    let daemons = [&alice, &bob, &carol].map(User::starts_daemon).into();
    for (user, name) in [(&alice, "alice"), (&bob, "bob"), (&carol, "carol")] {
        user.joins(&relay.invites(name)).exits(0);
    }
    alice.meets("alice", &bob, "bob");
    alice.meets("alice", &carol, "carol");
    House { folder, alice, bob, daemons, _relay: relay }
}

impl House {
    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join("shared").join(name)
    }

    /// `amsctl --socket …`
    fn through(&self, socket: &str, arguments: &[&str]) -> Ran {
        let path = self.socket(socket);
        run("amsctl", &[&["--socket", path.to_str().unwrap()], arguments].concat(), b"")
    }
}

/// What a line is answered.
fn answer(socket: &Path, line: &str) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn call(socket: &Path, method: &str, params: &Value) -> Value {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    answer(socket, &call.to_string())
}

#[test]
fn a_socket_that_may_page_pages_and_does_nothing_else() {
    let house = house();
    let page = house.socket("page");
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o666);
    let delivered = ["send", "bob", "--wait", "delivered", "--timeout", "1m", "disk full"];
    house.through("page", &delivered).exits(0);
    house
        .through("page", &["send", "--to", "bob", "--print-id", "--wait", "delivered", "2"])
        .exits(0);
    assert!(house.bob.amsctl(&["recv"]).ok().contains("disk full"));

    // Nobody is called dave, and after this nobody is called bob.
    warns(&house.alice, &["page may send to dave", "no contact is called that"]);
    let status = house.alice.amsctl(&["status"]).ok();
    assert!(!status.contains("page may send to bob"), "{status}");
    house.alice.amsctl(&["contact", "rename", "bob", "robert"]).exits(0);
    warns(&house.alice, &["page may send to bob", "no contact is called that"]);
    house.alice.amsctl(&["contact", "rename", "robert", "bob"]).exits(0);

    // Somebody else, known or not: the same words.
    let known = house.through("page", &["send", "carol", "hi"]).exits(6);
    let unknown = house.through("page", &["send", "erin", "hi"]).exits(6);
    assert_eq!(known.err, unknown.err);
    assert!(known.err.contains("may only send to bob, dave"), "{}", known.err);
    house.through("page", &["contact", "list"]).exits(6).says("contact.list is not allowed here");
    house.through("page", &["recv"]).exits(6);
    house.through("page", &["stop"]).exits(6);

    // Every method, by itself, in a batch, and as what nobody answers.
    for entry in METHODS.iter().filter(|entry| entry.name != "rpc.discover") {
        let params = json!({"name": "bob", "to": "carol", "contact": "carol"});
        let refused = call(&page, entry.name, &params);
        assert_eq!(refused["error"]["data"]["kind"], "not_allowed", "{}: {refused}", entry.name);
    }
    let stop = r#"{"jsonrpc":"2.0","method":"daemon.stop"}"#;
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"daemon.status"},{"jsonrpc":"2.0","method":"daemon.stop"}]"#;
    assert_eq!(
        answer(&page, &format!("{stop}\n{batch}"))[0]["error"]["data"]["kind"],
        "not_allowed"
    );
    house.alice.amsctl(&["status"]).exits(0);

    // A name that the rule has and nobody bears: no hint at who else there is.
    let nobody = call(&page, "message.send", &json!({"to": "dave", "body": "x"}));
    assert_eq!(nobody["error"]["data"]["kind"], "no_such_contact");
    assert!(!nobody.to_string().contains("carol"), "{nobody}");
    // Which relays there are, and what else is in the queue.
    for (name, value) in [("via", "relay:work"), ("via", "relay:home"), ("key", "load")] {
        let params = json!({"to": "bob", "body": "x", name: value});
        let refused = call(&page, "message.send", &params);
        assert_eq!(refused["error"]["data"]["kind"], "not_allowed", "{refused}");
    }
    // Nor from what sending would come to.
    let would = call(&page, "message.check", &json!({"to": "bob", "body": "x"}));
    let told = ["to", "via", "presence"].map(|name| &would["result"][name]);
    assert_eq!(told, [&json!("bob"), &Value::Null, &json!("unknown")], "{would}");
    // Names twice.
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"message.send","params":{"to":"carol","to":"bob","body":"x"}}"#;
    assert!(answer(&page, twice).get("result").is_none());
}

#[test]
fn a_socket_that_may_look_changes_nothing() {
    let house = house();
    house
        .bob
        .amsctl(&["send", "alice", "--wait", "delivered", "--timeout", "1m", "hello"])
        .exits(0);
    assert!(house.through("look", &["contact", "list"]).ok().contains("carol"));
    assert!(house.through("look", &["recv", "--peek"]).ok().contains("hello"));
    assert!(house.through("look", &["history"]).ok().contains("hello"));
    house.through("look", &["status"]).exits(0);
    house.through("look", &["recv"]).exits(6).says("may only read");
    house.through("look", &["send", "bob", "hi"]).exits(6);
    house.through("look", &["contact", "remove", "bob"]).exits(6);
    assert!(house.alice.amsctl(&["recv"]).ok().contains("hello"), "it was still unread");
}

/// What cannot be shared safely is not, and says why; a config that is read again is followed.
#[test]
fn sockets_follow_the_config() {
    let mut house = house();
    // Others could put theirs in its place.
    let loose = house.folder.path().join("loose");
    fs::create_dir(&loose).unwrap();
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o777)).unwrap();
    let erin = User::new(&house.folder.path().join("erin"));
    fs::create_dir(erin.home()).unwrap();
    fs::set_permissions(erin.home(), fs::Permissions::from_mode(0o700)).unwrap();
    let config = |path: &Path, more: &str| {
        format!("[[socket]]\npath = '{}'\nallow = ['send']\n{more}", path.display())
    };
    file(erin.home(), "config.toml", &config(&loose.join("s"), ""));
    let of_erin = erin.starts_daemon();
    warns(&erin, &["loose/s is not served", "chmod go-w"]);
    file(erin.home(), "config.toml", &config(&house.socket("erin"), "group = 'no-such-group'\n"));
    of_erin.reload();
    warns(&erin, &["no-such-group"]);
    file(erin.home(), "config.toml", &config(&house.socket("page"), ""));
    of_erin.reload();
    warns(&erin, &["serving"]);
    assert!(house.socket("page").exists(), "alice's is untouched");

    // Alice takes one away and gives the other a new rule.
    let text = config(&house.socket("page"), "to = ['carol']\n");
    file(house.alice.home(), "config.toml", &text);
    house.daemons[0].reload();
    let page = house.socket("page");
    let would = call(&page, "message.check", &json!({"to": "carol", "body": "x"}));
    assert_eq!(would["result"]["to"], "carol", "{would}");
    assert!(!house.socket("look").exists());
    house.through("page", &["send", "bob", "hi"]).exits(6);
    house.alice.amsctl(&["stop"]).exits(0);
    house.daemons[0].wait();
    assert!(!page.exists(), "it goes with its daemon");
}

/// `amsctl status` warns of all of this, in one warning.
#[track_caller]
fn warns(user: &User, parts: &[&str]) {
    let status: Value = serde_json::from_str(&user.amsctl(&["status", "--json"]).ok()).unwrap();
    let warnings = status["warnings"].as_array().unwrap();
    let is_it = |warning: &Value| parts.iter().all(|part| warning.to_string().contains(part));
    assert!(warnings.iter().any(is_it), "{parts:?}: {warnings:?}");
}

/// One socket that cannot be made takes nothing from its owner or from other sockets, and comes
/// when what it lacks is there.
#[test]
fn a_socket_without_a_folder_is_served_when_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let alice = User::new(&folder.path().join("alice"));
    fs::create_dir(alice.home()).unwrap();
    fs::set_permissions(alice.home(), fs::Permissions::from_mode(0o700)).unwrap();
    let (there, gone) = (folder.path().join("there"), folder.path().join("gone"));
    let make = |path: &Path| {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    make(&there);
    let socket =
        |path: &Path| format!("[[socket]]\npath = '{}'\nallow = ['read']\n", path.display());
    file(alice.home(), "config.toml", &(socket(&gone.join("s")) + &socket(&there.join("s"))));
    let daemon = alice.starts_daemon();
    warns(&alice, &["gone/s is not served", "No such file", "read again"]);
    assert!(call(&there.join("s"), "contact.list", &json!({})).get("result").is_some());

    make(&gone);
    daemon.reload();
    assert!(call(&gone.join("s"), "contact.list", &json!({})).get("result").is_some());
    let status: Value = serde_json::from_str(&alice.amsctl(&["status", "--json"]).ok()).unwrap();
    assert_eq!(status["warnings"], json!([]));

    // The folder went, as with a restart of what made it.
    fs::remove_dir_all(&gone).unwrap();
    make(&gone);
    daemon.reload();
    assert!(call(&gone.join("s"), "contact.list", &json!({})).get("result").is_some());
}

/// Who is connected to a socket that did not change stays so, whatever became of the others.
#[test]
fn a_new_socket_cuts_nobody() {
    let house = house();
    let mut page = UnixStream::connect(house.socket("page")).unwrap();
    let mut look = UnixStream::connect(house.socket("look")).unwrap();
    let config = fs::read_to_string(house.alice.home().join("config.toml")).unwrap();
    let more =
        format!("[[socket]]\npath = '{}'\nallow = ['read']\n", house.socket("new").display());
    let changed = config.replace("allow = ['read']", "allow = ['send', 'read']");
    file(house.alice.home(), "config.toml", &(changed + &more));
    house.daemons[0].reload();
    assert!(call(&house.socket("new"), "contact.list", &json!({})).get("result").is_some());
    let ask = |stream: &mut UnixStream| {
        let _ = writeln!(stream, r#"{{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}}"#);
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap_or_default();
        answer.contains("openrpc")
    };
    assert!(ask(&mut page), "it did not change");
    assert!(!ask(&mut look), "its rule is another one");
}

/// However many hang on the sockets of others, the owner's own answers.
#[test]
fn each_socket_has_its_own_share() {
    let house = house();
    let mut hanging = Vec::new();
    for name in ["page", "look"] {
        let mut served = 0;
        loop {
            let mut stream = UnixStream::connect(house.socket(name)).unwrap();
            writeln!(stream, r#"{{"jsonrpc":"2.0","id":1,"method":"x"}}"#).unwrap();
            let mut answer = String::new();
            BufReader::new(&stream).read_line(&mut answer).unwrap();
            if answer.contains("busy") {
                assert!(answer.contains("clients already"), "{answer}");
                break;
            }
            served += 1;
            hanging.push(stream);
        }
        assert_eq!(served, 24, "{name}");
    }
    house.alice.amsctl(&["status"]).exits(0);
}
