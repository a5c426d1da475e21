//! The endpoint as clients see it: real sockets, a small table of its own.
#![allow(clippy::arithmetic_side_effects, reason = "small numbers of tests")]
#![allow(unreachable_pub, reason = "the table is made as the public ones are")]

use std::future::ready;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::methods::{Subscription, method_table};
use crate::server::{MAX_CONNECTIONS, MAX_LINE, MAX_SUBSCRIPTIONS};
use crate::types::{Done, NoParams, UnsubscribeParams};
use crate::unix::BindError;
use crate::{CallContext, Listener, RpcError, Server, Service, ServiceBuilder};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoParams {
    text: String,
    #[allow(dead_code, reason = "only its being known matters")]
    loud: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberParams {
    n: usize,
}

method_table! {
    /// A small table.
    TABLE:
    /// Tests.
    test {
        /// Says it again.
        Echo = "test.echo" (EchoParams) -> String;
        /// Answers how many started before it.
        Order = "test.order" (NumberParams) -> usize;
        /// Waits until the client is gone.
        Wait = "test.wait" (NoParams) -> Done;
        /// Panics.
        Panic = "test.panic" (NoParams) -> Done;
        /// Answers too much.
        Large = "test.large" (NumberParams) -> String;
        /// Counts without end.
        Count = "test.count" (NumberParams) -> String;
        /// Ends a count.
        Uncount = "test.uncount" (UnsubscribeParams) -> bool;
    }
    /// The interface.
    rpc {
        /// As a document.
        Discover = "rpc.discover" (NoParams) -> serde_json::Value;
    }
}

impl Subscription for test::Count {
    const NOTIFICATION: &'static str = "event";
    type Unsubscribe = test::Uncount;
    type Item = usize;
}

struct Host {
    path: PathBuf,
    stop: CancellationToken,
    running: JoinHandle<()>,
    /// Numbers that counts have sent, all together.
    counted: Arc<AtomicUsize>,
    /// Counts that have ended.
    count_ended: Arc<Notify>,
    /// Contexts of waits, when they begin.
    waits: Mutex<mpsc::Receiver<CallContext>>,
    /// Waits that saw their client go.
    wait_ended: Arc<Notify>,
    _folder: TempDir,
}

/// Notifies when it is dropped.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Host {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let counted = Arc::new(AtomicUsize::new(0));
        let count_ended = Arc::new(Notify::new());
        let wait_ended = Arc::new(Notify::new());
        let (wait_began, waits) = mpsc::channel(1024);
        let service = service(&counted, &count_ended, &wait_ended, wait_began);
        let stop = CancellationToken::new();
        let listener = Listener::bind(&path).unwrap();
        let running = tokio::spawn(Server::new(listener, service).run(stop.clone()));
        let waits = Mutex::new(waits);
        Self { path, stop, running, counted, count_ended, waits, wait_ended, _folder: folder }
    }

    async fn client(&self) -> Talk {
        Talk(BufReader::new(UnixStream::connect(&self.path).await.unwrap()))
    }
}

