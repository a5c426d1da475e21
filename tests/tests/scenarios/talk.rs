//! People who are all there talk to each other.

use std::sync::Arc;

use ams_rpc::methods::{history, message};
use ams_rpc::types::{
    Direction, HistoryClearParams, MAX_BODY, MessageId, MessageParams, SendParams, Stage, State,
};
use ams_tests::Net;
use ams_tests::connection::{failure, refusal};
use ams_tests::ledger::{Balance, assert_even, balance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_meet_and_talk_both_ways() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;

    let id = alice.delivers("bob", "hi").await;
    let [got] = <[_; 1]>::try_from(bob.receives(1).await).unwrap();
    assert_eq!((got.id, got.body.as_str(), got.direction), (id, "hi", Direction::In));
    assert_eq!((got.from.as_str(), got.to.as_str()), ("alice", "me"));
    assert_eq!(got.via.as_deref(), Some("relay:home"));
    assert!(!got.verified, "nobody compared anything");
    assert!(got.time_received.is_some());

    bob.delivers("alice", "hello").await;
    alice.reads(&["hello"]).await;
    alice.queue_is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_arrives_as_it_was_sent() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let longest = "ü".repeat(MAX_BODY / 2);
    let texts = ["\u{1b}[31mred\u{7}\r\n", " ", "\0", "🦀 \u{202e}drawkcab", longest.as_str()];
    for text in texts {
        alice.send("bob", text).await;
    }
    bob.reads(&texts).await;

    let too_long = SendParams::new("bob", "x".repeat(MAX_BODY + 1));
    assert_eq!(refusal(alice.try_send(too_long).await), "too_long");
    assert_eq!(refusal(alice.try_send(SendParams::new("bob", "")).await), "empty_body");
    assert!(alice.queue().await.iter().all(|message| message.body.len() <= MAX_BODY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_travels_with_a_message_arrives_with_it() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let first = alice.send("bob", "first").await;
    let params = SendParams {
        reply_to: Some(first),
        title: Some("disk".to_owned()),
        priority: Some(5),
        tags: Some(vec!["a".to_owned(), "b".to_owned()]),
        ..SendParams::new("bob", "full")
    };
    alice.try_send(params).await.unwrap();
    let got = &bob.receives(2).await[1];
    assert_eq!(got.reply_to, Some(first));
    assert_eq!(got.title.as_deref(), Some("disk"));
    assert_eq!(got.priority, Some(5));
    assert_eq!(got.tags, ["a", "b"]);
}

/// Far more than may be under way at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_both_ways_arrive_in_order() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let texts: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let sending = async {
        for text in &texts {
            alice.send("bob", text).await;
            bob.send("alice", text).await;
        }
    };
    let ((), at_bob, at_alice) =
        tokio::join!(sending, bob.receives(texts.len()), alice.receives(texts.len()));
    for (whose, got) in [("bob", at_bob), ("alice", at_alice)] {
        let shown: Vec<String> = got.into_iter().map(|message| message.body).collect();
        assert_even(whose, &texts, &shown);
    }
    alice.queue_is_empty().await;
    bob.queue_is_empty().await;
}

