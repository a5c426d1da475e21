//! The endpoint on a real pipe: its rights, who is at its ends, and when they are gone.
#![allow(unreachable_pub, reason = "the table is made as the public ones are")]

use std::fs::File;
use std::future::ready;
use std::os::windows::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use interprocess::local_socket::traits::tokio::Listener as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::client::{CallError, Client};
use crate::methods::method_table;
use crate::types::{Done, NoParams};
use crate::{CallContext, Listener, Server, ServiceBuilder};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EchoParams {
    text: String,
}

method_table! {
    /// A small table.
    TABLE:
    /// Tests.
    test {
        /// Says it again.
        Echo = "test.echo" (EchoParams) -> String;
        /// Waits until the client is gone.
        Wait = "test.wait" (NoParams) -> Done;
    }
    /// The interface.
    rpc {
        /// As a document.
        Discover = "rpc.discover" (NoParams) -> serde_json::Value;
    }
}

/// A name that nobody else in this process has.
fn name(of: &str) -> PathBuf {
    PathBuf::from(format!("{PIPES}ams-test-{}-{of}", std::process::id()))
}

struct Host {
    path: PathBuf,
    stop: CancellationToken,
    running: JoinHandle<()>,
    /// Contexts of waits, when they begin, and again when they end.
    waits: mpsc::Receiver<CallContext>,
}

fn host(of: &str) -> Host {
    let path = name(of);
    let (told, waits) = mpsc::channel(4);
    let service = ServiceBuilder::new("test", "0", TABLE)
        .register::<test::Echo, _, _>(|_, params| ready(Ok(params.text)))
        .register::<test::Wait, _, _>(move |context, NoParams {}| {
            let told = told.clone();
            async move {
                told.send(context.clone()).await.unwrap();
                context.closed().await;
                told.send(context).await.unwrap();
                Ok(Done {})
            }
        })
        .build()
        .unwrap();
    let stop = CancellationToken::new();
    let listener = Listener::bind(&path).unwrap();
    let running = tokio::spawn(Server::new(listener, service).run(stop.clone()));
    Host { path, stop, running, waits }
}

fn echo(client: &mut Client, text: &str) -> Result<String, CallError> {
    client.call::<test::Echo>(&EchoParams { text: text.to_owned() })
}

#[test]
fn a_sid_is_written_as_the_system_writes_it() {
    let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    assert_eq!(written(&system).as_deref(), Some(SYSTEM));
    let user = [1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 2, 0, 0, 9];
    assert_eq!(written(&user).as_deref(), Some("S-1-5-21-513"));
    assert_eq!(written(&system[..11]), None);
    assert!(own_sid().unwrap().starts_with("S-1-5-"));
}

/// What stands behind the kind of each entry, and its rights: whom it is about.
fn entries(rights: &str) -> Vec<(char, String)> {
    let entries = rights.split('(').skip(1);
    let entries = entries.map(|entry| {
        let entry = entry.split(')').next().unwrap();
        let who = entry.rsplit(';').next().unwrap();
        (entry.chars().next().unwrap(), who.to_owned())
    });
    entries.collect()
}

fn entry(kind: char, who: &str) -> (char, String) {
    (kind, who.to_owned())
}

#[tokio::test]
async fn a_pipe_has_the_rights_that_were_asked_for() {
    let path = name("rights");
    let (listener, _) = bind(&path).unwrap();
    let connecting = {
        let path = path.clone();
        spawn_blocking(move || Calling::connect(&path).unwrap())
    };
    let Stream::NamedPipe(served) = listener.accept().await.unwrap();
    let calling = connecting.await.unwrap();
    let rights = ffi::rights_of(served.as_handle(), false).unwrap();
    assert!(rights.starts_with("D:P"), "{rights}");
    let own = own_sid().unwrap();
    // In this order: the system goes through them until one says no, or all was allowed.
    let wanted = [entry('D', "NU"), entry('A', own), entry('A', "SY")];
    let mut found = entries(&rights);
    // The last is no right: it keeps out what has a lower integrity. Wine has no name for its kind.
    let (_, integrity) = found.pop().unwrap();
    assert_eq!((found.as_slice(), integrity.as_str()), (&wanted[..], "ME"), "{rights}");

    // Both ends know the process at the other one.
    assert_eq!(ffi::server_of(calling.pipe.as_handle()).unwrap(), std::process::id());
    assert!(calling.may_be_called(Whose::Own, &path).unwrap());
    assert!(may_call(&Stream::NamedPipe(served), false).unwrap());
    spawn_blocking(move || drop(calling)).await.unwrap();
}

/// Wine has one user, so whose the server is cannot be another's there.
#[test]
fn a_server_of_somebody_else_is_told_nothing() {
    let (own, other) = ("S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002");
    for whose in [Whose::Own, Whose::Named] {
        assert!(may_serve(own, own, whose));
        assert!(!may_serve(other, own, whose));
    }
    assert!(may_serve(SYSTEM, own, Whose::Named));
    assert!(!may_serve(SYSTEM, own, Whose::Own));
}

