//! Calls and their answers.

use super::*;

#[tokio::test]
async fn calls_notifications_and_batches() {
    let host = Host::start();
    let mut alice = host.client().await;
    alice.echo("hi").await;
    for id in [json!(0), json!("a"), json!(-3), json!(1.5), json!(18_446_744_073_709_551_615_u64)] {
        let answer = alice.ask(id.clone(), "test.echo", json!({"text": "x"})).await;
        assert_eq!(answer, json!({"jsonrpc": "2.0", "id": id, "result": "x"}));
    }
    // A notification has no answer, even where it fails; blank lines mean nothing.
    alice.say(r#"{"jsonrpc":"2.0","method":"test.echo","params":{"text":"x"}}"#).await;
    alice.say(r#"{"jsonrpc":"2.0","method":"nothing"}"#).await;
    alice.say("").await;
    alice.say(r#"[{"jsonrpc":"2.0","method":"nothing"}]"#).await;
    alice
        .say(concat!(
            r#"[{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":"a"}},"#,
            r#"{"jsonrpc":"2.0","method":"test.echo","params":{"text":"b"}},5,"#,
            r#"{"jsonrpc":"2.0","id":-2,"method":"test.echo","params":{"text":"c"}}]"#
        ))
        .await;
    let answers = alice.hear().await;
    assert_eq!(answers[0]["result"], "a");
    assert_eq!(answers[1]["error"]["code"], -32600);
    assert_eq!(answers[1]["id"], Value::Null);
    assert_eq!(answers[2], json!({"jsonrpc": "2.0", "id": -2, "result": "c"}));
    assert_eq!(answers.as_array().unwrap().len(), 3);
}

/// What was done is told, and what found no room says so under its own id.
#[tokio::test]
async fn a_batch_keeps_as_much_as_one_answer() {
    let host = Host::start();
    let mut alice = host.client().await;
    let large =
        |id, n| json!({"jsonrpc": "2.0", "id": id, "method": "test.large", "params": {"n": n}});
    let batch = [large(1, 3_000_000), large(2, 3_000_000), large(3, 10), large(4, 1_000_000)];
    alice.say(&Value::from(batch.to_vec()).to_string()).await;
    let answers = alice.hear().await;
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(answers[0]["result"].as_str().unwrap().len(), 3_000_000);
    assert_eq!(answers[1]["error"]["data"]["kind"], "answer_too_large");
    assert_eq!(answers[2]["result"], "x".repeat(10));
    assert_eq!(answers[3]["result"].as_str().unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn mistakes_are_named_and_the_connection_goes_on() {
    let host = Host::start();
    let mut alice = host.client().await;
    let answer = alice.ask(json!(1), "test.echo", json!({"txt": 1, "text": "x", "b": 2})).await;
    let error = &answer["error"];
    assert_eq!(error["code"], -32602);
    assert_eq!(error["message"], "test.echo has no parameter `b`, `txt`");
    assert_eq!(error["data"]["kind"], "invalid_params");
    assert_eq!(error["data"]["exit"], 2);
    assert_eq!(error["data"]["hint"], "test.echo takes loud, text");
    let answer = alice.ask(json!(1), "test.echo", json!({"text": 5})).await;
    assert_eq!(answer["error"]["message"], "`text`: invalid type: integer `5`, expected a string");
    let answer = alice.ask(json!(1), "test.echo", json!({})).await;
    assert_eq!(answer["error"]["message"], "missing field `text`");
    let answer = alice.ask(json!(1), "test.ehco", json!({})).await;
    assert_eq!(answer["error"]["code"], -32601);
    assert_eq!(answer["error"]["message"], "there is no method `test.ehco`");
    alice.say("}{").await;
    assert_eq!(alice.hear().await["error"]["code"], -32700);
    let answer = alice.ask(json!(9), "test.panic", json!({})).await;
    assert_eq!(answer["error"]["data"]["kind"], "internal");
    assert!(!answer.to_string().contains("secret"));
    let answer = alice.ask(json!(9), "test.large", json!({"n": 5_000_000})).await;
    assert_eq!(answer["error"]["data"]["kind"], "answer_too_large");
    alice.echo("still here").await;
}

#[tokio::test]
async fn a_line_has_its_bound() {
    let host = Host::start();
    let frame = r#"{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{"text":""}}"#.len();
    let mut alice = host.client().await;
    alice.echo_of(MAX_LINE - frame).await;
    let answer = alice.echo_answer(MAX_LINE - frame + 1).await;
    assert_eq!(answer["error"]["data"]["kind"], "line_too_long");
    assert_eq!(alice.line().await, None);

    // Nor does a line without end grow anything.
    let mut mallory = host.client().await;
    let chunk = vec![b'x'; 64 * 1024];
    while mallory.0.write_all(&chunk).await.is_ok() {
        if mallory.0.buffer().is_empty() && mallory.0.get_ref().try_read(&mut []).is_err() {
            break;
        }
    }
    host.client().await.echo("hi").await;
}

impl Talk {
    async fn echo_answer(&mut self, length: usize) -> Value {
        let text = "x".repeat(length);
        self.say(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"test.echo","params":{{"text":"{text}"}}}}"#
        ))
        .await;
        self.hear().await
    }

    async fn echo_of(&mut self, length: usize) {
        let answer = self.echo_answer(length).await;
        assert_eq!(answer["result"].as_str().unwrap().len(), length);
    }
}

#[tokio::test]
async fn answers_come_after_the_client_said_all() {
    let host = Host::start();
    let mut alice = host.client().await;
    for n in 0..100 {
        alice
            .say(&format!(
                r#"{{"jsonrpc":"2.0","id":{n},"method":"test.order","params":{{"n":{n}}}}}"#
            ))
            .await;
    }
    // The last line may lack its end.
    alice
        .0
        .write_all(br#"{"jsonrpc":"2.0","id":100,"method":"test.echo","params":{"text":"x"}}"#)
        .await
        .unwrap();
    alice.0.get_mut().shutdown().await.unwrap();
    let mut answers = 0;
    while alice.line().await.is_some() {
        answers += 1;
    }
    assert_eq!(answers, 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_start_in_the_order_in_which_they_came() {
    let host = Host::start();
    let alice = host.client().await;
    let (read, mut write) = tokio::io::split(alice.0.into_inner());
    let writing = tokio::spawn(async move {
        for n in 0..1000 {
            let line = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{n},\"method\":\"test.order\",\"params\":{{\"n\":{}}}}}\n",
                n % 100
            );
            write.write_all(line.as_bytes()).await.unwrap();
        }
        write
    });
    let mut lines = BufReader::new(read).lines();
    let mut out_of_order = 0;
    for n in 0..1000 {
        let line = lines.next_line().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["id"], answer["result"], "started in order");
        out_of_order += usize::from(answer["id"] != n);
    }
    assert!(out_of_order > 0, "they ran at the same time");
    drop(writing.await);
}
