//! Waiting for what becomes of a message.

use std::time::Duration;

use ams_rpc::client::CallError;
use ams_rpc::methods::{inbox, message};
use ams_rpc::types::{LinkState, MessageId, Period, SendParams, Stage, State, WaitParams};
use ams_tests::connection::refusal;
use ams_tests::{Net, PATIENCE};

const SOON: Option<Period> = Some(Period(Duration::from_millis(50)));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_over_says_how_far_it_came() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    let sent = alice.send("bob", "held").await;
    alice.message_is(sent, State::Sent).await;
    let ended = alice.wait(sent, Stage::Delivered, SOON).await;
    assert_eq!((ended.state, ended.reached, ended.exit), (State::Sent, false, 10));

    net.home().stop().await;
    alice.link_is(net.home(), LinkState::Down).await;
    let queued = alice.send("bob", "queued").await;
    let ended = alice.wait(queued, Stage::Sent, SOON).await;
    assert_eq!((ended.state, ended.reached, ended.exit), (State::Queued, false, 8));

    net.home().start().await;
    bob.start().await;
    alice.reaches(queued, Stage::Delivered).await;
    let ended = alice.wait(queued, Stage::Read, SOON).await;
    assert_eq!((ended.state, ended.reached, ended.exit), (State::Delivered, false, 10));

    let unknown =
        WaitParams { id: MessageId([1; 16]), stage: Stage::Sent, timeout: None, contact: None };
    assert_eq!(refusal(alice.try_call::<message::Wait>(unknown).await), "no_such_message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sending_and_waiting_is_one_call() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let params = SendParams {
        wait: Some(Stage::Delivered),
        timeout: Some(Period(PATIENCE)),
        ..SendParams::new("bob", "hi")
    };
    let ended = alice.try_send(params).await.unwrap();
    assert_eq!((ended.state, ended.reached, ended.exit), (State::Delivered, true, 0));
    bob.reads(&["hi"]).await;
}

/// What `amsctl` does: the daemon goes away in the middle of a wait, and the same call is repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_goes_on_after_the_daemons_restart() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    bob.stop().await;
    let id = MessageId([3; 16]);
    let params = || SendParams {
        id: Some(id),
        wait: Some(Stage::Delivered),
        timeout: Some(Period(PATIENCE)),
        ..SendParams::new("bob", "hi")
    };
    let (ended, ()) = tokio::join!(alice.try_send(params()), async {
        alice.message_is(id, State::Sent).await;
        alice.stop().await;
    });
    assert!(ended.as_ref().is_err_and(CallError::is_away), "{ended:?}");
    alice.start().await;
    let (ended, ()) = tokio::join!(alice.try_send(params()), bob.start());
    assert_eq!(ended.unwrap().state, State::Delivered);
    bob.reads(&["hi"]).await;
    assert_eq!(bob.unread().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_messages_is_told_that_the_daemon_stops() {
    let net = Net::new().await;
    let (alice, bob) = net.friends("alice", "bob").await;
    let reader = bob.reader("default").await;
    let (ended, ()) = tokio::join!(reader.waits(), async {
        // Only once it waits is another one refused.
        loop {
            let other = bob.reader("default").await;
            if other.look(other.next()).await.is_err() {
                break;
            }
        }
        bob.stop().await;
    });
    assert!(ended.as_ref().is_err_and(CallError::is_away), "{ended:?}");
    bob.start().await;
    alice.send("bob", "after").await;
    bob.reads(&["after"]).await;
    let readers = bob.call::<inbox::Readers>(ams_rpc::types::NoParams {}).await;
    assert_eq!(readers.readers.len(), 1);
}
