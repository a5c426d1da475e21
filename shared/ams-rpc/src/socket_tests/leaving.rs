//! Clients that leave, and one that ought to.

use super::*;

#[tokio::test]
async fn a_wait_ends_with_its_client() {
    let host = Host::start();
    let mut alice = host.client().await;
    alice.say(r#"{"jsonrpc":"2.0","id":1,"method":"test.wait"}"#).await;
    let context = host.waits.lock().await.recv().await.unwrap();
    assert!(!context.is_closed());
    // Nothing more to say is not gone.
    alice.0.get_mut().shutdown().await.unwrap();
    host.client().await.echo("a round trip later").await;
    assert!(!context.is_closed());
    drop(alice);
    assert!(context.is_closed(), "at once, before any task has run");
    host.wait_ended.notified().await;
}

#[tokio::test]
async fn a_wait_ends_with_a_client_that_has_more_to_say() {
    let host = Host::start();
    let mut alice = host.client().await;
    // More calls than run at a time, so that nobody reads the end of what she says.
    for _ in 0..70 {
        alice.say(r#"{"jsonrpc":"2.0","id":1,"method":"test.wait"}"#).await;
    }
    let context = host.waits.lock().await.recv().await.unwrap();
    drop(alice);
    context.closed().await;
    host.wait_ended.notified().await;
}

#[tokio::test]
async fn what_was_asked_before_leaving_is_done() {
    let host = Host::start();
    let mut alice = host.client().await;
    for n in 0..200 {
        alice
            .say(&format!(r#"{{"jsonrpc":"2.0","method":"test.order","params":{{"n":{n}}}}}"#))
            .await;
    }
    drop(alice);
    // The counter says so, once it is at least at 200; each call of ours adds one.
    let mut bob = host.client().await;
    loop {
        let answer = bob.ask(json!(1), "test.order", json!({"n": 100})).await;
        if answer["result"].as_u64().unwrap() >= 200 {
            break;
        }
    }
}

#[tokio::test]
async fn a_subscription_ends_with_its_client() {
    let host = Host::start();
    let mut alice = host.client().await;
    alice.ask(json!(1), "test.count", json!({"n": 5})).await;
    drop(alice);
    host.count_ended.notified().await;
}

/// A pipe that was forgotten: its answers stay where they are.
#[tokio::test]
async fn a_client_that_takes_nothing_has_to_go() {
    let host = Host::start();
    let mut alice = host.client().await;
    let call = |method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
    };
    alice.say(&call("test.wait", json!({}))).await;
    let context = host.waits.lock().await.recv().await.unwrap();
    alice.say(&call("test.large", json!({"n": 4_000_000}))).await;
    // From here on time passes as soon as nobody can do anything else.
    tokio::time::pause();
    let an_hour = std::time::Duration::from_secs(3600);
    tokio::time::timeout(an_hour, context.closed()).await.unwrap();
}