fn service(
    counted: &Arc<AtomicUsize>,
    count_ended: &Arc<Notify>,
    wait_ended: &Arc<Notify>,
    wait_began: mpsc::Sender<CallContext>,
) -> Service {
    let (counted, count_ended, wait_ended) =
        (Arc::clone(counted), Arc::clone(count_ended), Arc::clone(wait_ended));
    let started = Arc::new(AtomicUsize::new(0));
    ServiceBuilder::new("test", "0", TABLE)
        .register::<test::Echo, _, _>(|_, params| ready(Ok(params.text)))
        .register::<test::Order, _, _>(move |_, NumberParams { n }| {
            let before = started.fetch_add(1, Ordering::SeqCst);
            async move {
                // Later calls end first.
                for _ in n..100 {
                    tokio::task::yield_now().await;
                }
                Ok(before)
            }
        })
        .register::<test::Wait, _, _>(move |context, NoParams {}| {
            let (ended, began) = (Arc::clone(&wait_ended), wait_began.clone());
            async move {
                began.send(context.clone()).await.unwrap();
                context.closed().await;
                ended.notify_one();
                Err(RpcError::stopping("the server is stopping"))
            }
        })
        .register::<test::Panic, _, _>(|_, NoParams {}| async { panic!("secret") })
        .register::<test::Large, _, _>(|_, NumberParams { n }| ready(Ok("x".repeat(n))))
        .register_subscription::<test::Count, _, _>(move |_, NumberParams { n }, pending| {
            let (counted, ended) = (Arc::clone(&counted), OnDrop(Arc::clone(&count_ended)));
            async move {
                let _ended = ended;
                if n == 0 {
                    return pending.reject(RpcError::bad_value("not from 0")).await;
                }
                let Ok(sink) = pending.accept().await else { return };
                for number in n.. {
                    if sink.send(&number).await.is_err() {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .build()
        .unwrap()
}

struct Talk(BufReader<UnixStream>);

impl Talk {
    async fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    async fn hear(&mut self) -> Value {
        self.line().await.expect("the server closed")
    }

    async fn ask(&mut self, id: Value, method: &str, params: Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.say(&call.to_string()).await;
        self.hear().await
    }

    async fn echo(&mut self, text: &str) {
        let answer = self.ask(json!(7), "test.echo", json!({"text": text})).await;
        assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 7, "result": text}));
    }
}

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
async fn a_subscription_ends_with_its_client() {
    let host = Host::start();
    let mut alice = host.client().await;
    alice.ask(json!(1), "test.count", json!({"n": 5})).await;
    drop(alice);
    host.count_ended.notified().await;
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

#[tokio::test]
async fn stopping_answers_what_waits_and_removes_the_socket() {
    let host = Host::start();
    let mut alice = host.client().await;
    alice.say(r#"{"jsonrpc":"2.0","id":1,"method":"test.wait"}"#).await;
    let context = host.waits.lock().await.recv().await.unwrap();
    host.stop.cancel();
    assert_eq!(alice.hear().await["error"]["data"]["kind"], "stopping");
    assert_eq!(alice.line().await, None, "although somebody still holds {context:?}");
    host.running.await.unwrap();
    assert!(!host.path.exists());
}

#[tokio::test]
async fn a_socket_is_made_carefully() {
    let host = Host::start();
    let mode = std::fs::metadata(&host.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(Listener::bind(&host.path), Err(BindError::AlreadyServed { .. })));
    host.client().await.echo("untouched").await;

    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let first = Listener::bind(&stale).unwrap();
    // Another one took its place: then it is not ours to remove.
    std::fs::remove_file(&stale).unwrap();
    let second = Listener::bind(&stale).unwrap();
    drop(first);
    assert!(stale.exists());
    drop(second);
    assert!(!stale.exists());

    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(Listener::bind(&file), Err(BindError::NotASocket { .. })));
    let long = folder.path().join("x".repeat(120));
    let error = Listener::bind(&long).unwrap_err();
    assert!(error.to_string().contains("shorter"), "{error}");
}

#[tokio::test]
async fn an_adopted_socket_serves_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let host = Host::start();
    let (counted, notify) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (sender, _waits) = mpsc::channel(1);
    let service = service(&counted, &notify, &notify, sender);
    let listener = Listener::adopt(bound.into()).unwrap();
    let running = tokio::spawn(Server::new(listener, service).run(host.stop.clone()));
    Talk(BufReader::new(UnixStream::connect(&path).await.unwrap())).echo("hi").await;
    host.stop.cancel();
    running.await.unwrap();
    assert!(path.exists());
}

#[test]
fn a_table_and_its_handlers_must_fit() {
    let missing = ServiceBuilder::new("test", "0", TABLE).build().unwrap_err().to_string();
    assert!(missing.contains("test.echo has no handler"), "{missing}");
    let unknown = ServiceBuilder::new("test", "0", crate::admin::ADMIN_METHODS)
        .register::<test::Echo, _, _>(|_, params| ready(Ok(params.text)))
        .build()
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("test.echo is not in the table"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_blocking_client_calls_and_follows() {
    let host = Host::start();
    let path = host.path.clone();
    tokio::task::spawn_blocking(move || {
        let mut client = crate::client::Client::connect(&path).unwrap();
        let echoed =
            client.call::<test::Echo>(&EchoParams { text: "hi".into(), loud: None }).unwrap();
        assert_eq!(echoed, "hi");
        let error = client.call_any("test.nothing", &NoParams {}).unwrap_err();
        assert_eq!(error.exit(), 2);
        let mut numbers = client.subscribe::<test::Count>(&NumberParams { n: 3 }).unwrap();
        assert_eq!(numbers.next_notification().unwrap().0, 3);
        assert_eq!(numbers.next_notification().unwrap().1.get(), "4");
        let nobody = crate::client::Client::connect(&path.with_extension("x")).unwrap_err();
        assert!(nobody.is_away());
        assert_eq!(nobody.exit(), 11);
    })
    .await
    .unwrap();
}
