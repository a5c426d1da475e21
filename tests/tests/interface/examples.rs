//! Every example of the documents is what happens: it is called, in its order, on real programs,
//! and what they answer has the shape that is shown and that the schema says.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use ams_rpc::methods::{contact, identity, inbox, message, peer};
use ams_rpc::openrpc::{ADMIN_EXAMPLES, EXAMPLES, Example, examples};
use ams_rpc::types::{LinkState, MessageParams, NoParams, Presence};
use ams_tests::PATIENCE;
use ams_tests::process::file;
use ams_tests::shell::{Operator, PASSWORD, User};
use serde_json::{Value, json};

use crate::document::read;
use crate::schema::Schemas;

/// Fields whose values are as the example shows them. Others, like times and ids, are of the run.
const AS_SHOWN: &[&str] = &[
    "again",
    "body",
    "contact",
    "direction",
    "exit",
    "from",
    "more",
    "name",
    "output",
    "priority",
    "reached",
    "reply_to",
    "state",
    "tags",
    "title",
    "to",
    "unread",
    "user",
    "verified",
];

/// A program in any language: a socket, and a line for each call.
struct Talk {
    stream: BufReader<UnixStream>,
    /// What the examples show in place of what is true in this run.
    stands_for: BTreeMap<String, String>,
    document: Value,
}

impl Talk {
    fn open(socket: &Path, document: &str) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let document = read(document);
        Self { stream: BufReader::new(stream), stands_for: BTreeMap::new(), document }
    }

    /// `shown` in the examples is `actual` here.
    fn knows(&mut self, shown: &str, actual: &str) {
        self.stands_for.insert(shown.to_owned(), actual.to_owned());
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        writeln!(self.stream.get_mut(), "{call}").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "{method}: no answer");
            let answer: Value = serde_json::from_str(&line).unwrap();
            // Others are events.
            if answer["id"] == 1 {
                return answer;
            }
        }
    }

    /// Makes the call that an example shows.
    fn makes(&mut self, example: &Example) {
        let mut params = Value::Object(example.params.clone());
        self.translate(&mut params);
        let answer = self.call(&example.method, &params);
        let Some(result) = answer.get("result") else {
            panic!("{} {params}: {answer}", example.method);
        };
        self.check(example, result);
        if let Some(shown) = &example.result {
            assert_alike(&example.method, shown, result);
            self.learn(shown, result);
        }
    }

    fn translate(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(actual) = self.stands_for.get(text) {
                    text.clone_from(actual);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.translate(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.translate(field)),
            _ => {}
        }
    }

    fn learn(&mut self, shown: &Value, actual: &Value) {
        match (shown, actual) {
            (Value::String(shown), Value::String(actual)) if shown != actual => {
                self.knows(shown, actual);
            }
            (Value::Array(shown), Value::Array(actual)) => {
                shown.iter().zip(actual).for_each(|(shown, actual)| self.learn(shown, actual));
            }
            (Value::Object(shown), Value::Object(actual)) => {
                for (name, shown) in shown {
                    self.learn(shown, &actual[name]);
                }
            }
            _ => {}
        }
    }

    /// Example and answer are what the document says of the method.
    fn check(&self, example: &Example, result: &Value) {
        let methods = self.document["methods"].as_array().unwrap();
        let method = methods.iter().find(|method| method["name"] == example.method.as_str());
        let method = method.unwrap();
        let schemas = Schemas::new(&[]);
        let fits = |schema, value: &Value| {
            let mistakes = schemas.mistakes(&self.document, schema, value);
            assert_eq!(mistakes, [""; 0], "{}", example.method);
        };
        fits(&method["result"]["schema"], result);
        if let Some(shown) = &example.result {
            fits(&method["result"]["schema"], shown);
        }
        for param in method["params"].as_array().unwrap() {
            let name = param["name"].as_str().unwrap();
            match example.params.get(name) {
                Some(value) => fits(&param["schema"], value),
                None => assert_ne!(param["required"], true, "{} lacks {name}", example.method),
            }
        }
    }
}