#[tokio::test]
async fn nobody_makes_a_pipe_that_is_served_or_no_pipe() {
    let path = name("twice");
    let first = Listener::bind(&path).unwrap();
    assert!(matches!(Listener::bind(&path), Err(BindError::AlreadyServed { .. })));
    drop(first);
    drop(Listener::bind(&path).unwrap());
    for wrong in [r"C:\ams", PIPES, r"\\elsewhere\pipe\ams"] {
        assert!(matches!(bind(Path::new(wrong)), Err(BindError::NotAPipe { .. })), "{wrong}");
    }
    let long = name(&"x".repeat(MAX_SOCKET_PATH));
    assert!(matches!(bind(&long), Err(BindError::PathTooLong { .. })));
}

#[tokio::test]
async fn calls_are_answered_one_after_another_and_beside_each_other() {
    let host = host("calls");
    let path = Arc::new(host.path.clone());
    let clients = (0..20).map(|number| {
        let path = Arc::clone(&path);
        spawn_blocking(move || {
            let mut client = Client::connect(&path).unwrap();
            for round in 0..5 {
                let text = format!("{number} {round} {}", "x".repeat(round * 10_000));
                assert_eq!(echo(&mut client, &text).unwrap(), text);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    host.stop.cancel();
    host.running.await.unwrap();
    let gone = spawn_blocking(move || Client::connect(&path).map(drop)).await.unwrap();
    assert!(matches!(gone, Err(CallError::NotRunning { .. })), "{gone:?}");
}

#[tokio::test]
async fn a_client_gives_up_in_time_and_hears_of_the_servers_end() {
    let mut host = host("time");
    let path = host.path.clone();
    let gave_up = spawn_blocking(move || {
        let mut client = Client::connect(&path).unwrap();
        client.set_timeout(Some(Duration::from_millis(50))).unwrap();
        client.call::<test::Wait>(&NoParams {}).map(drop)
    });
    assert!(matches!(gave_up.await.unwrap(), Err(CallError::TimedOut)));
    // Its end is noticed: the call that waits for it ends.
    let context = host.waits.recv().await.unwrap();
    host.waits.recv().await.unwrap();
    assert!(context.is_closed());

    let path = host.path.clone();
    let broken = spawn_blocking(move || {
        let mut client = Client::connect(&path).unwrap();
        echo(&mut client, "there").unwrap();
        client
            .call::<test::Wait>(&NoParams {})
            .map(drop)
            .and_then(|()| echo(&mut client, "gone").map(drop))
    });
    host.waits.recv().await.unwrap();
    host.stop.cancel();
    host.running.await.unwrap();
    assert!(matches!(broken.await.unwrap(), Err(CallError::Broken(_))));
}

#[tokio::test]
async fn a_client_that_is_gone_is_seen_to_be() {
    let path = name("gone");
    let (listener, _) = bind(&path).unwrap();
    let connecting = spawn_blocking(move || Calling::connect(&path).unwrap());
    let served = listener.accept().await.unwrap();
    let calling = connecting.await.unwrap();
    let hangup = Hangup::of(&served).unwrap();
    let watch = hangup.watch().unwrap();
    assert!(!hangup.now());
    spawn_blocking(move || drop(calling)).await.unwrap();
    watch.hung_up().await.unwrap();
    assert!(hangup.now());
    hangup.shut();
    assert!(hangup.now());
    hangup.watch().unwrap().hung_up().await.unwrap();
}

#[test]
fn a_folder_that_is_made_is_its_users_alone() {
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    let base = tempfile::tempdir().unwrap();
    let made = base.path().join("a").join("b");
    private_dir(&made).unwrap();
    private_dir(&made).unwrap();
    for folder in [&base.path().join("a"), &made] {
        let mut options = File::options();
        let opened = options.read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(folder);
        let rights = ffi::rights_of(opened.unwrap().as_handle(), true).unwrap();
        let own = own_sid().unwrap();
        let others: Vec<_> = entries(&rights)
            .into_iter()
            .filter(|(kind, who)| *kind == 'A' && who != own && who != "SY")
            .collect();
        assert_eq!(others, [], "{rights}");
    }
    let file = base.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(private_dir(&file), Err(FolderError::NotAFolder { .. })));
    assert!(matches!(private_dir(&file.join("x")), Err(FolderError::Io { .. })));
}

#[test]
fn the_end_of_a_process_is_waited_for() {
    let mut child = std::process::Command::new("cmd").args(["/c", "exit"]).spawn().unwrap();
    let before = Instant::now();
    wait_for_exit(child.id(), Duration::from_secs(60));
    assert!(before.elapsed() < Duration::from_secs(60));
    child.wait().unwrap();
}
