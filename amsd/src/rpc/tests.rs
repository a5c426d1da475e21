//! The methods over a socket, with a contact whose other side the test plays on the disk.

use ams_crypto::identity::IdentityKey;
use ams_rpc::client::{CallError, Client};
use ams_rpc::places::Places;
use ams_rpc::types::{
    HistoryClearParams, HistoryParams, InboxAckParams, InboxNextParams, MessageId, MessageParams,
    Period, QueueListParams, QueueParams, SendParams, SendResult, Stage, State, WaitParams,
};
use ams_rpc::{ErrorKind, Exit, Listener, Server, methods as m};
use ams_wire::id::{Handle, Key, MessageId as WireId};
use ams_wire::username::Username;
use std::collections::BTreeSet;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;
use crate::contacts::{self, ContactRow, Contacts, PathRow, Stage as Met};
use crate::fact::Fact;
use crate::home::Home;
use crate::inbox::row::{In, InIds, InRow, Received, ReceivedRow};
use crate::open::open_profile;
use crate::outbox::state;
use crate::relay::{self, Links, RelayId};
use crate::store::StoreError;
use crate::timeline::{self, Direction};

const ALICE: ContactId = ContactId(1);

mod subscribing;

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    dispatch: Dispatch,
    stop: CancellationToken,
    _home: Home,
    server: JoinHandle<()>,
}