/// The same names, the same types, and where that is a promise the same values. A list has what is
/// shown, and there may be more of the same.
fn assert_alike(place: &str, shown: &Value, actual: &Value) {
    match (shown, actual) {
        (Value::Object(shown), Value::Object(actual)) => {
            let names = |fields: &serde_json::Map<String, Value>| {
                fields.keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(names(shown), names(actual), "{place}");
            for (name, shown) in shown {
                let place = format!("{place}/{name}");
                let actual = &actual[name];
                if AS_SHOWN.contains(&name.as_str()) {
                    assert_eq!(shown, actual, "{place}");
                }
                assert_alike(&place, shown, actual);
            }
        }
        (Value::Array(shown), Value::Array(actual)) => {
            assert!(shown.len() <= actual.len(), "{place}: {actual:?} has less than is shown");
            for (shown, actual) in shown.iter().zip(actual) {
                assert_alike(place, shown, actual);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{place}: {actual} is not of the kind of {shown}"),
    }
}

/// Alice's side of a story whose other people do what they have to before an example can be.
#[test]
fn the_daemons_examples_are_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let [alice, bob, carol, mallory] =
        ["alice", "bob", "carol", "mallory"].map(|name| User::new(&folder.path().join(name)));
    has_a_hook(&alice);
    let mut daemon = alice.starts_daemon();
    let _daemons = [&bob, &carol, &mallory].map(User::starts_daemon);
    for (user, name) in [(&bob, "bob"), (&carol, "carol"), (&mallory, "mallory")] {
        user.joins(&relay.invites(name)).exits(0);
    }
    let mut talk = Talk::open(&alice.home().join("amsd.sock"), "shared/ams-rpc/openrpc.json");
    talk.knows("ams://relay.example.org:7311/invite#AQ", &relay.invites("alice"));
    // What she had before, on another machine.
    let attic = User::new(&folder.path().join("attic"));
    let _attic = attic.starts_daemon();
    let [old, new] = ["old.backup", "new.backup"].map(|name| folder.path().join(name));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    attic.amsctl_with(&["backup", old, "--passphrase-file", "-"], PASSWORD).exits(0);
    talk.knows("/home/alice/old.backup", old);
    talk.knows("/home/alice/new.backup", new);

    // Somebody who can be met without a relay, and takes everybody.
    let erin = User::new(&folder.path().join("erin"));
    std::fs::create_dir(erin.home()).unwrap();
    std::fs::set_permissions(erin.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(erin.home().join("config.toml"), "requests = \"accept\"\n").unwrap();
    let _erin = erin.starts_daemon_with(&["--listen", "127.0.0.1:0"]);
    let links = erin.until("a link", |client| {
        Some(client.call::<identity::Show>(&NoParams {}).unwrap().peer_links)
    });
    talk.knows("ams://erin.example.org:7310/peer#AQ", &links[0]);

    let mut answering: Option<JoinHandle<()>> = None;
    for example in examples(EXAMPLES).unwrap() {
        match example.method.as_str() {
            "contact.requests" => {
                carol.amsctl(&["contact", "add", "alice@home"]).exits(0);
                alice_is_asked(&alice, 1);
                mallory.amsctl(&["contact", "add", "alice@home"]).exits(0);
                alice_is_asked(&alice, 2);
            }
            "contact.rename" => alice.can_write_to("carol"),
            "contact.list" => {
                bob.accepts("alice");
                alice.can_write_to("bob");
                bob.can_write_to("alice");
                alice.until("bob to be seen", |client| {
                    let shown = client.call::<contact::List>(&NoParams {}).unwrap().contacts;
                    let bob = shown.iter().find(|contact| contact.name == "bob");
                    bob.filter(|bob| bob.presence == Presence::Online).map(|_| ())
                });
            }
            "message.ask" => {
                // Bob answers when it came.
                let (bob, id) = (bob.clone(), example.params["id"].clone());
                answering = Some(std::thread::spawn(move || {
                    let timeout = ["recv", "--timeout", "1m", "--json"];
                    loop {
                        let got = bob.amsctl(&timeout).ok();
                        if got.contains("\"Deploy?\"") {
                            break;
                        }
                    }
                    bob.amsctl(&["answer", id.as_str().unwrap(), "yes"]).exits(0);
                }));
            }
            "message.answer" => {
                answering.take().unwrap().join().unwrap();
                let id = example.params["id"].as_str().unwrap();
                let bob = bob.clone();
                let asked = json!({"to": "alice", "body": "Lunch?", "choices": ["yes", "no"],
                    "id": id, "timeout": "1m"});
                let asking = asked.to_string();
                answering = Some(std::thread::spawn(move || {
                    let answered = bob.amsctl(&["call", "message.ask", &asking]).ok();
                    assert!(answered.contains("\"no\""), "{answered}");
                }));
                alice.until("a question", |client| {
                    let id = id.parse().unwrap();
                    client.call::<message::Show>(&MessageParams { id, contact: None }).ok()
                });
            }
            // By then it has come.
            "relay.password" => answering.take().unwrap().join().unwrap(),
            "peer.list" => alice.until("a direct link", |client| {
                let peers = client.call::<peer::List>(&NoParams {}).unwrap().peers;
                peers.iter().any(|peer| peer.state == LinkState::Up).then_some(())
            }),
            "inbox.next" => {
                let thanks = ["send", "alice", "--wait", "delivered", "--timeout", "1m", "thanks"];
                bob.amsctl(&thanks).exits(0);
            }
            "inbox.readers" => alice.until("one reader to be done", |client| {
                let readers = client.call::<inbox::Readers>(&NoParams {}).unwrap().readers;
                readers
                    .iter()
                    .any(|reader| reader.name == "bot" && reader.unread == 0)
                    .then_some(())
            }),
            _ => {}
        }
        talk.makes(&example);
    }
    // The last one stopped it.
    assert!(daemon.wait().success());
}

/// As her config says.
fn has_a_hook(alice: &User) {
    let private = fs::Permissions::from_mode(0o700);
    fs::create_dir(alice.home()).unwrap();
    fs::set_permissions(alice.home(), private.clone()).unwrap();
    let page = file(alice.home(), "page", "#!/bin/sh\necho paged\n");
    fs::set_permissions(&page, private).unwrap();
    let config = format!("[[hook]]\nname = 'page'\nrun = ['{}']\n", page.display());
    file(alice.home(), "config.toml", &config);
}

fn alice_is_asked(alice: &User, times: usize) {
    alice.until("requests", |client| {
        let requests = client.call::<contact::Requests>(&NoParams {}).unwrap();
        (requests.incoming.len() == times).then_some(())
    });
}

#[test]
fn the_relays_examples_are_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Operator::start(folder.path(), &[]);
    let bob = User::new(&folder.path().join("bob"));
    let _daemon = bob.starts_daemon();
    bob.joins(&relay.invites("bob")).exits(0);
    let socket = relay.data().join("relay.sock");
    let mut talk = Talk::open(&socket, "shared/ams-rpc/openrpc-admin.json");
    let backup = folder.path().join("relay.backup");
    talk.knows("/var/backups/relay.backup", backup.to_str().unwrap());
    for example in examples(ADMIN_EXAMPLES).unwrap() {
        talk.makes(&example);
    }
}
