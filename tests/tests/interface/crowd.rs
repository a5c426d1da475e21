//! Many callers at once, and callers that do not behave, on a real daemon.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use ams_rpc::client::Client;
use ams_rpc::methods::{history, queue};
use ams_rpc::types::{HistoryParams, Message, MessageId, QueueListParams};
use ams_tests::process::{Process, command};
use ams_tests::shell::{self, Operator, User};
use serde_json::{Value, json};

/// Alice with bob among her contacts, both of them at a relay, and bob is away.
fn alice_alone(folder: &Path) -> (User, Process, Operator) {
    let relay = Operator::start(folder, &[]);
    let [(alice, of_alice), _] = shell::friends(&relay, folder);
    (alice, of_alice, relay)
}

fn socket(user: &User) -> UnixStream {
    UnixStream::connect(user.home().join("amsd.sock")).unwrap()
}

fn send_line(id: usize) -> String {
    let params = json!({"to": "bob", "body": id.to_string(), "id": format!("{id:032x}")});
    json!({"jsonrpc": "2.0", "id": id, "method": "message.send", "params": params}).to_string()
}

/// Everything in alice's queue, in its order.
fn queued(alice: &User) -> Vec<Message> {
    let mut client = Client::connect(&alice.home().join("amsd.sock")).unwrap();
    let (mut all, mut after): (Vec<Message>, Option<MessageId>) = (Vec::new(), None);
    loop {
        let page = client
            .call::<queue::List>(&QueueListParams { after, ..QueueListParams::default() })
            .unwrap();
        after = page.messages.last().map(|queued| queued.message.id);
        all.extend(page.messages.into_iter().map(|queued| queued.message));
        if !page.more {
            return all;
        }
    }
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

#[test]
fn two_hundred_commands_at_once_are_all_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _daemon, _relay) = alice_alone(folder.path());
    let all: Vec<_> = (0..200)
        .map(|number| {
            let mut amsctl = command("amsctl");
            amsctl.arg("--home").arg(alice.home());
            amsctl.args(["send", "bob", "--print-id", &number.to_string()]);
            amsctl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut ids = BTreeSet::new();
    for child in all {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        ids.insert(String::from_utf8(ended.stdout).unwrap().trim().to_owned());
    }
    assert_eq!(ids.len(), 200);
    let queue = queued(&alice);
    assert_eq!(queue.iter().map(|message| message.id.to_string()).collect::<BTreeSet<_>>(), ids);
}

/// Answers may come in any order; what was sent is accepted in the order of its lines.
#[test]
fn sends_of_one_connection_keep_their_order() {
    const COUNT: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let (alice, _daemon, _relay) = alice_alone(folder.path());
    let mut stream = socket(&alice);
    let answers = BufReader::new(stream.try_clone().unwrap());
    let writing = std::thread::spawn(move || {
        for id in 0..COUNT {
            writeln!(stream, "{}", send_line(id)).unwrap();
        }
        // Half closed: what was asked for is answered all the same.
        stream.shutdown(Shutdown::Write).unwrap();
    });
    let answered: BTreeSet<u64> = answers
        .lines()
        .map(|line| {
            let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(answer["result"]["exit"], 0, "{answer}");
            answer["id"].as_u64().unwrap()
        })
        .collect();
    writing.join().unwrap();
    assert_eq!(answered.len(), COUNT);
    let expected: Vec<String> = (0..COUNT).map(|id| id.to_string()).collect();
    assert_eq!(bodies(&queued(&alice)), expected);
}

/// Batches and notifications do what single calls do.
#[test]
fn a_batch_sends_in_its_order_and_a_notification_without_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _daemon, _relay) = alice_alone(folder.path());
    let mut stream = socket(&alice);
    let mut silent: Value = serde_json::from_str(&send_line(1)).unwrap();
    silent.as_object_mut().unwrap().remove("id");
    writeln!(stream, "{silent}").unwrap();
    writeln!(stream, "[{},{silent},{}]", send_line(2), send_line(3)).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    let answers: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answers.as_array().unwrap().len(), 2, "{answers}");
    assert_eq!(bodies(&queued(&alice)), ["1", "2", "3"]);
}

/// A client that dies after it wrote its lines has sent them; one that dies in the middle of a line
/// has sent the ones before it, and nobody else notices.
#[test]
fn a_client_that_dies_leaves_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _daemon, _relay) = alice_alone(folder.path());
    let mut stream = socket(&alice);
    for id in 1..=3 {
        writeln!(stream, "{}", send_line(id)).unwrap();
    }
    let part = send_line(4);
    stream.write_all(&part.as_bytes()[..part.len() / 2]).unwrap();
    drop(stream);
    alice.until("what it said", |client| {
        let all = client.call::<history::List>(&HistoryParams::default()).unwrap().messages;
        (all.len() == 3).then_some(())
    });
    assert_eq!(bodies(&queued(&alice)), ["1", "2", "3"]);
    alice.amsctl(&["status"]).exits(0);
}
