//! A whole daemon in this process, asked over its socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;

use ams_rpc::client::{CallError, Client};
use ams_rpc::places::Places;
use ams_rpc::types::{
    ContactAddParams, EventType, HistoryParams, InboxAckParams, InboxNextParams, MessageId,
    MessageParams, NoParams, Period, PresenceParams, QueueParams, ReaderParams, RelayJoinParams,
    RelayParams, Secret, SendParams, Stage, SubscribeParams, Visibility, WaitParams,
};
use ams_rpc::{ErrorKind, methods as m};
use amsd::settings::Settings;
use amsd::{Home, Running, Start};

/// A daemon in a folder of its own.
struct Daemon {
    folder: tempfile::TempDir,
    running: Running,
}

impl Daemon {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = run(folder.path()).await;
        Self { folder, running }
    }

    async fn restarted(self) -> Self {
        self.running.stop().await;
        let running = run(self.folder.path()).await;
        Self { folder: self.folder, running }
    }

    fn client(&self) -> Client {
        Client::connect(self.running.socket()).unwrap()
    }

    /// Calls with the blocking client, off the runtime's threads.
    async fn call<M: m::Method>(&self, params: M::Params) -> Result<M::Result, CallError>
    where
        M::Params: Sync,
    {
        let mut client = self.client();
        tokio::task::spawn_blocking(move || client.call::<M>(&params)).await.unwrap()
    }

    /// What a call is refused with.
    async fn refusal<M: m::Method>(&self, params: M::Params) -> ErrorKind
    where
        M::Params: Sync,
    {
        match self.call::<M>(params).await {
            Err(CallError::Failed(failure)) => {
                let data = failure.data.as_ref().expect("every error has its data");
                assert!(!data.hint.is_empty() && !failure.message.is_empty());
                let known = ErrorKind::ALL.iter().find(|kind| failure.is(**kind));
                *known.unwrap_or_else(|| panic!("{} is no kind", data.kind))
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was not refused"),
        }
    }
}

async fn run(folder: &Path) -> Running {
    let home = Home::open(Places::in_home(&folder.join("home"))).unwrap();
    amsd::start(Start {
        home,
        settings: Settings::default(),
        listen: Vec::new(),
        public: Vec::new(),
        socket: None,
        disk: None,
    })
    .await
    .unwrap()
}

