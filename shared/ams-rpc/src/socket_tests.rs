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

mod calls;
mod endpoint;
mod following;
mod leaving;

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
