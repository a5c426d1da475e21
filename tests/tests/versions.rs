//! The real `amsctl` and a daemon that is older than it: the daemon's own code for its socket, over a
//! table of methods as an earlier version may have had it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a surprise ends the test that met it"
)]

use std::future::ready;

use ams_rpc::methods::{Entry, Method, daemon, rpc};
use ams_rpc::types::{Done, NoParams};
use ams_rpc::{Listener, Server, Service, ServiceBuilder};
use ams_tests::shell::{Ran, User};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const OLD: &str = "0.0.9";

/// `daemon.status` before it said everything that it says now.
#[derive(Debug)]
enum OldStatus {}
impl Method for OldStatus {
    const NAME: &'static str = daemon::Status::NAME;
    const DOC: &'static str = "The daemon.";
    type Params = NoParams;
    type Result = Value;
}

/// `message.send` before a message could have an end.
#[derive(Debug)]
enum OldSend {}
impl Method for OldSend {
    const NAME: &'static str = "message.send";
    const DOC: &'static str = "Sends a message.";
    type Params = OldSendParams;
    type Result = Value;
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OldSendParams {
    /// To whom.
    to: String,
    /// The text.
    body: String,
}

const TABLE: &[Entry] = &[
    Entry::of::<OldStatus>(),
    Entry::of::<daemon::Stop>(),
    Entry::of::<OldSend>(),
    Entry::of::<rpc::Discover>(),
];

fn old_daemon(home: &str, stop: CancellationToken) -> Service {
    // Its process is that of the test, which goes on: `stop` must not wait for that.
    let status = json!({
        "version": OLD, "pid": 0, "started": "2026-11-24T10:45:00.000Z",
        "home": home, "fingerprint": "abcd", "presence": "visible", "listen": [], "relays": [],
        "peers": [], "queue": {"queued": 0, "sent": 0, "undelivered": 0, "waiting": 0},
        "inbox": {"kept": 0}, "hooks": [], "warnings": []
    });
    ServiceBuilder::new("amsd", OLD, TABLE)
        .register::<OldStatus, _, _>(move |_, NoParams {}| ready(Ok(status.clone())))
        .register::<daemon::Stop, _, _>(move |_, NoParams {}| {
            stop.cancel();
            ready(Ok(Done {}))
        })
        .register::<OldSend, _, _>(|_, _: OldSendParams| ready(Ok(Value::Null)))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_older_than_amsctl_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap().to_owned();
    let stop = CancellationToken::new();
    let listener = Listener::bind(&folder.path().join("amsd.sock")).unwrap();
    let server = Server::new(listener, old_daemon(&home, stop.clone()));
    let serving = tokio::spawn(server.run(stop));
    let user = User::new(folder.path());
    let typed = move |arguments: &'static [&'static str]| -> Ran { user.amsctl(arguments) };
    let both = format!("the daemon that runs is version {OLD}, amsctl is 0.1.0");

    // What it has is served, though it says less than a daemon of today.
    let shown = tokio::task::block_in_place(|| typed(&["status"]).ok());
    assert!(shown.contains(&format!("amsd {OLD}, running since")), "{shown}");
    // A method that it does not have, and one whose params it does not know.
    let unknown: [&[&str]; 2] = [&["queue", "list"], &["send", "bob", "--ttl", "1h", "hi"]];
    for arguments in unknown {
        let refused = tokio::task::block_in_place(|| typed(arguments).exits(2));
        refused.says(&both).says("restart it: amsctl stop && amsd --daemon");
    }
    // That advice can be followed.
    tokio::task::block_in_place(|| typed(&["stop"]).exits(0));
    serving.await.unwrap();
}