fn next(reader: &str) -> InboxNextParams {
    InboxNextParams {
        reader: reader.to_owned(),
        max: None,
        wait: None,
        from: None,
        from_start: None,
        peek: None,
        after: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_profile_has_an_identity_that_stays() {
    let daemon = Daemon::start().await;
    let status = daemon.call::<m::daemon::Status>(NoParams {}).await.unwrap();
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.home, daemon.folder.path().join("home").display().to_string());
    assert_eq!(status.presence, Visibility::Visible);
    assert!(status.relays.is_empty() && status.warnings.is_empty());
    let identity = daemon.call::<m::identity::Show>(NoParams {}).await.unwrap();
    assert_eq!(identity.fingerprint, status.fingerprint);

    let hidden = PresenceParams { presence: Visibility::Invisible };
    assert_eq!(daemon.call::<m::presence::Set>(hidden).await.unwrap(), hidden);
    let daemon = daemon.restarted().await;
    let again = daemon.call::<m::daemon::Status>(NoParams {}).await.unwrap();
    assert_eq!(again.fingerprint, identity.fingerprint);
    assert_eq!(again.presence, Visibility::Invisible, "survives restarts");
    daemon.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named() {
    let daemon = Daemon::start().await;
    let no_body = SendParams::new("bob", "");
    assert_eq!(daemon.refusal::<m::message::Send>(no_body).await, ErrorKind::EmptyBody);
    let long = SendParams::new("bob", "x".repeat(46 * 1024 + 1));
    assert_eq!(daemon.refusal::<m::message::Send>(long).await, ErrorKind::TooLong);
    let fits = SendParams::new("bob", "x".repeat(46 * 1024));
    assert_eq!(daemon.refusal::<m::message::Send>(fits).await, ErrorKind::NoSuchContact);
    let timeout = Some("1s".parse().unwrap());
    let no_wait = SendParams { timeout, ..SendParams::new("bob", "hi") };
    assert_eq!(daemon.refusal::<m::message::Send>(no_wait).await, ErrorKind::InvalidParams);

    let id = MessageId([7; 16]);
    let wait = WaitParams { id, stage: Stage::Sent, timeout: None, contact: None };
    assert_eq!(daemon.refusal::<m::message::Wait>(wait).await, ErrorKind::NoSuchMessage);
    let message = || MessageParams { id, contact: None };
    assert_eq!(daemon.refusal::<m::message::Show>(message()).await, ErrorKind::NoSuchMessage);
    assert_eq!(daemon.refusal::<m::message::Delete>(message()).await, ErrorKind::NoSuchMessage);
    let discard = QueueParams { ids: Some(vec![id]), ..QueueParams::default() };
    assert_eq!(daemon.refusal::<m::queue::Discard>(discard).await, ErrorKind::NoSuchMessage);
    let nothing = QueueParams::default();
    assert_eq!(daemon.refusal::<m::queue::Retry>(nothing).await, ErrorKind::InvalidParams);
    let with = HistoryParams { contact: Some("bob".into()), ..HistoryParams::default() };
    assert_eq!(daemon.refusal::<m::history::List>(with).await, ErrorKind::NoSuchContact);

    let add = |address: &str| ContactAddParams { address: address.into(), local: None };
    for (address, kind) in [
        ("bob", ErrorKind::BadName),
        ("B@home", ErrorKind::BadName),
        ("bob@home", ErrorKind::NoSuchRelay),
        ("bob@", ErrorKind::NoSuchRelay),
        ("ams://h:1/contact#AA", ErrorKind::BadLink),
    ] {
        assert_eq!(daemon.refusal::<m::contact::Add>(add(address)).await, kind, "{address}");
    }
    let join = |link: &str, password: &str| RelayJoinParams {
        link: link.into(),
        password: Secret::new(password.into()),
        nick: None,
    };
    let bad = join("ams://relay", "long enough");
    assert_eq!(daemon.refusal::<m::relay::Join>(bad).await, ErrorKind::BadLink);
    let nick = RelayParams { nick: "home".into() };
    assert_eq!(daemon.refusal::<m::relay::Connect>(nick).await, ErrorKind::NoSuchRelay);
    let forget = ReaderParams { reader: "none".into() };
    assert_eq!(daemon.refusal::<m::inbox::Forget>(forget).await, ErrorKind::NoSuchReader);
    assert_eq!(daemon.refusal::<m::inbox::Next>(next("")).await, ErrorKind::BadName);
    let ack = InboxAckParams { reader: "default".into(), cursor: "x".into() };
    assert_eq!(daemon.refusal::<m::inbox::Ack>(ack).await, ErrorKind::BadValue);
    daemon.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_program_at_a_time_reads_as_one_reader() {
    let daemon = Daemon::start().await;
    let waiting = InboxNextParams { wait: Some("1h".parse().unwrap()), ..next("script") };
    let mut first = daemon.client();
    let held = tokio::task::spawn_blocking(move || {
        // One that has answered, so that the socket is known to be served, then one that waits.
        first.call::<m::inbox::Next>(&next("script")).unwrap();
        first.set_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let waited = first.call::<m::inbox::Next>(&waiting);
        assert!(matches!(waited, Err(CallError::TimedOut)), "{waited:?}");
        first
    });
    let first = held.await.unwrap();
    assert_eq!(daemon.refusal::<m::inbox::Next>(next("script")).await, ErrorKind::ReaderBusy);
    let forget = ReaderParams { reader: "script".into() };
    assert_eq!(daemon.refusal::<m::inbox::Forget>(forget).await, ErrorKind::ReaderBusy);
    let peek = InboxNextParams { peek: Some(true), ..next("script") };
    assert!(daemon.call::<m::inbox::Next>(peek).await.unwrap().messages.is_empty());
    daemon.call::<m::inbox::Next>(next("other")).await.unwrap();

    // Closed: the next one is not refused, however soon it comes.
    drop(first);
    daemon.call::<m::inbox::Next>(next("script")).await.unwrap();
    let readers = daemon.call::<m::inbox::Readers>(NoParams {}).await.unwrap().readers;
    let names: Vec<_> = readers.iter().map(|reader| reader.name.as_str()).collect();
    assert_eq!(names, ["default", "other", "script"]);
    daemon.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_messages_ends_with_its_time() {
    let daemon = Daemon::start().await;
    let wait = Some(Period(std::time::Duration::from_millis(20)));
    let batch = daemon.call::<m::inbox::Next>(InboxNextParams { wait, ..next("r") }).await.unwrap();
    assert!(batch.messages.is_empty() && batch.cursor.is_none() && !batch.more);
    daemon.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_and_cursors_checked() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let params = SubscribeParams { since: None, types: Some(vec![EventType::RelayUp]) };
    let subscribed =
        tokio::task::spawn_blocking(move || client.subscribe::<m::events::Subscribe>(&params));
    drop(subscribed.await.unwrap().unwrap());
    let client = daemon.client();
    let params = SubscribeParams { since: Some("nonsense".into()), types: None };
    let refused =
        tokio::task::spawn_blocking(move || client.subscribe::<m::events::Subscribe>(&params));
    match refused.await.unwrap() {
        Err(CallError::Failed(failure)) => assert!(failure.is(ErrorKind::BadValue)),
        other => panic!("{other:?}"),
    }
    daemon.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_stop_it() {
    let daemon = Daemon::start().await;
    daemon.call::<m::daemon::Stop>(NoParams {}).await.unwrap();
    daemon.running.asked_to_stop().await;
    let socket = daemon.running.socket().to_owned();
    daemon.running.stop().await;
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_is_told_when_the_daemon_stops() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client();
    let (asked, asking) = tokio::sync::oneshot::channel();
    let waiting = tokio::task::spawn_blocking(move || {
        client.call::<m::daemon::Status>(&NoParams {}).unwrap();
        asked.send(()).unwrap();
        let wait = Some("1h".parse().unwrap());
        client.call::<m::inbox::Next>(&InboxNextParams { wait, ..next("default") })
    });
    asking.await.unwrap();
    daemon.running.stop().await;
    match waiting.await.unwrap() {
        // Either it was taken in and told, or the connection was closed before.
        Err(CallError::Failed(failure)) => assert!(failure.is(ErrorKind::Stopping)),
        Err(CallError::Broken(_)) => {}
        other => panic!("{other:?}"),
    }
}