/// Twenty scripts at once, each on its own connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_at_once_lose_nothing() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let alice = Arc::new(alice);
    let mut scripts = tokio::task::JoinSet::new();
    for script in 0..20 {
        let alice = Arc::clone(&alice);
        scripts.spawn(async move {
            let connection = alice.connection().await;
            for number in 0..10 {
                let params = SendParams::new("bob", format!("{script} {number}"));
                connection.call::<message::Send>(params).await;
            }
        });
    }
    scripts.join_all().await;
    let accepted: Vec<String> =
        (0..20).flat_map(|s| (0..10).map(move |n| format!("{s} {n}"))).collect();
    let got = bob.receives(accepted.len()).await;
    let shown: Vec<String> = got.into_iter().map(|message| message.body).collect();
    // Between two scripts nobody promised an order.
    let whole = balance(&accepted, &shown);
    assert_eq!(Balance { disordered: 0, ..whole }, Balance::EVEN);
    for script in 0..20 {
        let of = |text: &&String| text.split(' ').next() == Some(&script.to_string());
        let accepted: Vec<String> = accepted.iter().filter(of).cloned().collect();
        let shown: Vec<String> = shown.iter().filter(of).cloned().collect();
        assert_even(&format!("script {script}"), &accepted, &shown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_people_write_to_one() {
    let net = Net::new().await;
    let bob = net.person("bob").await;
    let mut writers = Vec::new();
    for name in ["alice", "carol", "dave"] {
        let writer = net.person(name).await;
        writer.meet(&bob).await;
        writers.push(writer);
    }
    for round in 0..20 {
        for writer in &writers {
            writer.send("bob", format!("{} {round}", writer.name())).await;
        }
    }
    let got = bob.receives(60).await;
    for writer in &writers {
        let accepted: Vec<String> = (0..20).map(|n| format!("{} {n}", writer.name())).collect();
        let of = got.iter().filter(|message| message.from == writer.name());
        let shown: Vec<String> = of.map(|message| message.body.clone()).collect();
        assert_even(writer.name(), &accepted, &shown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_id_again_sends_nothing_twice() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let id = MessageId([7; 16]);
    let params = |body: &str| SendParams { id: Some(id), ..SendParams::new("bob", body) };

    alice.try_send(params("once")).await.unwrap();
    alice.try_send(params("once")).await.unwrap();
    alice.reaches(id, Stage::Delivered).await;
    let again = alice.try_send(params("once")).await.unwrap();
    assert_eq!((again.id, again.state), (id, State::Delivered));

    let other = failure(alice.try_send(params("another text")).await);
    assert_eq!(other.data.as_ref().unwrap().kind, "id_conflict");
    assert_eq!(other.exit(), 6);
    let carol = net.person("carol").await;
    alice.meet(&carol).await;
    let elsewhere = SendParams { id: Some(id), ..SendParams::new("carol", "once") };
    assert_eq!(refusal(alice.try_send(elsewhere).await), "id_conflict");

    alice.restart().await;
    let again = alice.try_send(params("once")).await.unwrap();
    assert_eq!(again.state, State::Delivered);
    alice.delivers("bob", "then").await;
    bob.reads(&["once", "then"]).await;
    assert_eq!(bob.unread().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_says_so() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let id = alice.delivers("bob", "hi").await;
    assert_eq!(alice.message(id).await.message.state, State::Delivered);
    bob.reads(&["hi"]).await;
    alice.reaches(id, Stage::Read).await;
    let whats: Vec<String> =
        alice.message(id).await.steps.into_iter().map(|step| step.what).collect();
    // That the relay took it may be heard later than that bob has it, and is no news then.
    let told: Vec<&str> = whats.iter().map(String::as_str).filter(|what| *what != "sent").collect();
    assert_eq!(told, ["queued", "delivered", "read"]);
}

/// Deleted is not read, whatever is read after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deleted_unread_is_never_called_read() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let deleted = alice.delivers("bob", "deleted").await;
    bob.call::<message::Delete>(MessageParams { id: deleted, contact: None }).await;
    let read = alice.delivers("bob", "read").await;
    bob.reads(&["read"]).await;
    alice.reaches(read, Stage::Read).await;
    let cleared = alice.delivers("bob", "cleared").await;
    bob.call::<history::Clear>(HistoryClearParams { contact: "alice".to_owned() }).await;
    let last = alice.delivers("bob", "last").await;
    bob.reads(&["last"]).await;
    alice.reaches(last, Stage::Read).await;
    for id in [deleted, cleared] {
        assert_eq!(alice.message(id).await.message.state, State::Delivered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_want_to_say_that_they_read_does_not() {
    let net = Net::new().await;
    let alice = net.person("alice").await;
    let bob = net.person_with("bob", |settings| settings.read_receipts = false).await;
    alice.meet(&bob).await;
    let id = alice.delivers("bob", "hi").await;
    bob.reads(&["hi"]).await;
    // What bob says later would say it, too.
    bob.delivers("alice", "later").await;
    alice.reads(&["later"]).await;
    assert_eq!(alice.message(id).await.message.state, State::Delivered);
}
