//! The socket itself, and both ends of it together.

use super::*;

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
