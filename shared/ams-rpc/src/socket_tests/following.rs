//! Subscriptions, and how many there may be.

use super::*;

#[tokio::test]
async fn subscriptions_notify_in_one_shape_and_end() {
    let host = Host::start();
    let mut alice = host.client().await;
    let id = alice.ask(json!(1), "test.count", json!({"n": 5})).await["result"].clone();
    assert!(id.is_string());
    for number in 5..8 {
        assert_eq!(
            alice.hear().await,
            json!({
                "jsonrpc": "2.0",
                "method": "event",
                "params": {"subscription": id, "result": number}
            })
        );
    }
    // Nobody else can end it.
    let mut mallory = host.client().await;
    let other = mallory.ask(json!(1), "test.uncount", json!({"subscription": id})).await;
    assert_eq!(other["result"], false);
    alice
        .say(
            &json!({"jsonrpc": "2.0", "id": 2, "method": "test.uncount",
            "params": {"subscription": id}})
            .to_string(),
        )
        .await;
    let answer = loop {
        let line = alice.hear().await;
        if line["id"] == 2 {
            break line;
        }
    };
    assert_eq!(answer["result"], true);
    host.count_ended.notified().await;

    let mut alice = host.client().await;
    let rejected = alice.ask(json!(3), "test.count", json!({"n": 0})).await;
    assert_eq!(rejected["error"]["data"]["kind"], "bad_value");
    let unknown = alice.ask(json!(4), "test.count", json!({"m": 0})).await;
    assert_eq!(unknown["error"]["message"], "test.count has no parameter `m`");
    alice.say(r#"[{"jsonrpc":"2.0","id":5,"method":"test.count","params":{"n":1}}]"#).await;
    assert_eq!(alice.hear().await[0]["error"]["code"], -32600);
    let unknown = alice.ask(json!(6), "test.uncount", json!({"subscription": "x", "y": 1})).await;
    assert_eq!(unknown["error"]["code"], -32602);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_up_only_itself() {
    let host = Host::start();
    let mut slow = host.client().await;
    slow.ask(json!(1), "test.count", json!({"n": 1})).await;
    let mut bob = host.client().await;
    // Others are served until its count stands still, which it does at a bound.
    let mut last = 0;
    let mut still = 0;
    while still < 50 {
        bob.echo("hi").await;
        let now = host.counted.load(Ordering::SeqCst);
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    assert!(last < 50_000, "{last} notifications were taken from a counter that nobody reads");
    for number in 1..=last + 100 {
        assert_eq!(slow.hear().await["params"]["result"], number);
    }
}

#[tokio::test]
async fn clients_and_subscriptions_are_counted() {
    let host = Host::start();
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut client = host.client().await;
        client.echo("hi").await;
        clients.push(client);
    }
    let mut one_more = host.client().await;
    assert_eq!(one_more.hear().await["error"]["data"]["kind"], "busy");
    assert_eq!(one_more.line().await, None);
    clients.pop();
    loop {
        let mut again = host.client().await;
        again.say(r#"{"jsonrpc":"2.0","id":7,"method":"test.echo","params":{"text":"hi"}}"#).await;
        if again.hear().await["id"] == 7 {
            break;
        }
    }

    let alice = clients.last_mut().unwrap();
    let mut answered = 0;
    for id in 1..=MAX_SUBSCRIPTIONS + 1 {
        alice
            .say(
                &json!({"jsonrpc": "2.0", "id": id, "method": "test.count", "params": {"n": 1}})
                    .to_string(),
            )
            .await;
    }
    while answered <= MAX_SUBSCRIPTIONS {
        let line = alice.hear().await;
        if let Some(id) = line["id"].as_u64() {
            answered += 1;
            let refused = id > u64::from(MAX_SUBSCRIPTIONS);
            assert_eq!(line["error"]["data"]["kind"] == "busy", refused, "{line}");
        }
    }
}