impl Bench {
    /// A daemon's methods without links, and an active contact called alice.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(Places::in_home(folder.path())).unwrap();
        let dispatch = Dispatch::default();
        let told = dispatch.clone();
        let (store, me) =
            open_profile(&home, None, Arc::new(move |facts| told.told(facts))).await.unwrap();
        store.write(|txn| contacts::put(txn, ALICE, None, &alice())).await.unwrap();
        let live = Live::new(Arc::new(|_| {}));
        let settings = watch::Sender::new(Settings::default());
        let (events, _) = tokio::sync::mpsc::channel(1);
        let links = Links::start(relay::Deps {
            store: store.clone(),
            me: me.clone(),
            outside: Outside::default(),
            settings: settings.subscribe(),
            live: live.clone(),
            events,
        });
        let service = service(Core {
            store: store.clone(),
            me: me.clone(),
            dispatch: dispatch.clone(),
            live,
            accounts: Accounts::new(store.clone(), me, links, Outside::default()),
            outside: Outside::default(),
            settings,
            config_mistake: watch::Sender::new(None).subscribe(),
            home: folder.path().to_owned(),
            started: Time::now(),
            stop: CancellationToken::new(),
        })
        .unwrap();
        let stop = CancellationToken::new();
        let listener = Listener::bind(&home.places().socket).unwrap();
        let server = tokio::spawn(Server::new(listener, service).run(stop.clone()));
        Self { folder, store, dispatch, stop, _home: home, server }
    }

    fn client(&self) -> Client {
        Client::connect(&self.folder.path().join("amsd.sock")).unwrap()
    }

    fn begin<M: m::Method>(&self, params: M::Params) -> JoinHandle<Result<M::Result, CallError>>
    where
        M::Params: Sync,
    {
        let mut client = self.client();
        spawn_blocking(move || client.call::<M>(&params))
    }

    async fn call<M: m::Method>(&self, params: M::Params) -> M::Result
    where
        M::Params: Sync,
    {
        self.begin::<M>(params).await.unwrap().unwrap()
    }

    async fn refused<M: m::Method>(&self, params: M::Params, kind: ErrorKind)
    where
        M::Params: Sync,
    {
        match self.begin::<M>(params).await.unwrap() {
            Err(CallError::Failed(failure)) => assert!(failure.is(kind), "{failure:?}"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("not refused"),
        }
    }

    async fn send(&self, text: &str) -> SendResult {
        self.call::<m::message::Send>(SendParams::new("alice", text)).await
    }

    /// Alice's receipt for the message with this number.
    async fn delivered(&self, seq: u64) {
        let written = self.store.write(move |txn| state::delivered(txn, ALICE, seq, clock()));
        Result::<_, StoreError>::unwrap(written.await);
    }

    /// A message from alice.
    async fn arrives(&self, seq: u64, text: &str) {
        let text = text.to_owned();
        let written = self.store.write(move |txn| {
            let id = WireId([u8::try_from(seq).unwrap(); 16]);
            let place = timeline::append(txn, ALICE, Direction::In, seq)?;
            let row = InRow {
                contact: ALICE,
                id,
                seq,
                sent_at: clock(),
                received_at: clock(),
                via: "relay:home".into(),
                verified: false,
                text: text.clone(),
                reply_to: None,
                title: None,
                priority: None,
                tags: Vec::new(),
            };
            txn.put::<In>(&place, &row)?;
            txn.put::<InIds>(&(id, ALICE), &place)?;
            txn.put::<Received>(&(ALICE, seq), &ReceivedRow::default())?;
            txn.tell(Fact::Arrived);
            Ok(())
        });
        Result::<_, StoreError>::unwrap(written.await);
    }

    /// The readers, and how much each has not had.
    async fn readers(&self) -> Vec<(String, u64)> {
        let readers = self.call::<m::inbox::Readers>(NoParams {}).await.readers;
        readers.into_iter().map(|reader| (reader.name, reader.unread)).collect()
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

fn clock() -> i64 {
    crate::clock::Clock::default().now()
}

fn alice() -> ContactRow {
    let identity = Key(*IdentityKey::generate().public().as_bytes());
    ContactRow {
        name: "alice".into(),
        identity: Some(identity),
        verified: None,
        stage: Met::Active,
        blocked: false,
        offered: None,
        paths: vec![PathRow {
            relay: RelayId(1),
            handle: Handle([1; 16]),
            user: Username::new("alice").unwrap(),
            missing: false,
        }],
        next_seq: 1,
        unread_from: 0,
        renewed_at: 0,
        their_low: 0,
        known_from: 0,
        offered_at: Vec::new(),
    }
}

fn wait_for(stage: Stage, timeout: Option<&str>, text: &str) -> SendParams {
    let timeout = timeout.map(|text| text.parse().unwrap());
    SendParams { wait: Some(stage), timeout, ..SendParams::new("alice", text) }
}

fn next(reader: &str) -> InboxNextParams {
    InboxNextParams {
        reader: reader.into(),
        max: None,
        wait: None,
        from: None,
        from_start: None,
        peek: None,
        after: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_the_same_message() {
    let bench = Bench::new().await;
    let id = Some(MessageId([9; 16]));
    let params = |text: &str| SendParams { id, ..SendParams::new("alice", text) };
    let first = bench.call::<m::message::Send>(params("hi")).await;
    assert_eq!((first.state, first.reached, first.exit), (State::Queued, true, 0));
    assert_eq!(bench.call::<m::message::Send>(params("hi")).await, first);
    bench.refused::<m::message::Send>(params("other"), ErrorKind::IdConflict).await;
    let queue = bench.call::<m::queue::List>(QueueListParams::default()).await;
    assert_eq!(queue.messages.len(), 1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_the_stage_is_reached() {
    let bench = Bench::new().await;
    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Delivered, None, "hi"));
    let id = queued(&bench, 1).await[0];
    let wait = WaitParams { id, stage: Stage::Read, timeout: None, contact: None };
    let longer = bench.begin::<m::message::Wait>(wait);
    bench.delivered(1).await;
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.state, result.reached, result.exit), (State::Delivered, true, 0));

    let mut window = ams_wire::receipt::Window::new(0);
    window.insert(1);
    let read = bench
        .store
        .write(move |txn| state::read(txn, ALICE, (&window, &[]), &BTreeSet::new(), clock()));
    Result::<_, StoreError>::unwrap(read.await);
    let result = longer.await.unwrap().unwrap();
    assert_eq!((result.state, result.reached, result.exit), (State::Read, true, 0));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_about_a_message_that_has_ended() {
    let bench = Bench::new().await;
    let id = bench.send("hi").await.id;
    bench.delivered(1).await;
    let of = |ids: Vec<MessageId>| QueueParams { ids: Some(ids), ..QueueParams::default() };
    bench.refused::<m::queue::Discard>(of(vec![id]), ErrorKind::NotAllowed).await;
    bench.refused::<m::queue::Keep>(of(vec![id]), ErrorKind::NotAllowed).await;
    // All or none of those that are named.
    let other = bench.send("other").await.id;
    bench.refused::<m::queue::Keep>(of(vec![other, id]), ErrorKind::NotAllowed).await;
    let shown = bench.call::<m::message::Show>(MessageParams { id: other, contact: None }).await;
    assert_eq!(shown.messages[0].message.state, State::Queued);
    let nobodys = of(vec![MessageId([7; 16])]);
    bench.refused::<m::queue::Retry>(nobodys, ErrorKind::NoSuchMessage).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_shows_when_it_was_read() {
    let bench = Bench::new().await;
    bench.arrives(1, "one").await;
    let params = || MessageParams { id: MessageId([1; 16]), contact: None };
    let steps = |shown: ams_rpc::types::MessageShown| -> Vec<String> {
        shown.messages[0].steps.iter().map(|step| step.what.clone()).collect()
    };
    assert_eq!(steps(bench.call::<m::message::Show>(params()).await), ["delivered"]);
    let cursor = bench.call::<m::inbox::Next>(next("default")).await.cursor.unwrap();
    let ack = InboxAckParams { reader: "default".into(), cursor };
    bench.call::<m::inbox::Ack>(ack.clone()).await;
    let shown = bench.call::<m::message::Show>(params()).await;
    let read = shown.messages[0].steps[1].time;
    assert_eq!(steps(shown), ["delivered", "read"]);
    // The first time counts.
    bench.call::<m::inbox::Ack>(InboxAckParams { reader: "default".into(), ..ack }).await;
    let shown = bench.call::<m::message::Show>(params()).await;
    assert_eq!(shown.messages[0].steps[1].time, read);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_goes_on_behind_what_it_saw() {
    let bench = Bench::new().await;
    for seq in 1..=3 {
        bench.arrives(seq, &format!("text {seq}")).await;
    }
    let look = |after: Option<String>| InboxNextParams {
        peek: Some(true),
        max: Some(2),
        after,
        ..next("default")
    };
    let first = bench.call::<m::inbox::Next>(look(None)).await;
    assert_eq!((first.messages.len(), first.more), (2, true));
    let second = bench.call::<m::inbox::Next>(look(first.cursor.clone())).await;
    assert_eq!((second.messages[0].body.as_str(), second.more), ("text 3", false));
    let last = bench.call::<m::inbox::Next>(look(second.cursor)).await;
    assert_eq!((last.messages.len(), last.cursor), (0, None));
    // In one contact's messages it goes on, too.
    let from = InboxNextParams { from: Some("alice".into()), ..look(first.cursor) };
    assert_eq!(bench.call::<m::inbox::Next>(from).await.messages.len(), 1);
    let reader = InboxNextParams { peek: None, ..look(Some("1".into())) };
    bench.refused::<m::inbox::Next>(reader, ErrorKind::InvalidParams).await;
    assert_eq!(bench.readers().await, [("default".into(), 3)], "nothing was taken");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_nobodys_may_be_an_address_or_in_other_letters() {
    let bench = Bench::new().await;
    let mut client = bench.client();
    let hints = spawn_blocking(move || {
        ["ALICE", "alice@", "bob"].map(|to| {
            match client.call::<m::message::Send>(&SendParams::new(to, "hi")) {
                Err(CallError::Failed(failure)) => failure.data.unwrap().hint,
                other => panic!("{other:?}"),
            }
        })
    });
    let [letters, address, nobody] = hints.await.unwrap();
    assert!(letters.starts_with("alice may be meant"), "{letters}");
    // The relay of this contact has no name here.
    assert!(address.starts_with("alice may be meant"), "{address}");
    assert_eq!(nobody, ErrorKind::NoSuchContact.hint());
    bench.end().await;
}

/// The ids in the queue, once there are so many.
async fn queued(bench: &Bench, count: usize) -> Vec<MessageId> {
    loop {
        let queue = bench.call::<m::queue::List>(QueueListParams::default()).await;
        if queue.messages.len() == count {
            return queue.messages.into_iter().map(|message| message.id).collect();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_the_stage_can_no_longer_be_reached() {
    let bench = Bench::new().await;
    let timed = bench.call::<m::message::Send>(wait_for(Stage::Sent, Some("10ms"), "a")).await;
    assert_eq!((timed.state, timed.reached), (State::Queued, false));
    assert_eq!(timed.exit, Exit::Queued.code());

    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Sent, Some("1h"), "b"));
    let ids = queued(&bench, 2).await;
    let discard = QueueParams { ids: Some(vec![ids[1]]), ..QueueParams::default() };
    let outcomes = bench.call::<m::queue::Discard>(discard).await;
    assert_eq!(outcomes.messages[0].state, State::Discarded);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.reached, result.exit), (false, Exit::Undelivered.code()));

    // Kept: a wait with no end of its own ends there, one with a timeout goes on.
    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Sent, None, "c"));
    queued(&bench, 2).await;
    let all = || QueueParams { all: Some(true), ..QueueParams::default() };
    bench.call::<m::queue::Keep>(all()).await;
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.state, result.exit), (State::Waiting, Exit::Queued.code()));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_ends_a_wait_and_refuses_the_next_message() {
    let bench = Bench::new().await;
    let waiting = bench.begin::<m::message::Send>(wait_for(Stage::Delivered, None, "hi"));
    queued(&bench, 1).await;
    let changed = bench.store.write(|txn| {
        let before = txn.get::<Contacts>(&ALICE)?.unwrap();
        let other = Key(*IdentityKey::generate().public().as_bytes());
        let after = ContactRow { offered: Some(other), ..before.clone() };
        contacts::put(txn, ALICE, Some(&before), &after)?;
        txn.tell(Fact::Event(Box::new(ams_rpc::types::Fact::ContactKeyChanged(
            ams_rpc::types::KeyChangedFact {
                contact: "alice".into(),
                contact_id: ALICE.to_string(),
                fingerprint: String::new(),
                offered_fingerprint: String::new(),
            },
        ))));
        Ok(())
    });
    Result::<_, StoreError>::unwrap(changed.await);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.reached, result.exit), (false, Exit::KeyNotTrusted.code()));
    let params = SendParams::new("alice", "more");
    bench.refused::<m::message::Send>(params, ErrorKind::KeyChanged).await;
    let status = bench.call::<m::daemon::Status>(NoParams {}).await;
    assert!(status.warnings.iter().any(|warning| warning.contains("alice")), "{status:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_with_its_steps_and_deleted_when_it_is_over() {
    let bench = Bench::new().await;
    let id = bench.send("hi").await.id;
    let message = || MessageParams { id, contact: None };
    bench.refused::<m::message::Delete>(message(), ErrorKind::NotAllowed).await;
    bench.delivered(1).await;
    let shown = bench.call::<m::message::Show>(message()).await.messages;
    let steps: Vec<_> = shown[0].steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(steps, ["queued", "delivered"]);
    let named = MessageParams { contact: Some("bob".into()), ..message() };
    bench.refused::<m::message::Show>(named, ErrorKind::NoSuchContact).await;
    bench.call::<m::message::Delete>(message()).await;
    bench.refused::<m::message::Show>(message(), ErrorKind::NoSuchMessage).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_back_page_by_page() {
    let bench = Bench::new().await;
    for text in ["one", "two", "three"] {
        bench.send(text).await;
    }
    bench.arrives(1, "Four").await;
    let texts = |page: &ams_rpc::types::Messages| -> Vec<String> {
        page.messages.iter().map(|message| message.body.clone()).collect()
    };
    let newest = HistoryParams { limit: Some(2), ..HistoryParams::default() };
    let page = bench.call::<m::history::List>(newest.clone()).await;
    assert_eq!((texts(&page), page.more), (vec!["three".into(), "Four".into()], true));
    let older = HistoryParams { before: Some(page.messages[0].id), ..newest };
    let page = bench.call::<m::history::List>(older).await;
    assert_eq!((texts(&page), page.more), (vec!["one".into(), "two".into()], false));
    let found = HistoryParams { search: Some("fOUR".into()), ..HistoryParams::default() };
    assert_eq!(texts(&bench.call::<m::history::List>(found).await), ["Four"]);
    // What is on its way stays.
    let clear = HistoryClearParams { contact: "alice".into() };
    assert_eq!(bench.call::<m::history::Clear>(clear).await.removed, 1);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_comes_page_by_page() {
    let bench = Bench::new().await;
    // Every character of these takes six in JSON.
    let text = "\u{1}".repeat(46 * 1024);
    for _ in 0..13 {
        bench.send(&text).await;
    }
    let first = bench.call::<m::queue::List>(QueueListParams::default()).await;
    assert!(first.more && first.messages.len() < 13, "{}", first.messages.len());
    let after = first.messages.last().map(|message| message.id);
    let params = QueueListParams { after, ..QueueListParams::default() };
    let second = bench.call::<m::queue::List>(params).await;
    assert_eq!((first.messages.len() + second.messages.len(), second.more), (13, false));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_held_until_what_it_got_is_acknowledged() {
    let bench = Bench::new().await;
    bench.arrives(1, "one").await;
    bench.arrives(2, "two").await;
    let mut first = bench.client();
    let (mut first, batch) = spawn_blocking(move || {
        let params = InboxNextParams { max: Some(1), ..next("default") };
        let batch = first.call::<m::inbox::Next>(&params).unwrap();
        (first, batch)
    })
    .await
    .unwrap();
    assert_eq!((batch.messages[0].body.as_str(), batch.more), ("one", true));
    bench.refused::<m::inbox::Next>(next("default"), ErrorKind::ReaderBusy).await;
    let cursor = batch.cursor.unwrap();
    let ack = InboxAckParams { reader: "default".into(), cursor };
    let first = spawn_blocking(move || {
        first.call::<m::inbox::Ack>(&ack).unwrap();
        first
    })
    .await
    .unwrap();
    let batch = bench.call::<m::inbox::Next>(next("default")).await;
    assert_eq!(batch.messages.len(), 1, "acknowledged: the rest, to whoever asks");
    assert_eq!(batch.messages[0].body, "two");
    // That connection is closed and nothing of it was acknowledged.
    let again = bench.call::<m::inbox::Next>(next("default")).await;
    assert_eq!(again.messages, batch.messages);
    drop(first);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_reader_gets_what_arrives() {
    let bench = Bench::new().await;
    let wait = Some(Period(std::time::Duration::from_secs(3600)));
    let new = InboxNextParams { wait, ..next("new") };
    bench.arrives(1, "before it was made").await;
    let waiting = bench.begin::<m::inbox::Next>(new);
    // It begins at its first use, which has to come before what it is to get.
    while bench.readers().await.len() == 1 {}
    bench.arrives(2, "after").await;
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!(batch.messages.len(), 1);
    assert_eq!(batch.messages[0].body, "after");

    let peek = InboxNextParams { peek: Some(true), from_start: Some(true), ..next("unmade") };
    let peeked = bench.call::<m::inbox::Next>(peek).await;
    assert_eq!(peeked.messages.len(), 2);
    assert_eq!(bench.readers().await, [("default".into(), 2), ("new".into(), 1)], "none is made");
    let of = InboxNextParams { from: Some("alice".into()), ..next("default") };
    assert_eq!(bench.call::<m::inbox::Next>(of).await.messages.len(), 2);
    let of = InboxNextParams { from: Some("bob".into()), ..next("default") };
    bench.refused::<m::inbox::Next>(of, ErrorKind::NoSuchContact).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_decided_part_by_part() {
    let bench = Bench::new().await;
    for text in ["one", "two", "three"] {
        bench.send(text).await;
    }
    let all = || QueueParams { all: Some(true), ..QueueParams::default() };
    let outcomes = bench.call::<m::queue::Keep>(all()).await;
    assert_eq!((outcomes.messages.len(), outcomes.next), (3, None));
    let behind = QueueParams { after: Some("1-2".into()), ..all() };
    let outcomes = bench.call::<m::queue::Discard>(behind).await;
    assert_eq!(outcomes.messages.len(), 1);
    assert_eq!(outcomes.messages[0].state, State::Discarded);
    for wrong in ["", "x", "1-", "1-2-3"] {
        let params = QueueParams { after: Some(wrong.into()), ..all() };
        bench.refused::<m::queue::Retry>(params, ErrorKind::InvalidParams).await;
    }
    let elsewhere = QueueParams {
        to: Some("alice".into()),
        after: Some("2-1".into()),
        ..QueueParams::default()
    };
    bench.refused::<m::queue::Retry>(elsewhere, ErrorKind::InvalidParams).await;
    bench.end().await;
}
