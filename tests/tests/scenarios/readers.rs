//! What arrived is kept until a reader took it.

use ams_rpc::methods::inbox;
use ams_rpc::types::{InboxNextParams, Message, NoParams, ReaderParams};
use ams_tests::Net;
use ams_tests::connection::{failure, refusal};

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_taken_before_it_was_acknowledged() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.send("bob", "1").await;
    alice.delivers("bob", "2").await;
    let cursor = {
        let reader = bob.reader("default").await;
        let batch = reader.look(reader.next()).await.unwrap();
        assert_eq!(bodies(&batch.messages), ["1", "2"]);
        batch.cursor.unwrap()
    };
    // The connection is gone without an acknowledgement.
    let reader = bob.reader("default").await;
    let one = reader.look(InboxNextParams { max: Some(1), ..reader.next() }).await.unwrap();
    assert_eq!(bodies(&one.messages), ["1"]);
    assert!(one.more);
    reader.acknowledge(&one.cursor.unwrap()).await;
    assert_eq!(bodies(&reader.takes(1).await), ["2"]);
    // What was acknowledged stays so: an old cursor takes nothing back.
    reader.acknowledge(&cursor).await;
    assert!(reader.takes_all().await.is_empty());
    bob.restart().await;
    assert!(bob.reader("default").await.takes_all().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_program_on_the_same_reader_is_refused() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "1").await;
    let first = bob.reader("default").await;
    let batch = first.look(first.next()).await.unwrap();
    let second = bob.reader("default").await;
    let refused = failure(second.look(second.next()).await);
    assert_eq!(refused.data.as_ref().unwrap().kind, "reader_busy");
    assert_eq!(refused.exit(), 6);
    // Others are not concerned, and whoever only looks holds nothing.
    let peek = InboxNextParams { peek: Some(true), ..second.next() };
    assert_eq!(bodies(&second.look(peek).await.unwrap().messages), ["1"]);
    let other = bob.reader("other").await;
    other.look(other.next()).await.unwrap();

    first.acknowledge(&batch.cursor.unwrap()).await;
    assert!(second.look(second.next()).await.unwrap().messages.is_empty());
    // Whoever goes away without an acknowledgement lets it go, too.
    alice.delivers("bob", "2").await;
    let held = first.look(first.next()).await.unwrap();
    assert_eq!(bodies(&held.messages), ["2"]);
    assert_eq!(refusal(second.look(second.next()).await), "reader_busy");
    drop(first);
    assert_eq!(bodies(&second.takes(1).await), ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_holds_the_reader_and_is_woken() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let waiting = bob.reader("default").await;
    let (batch, ()) = tokio::join!(waiting.waits(), async {
        // Until the first one is there, a second is let in; then it is refused.
        loop {
            let second = bob.reader("default").await;
            if second.look(second.next()).await.is_err() {
                break;
            }
        }
        alice.send("bob", "wake up").await;
    });
    assert_eq!(bodies(&batch.unwrap().messages), ["wake up"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_contact_has_a_position_of_its_own() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let carol = net.person("carol").await;
    carol.meet(&bob).await;
    alice.delivers("bob", "a1").await;
    carol.delivers("bob", "c1").await;
    alice.delivers("bob", "a2").await;
    let reader = bob.reader("default").await;
    assert_eq!(bodies(&reader.takes_from(1, Some("carol")).await), ["c1"]);
    // Nothing of the others was skipped, and nothing is shown again.
    assert_eq!(bodies(&reader.takes_all().await), ["a1", "a2"]);
    carol.delivers("bob", "c2").await;
    assert_eq!(bodies(&reader.takes_all().await), ["c2"]);
    let unknown = InboxNextParams { from: Some("dave".to_owned()), ..reader.next() };
    assert_eq!(refusal(reader.look(unknown).await), "no_such_contact");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_begins_when_it_is_made_or_at_the_start() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    alice.delivers("bob", "before").await;
    let late = bob.reader("late").await;
    assert!(late.takes_all().await.is_empty());
    let whole = bob.reader("whole").await;
    let from_start = InboxNextParams { from_start: Some(true), ..whole.next() };
    assert_eq!(bodies(&whole.look(from_start.clone()).await.unwrap().messages), ["before"]);
    alice.delivers("bob", "after").await;
    assert_eq!(bodies(&late.takes_all().await), ["after"]);
    // It acts only when the reader is made.
    let again = InboxNextParams { from_start: Some(true), ..late.next() };
    assert!(late.look(again).await.unwrap().messages.is_empty());
    assert_eq!(bodies(&whole.takes_all().await), ["before", "after"]);

    let readers = bob.call::<inbox::Readers>(NoParams {}).await.readers;
    let unread: Vec<(&str, u64)> =
        readers.iter().map(|reader| (reader.name.as_str(), reader.unread)).collect();
    assert!(unread.contains(&("late", 0)) && unread.contains(&("whole", 0)), "{unread:?}");
    drop(late);
    bob.call::<inbox::Forget>(ReaderParams { reader: "late".to_owned() }).await;
    let gone = ReaderParams { reader: "late".to_owned() };
    assert_eq!(refusal(bob.try_call::<inbox::Forget>(gone).await), "no_such_reader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_takes_nothing() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let id = alice.delivers("bob", "1").await;
    let reader = bob.reader("default").await;
    let peek = InboxNextParams { peek: Some(true), ..reader.next() };
    for _ in 0..2 {
        let seen = reader.look(peek.clone()).await.unwrap();
        assert_eq!(bodies(&seen.messages), ["1"]);
        assert!(seen.cursor.is_some());
    }
    bob.delivers("alice", "a barrier").await;
    assert_eq!(alice.message(id).await.message.state.as_str(), "delivered");
    assert_eq!(bodies(&reader.takes_all().await), ["1"]);
}
