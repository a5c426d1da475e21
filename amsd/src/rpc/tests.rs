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
use crate::peer::{Listening, Meeter, Peers};
use crate::relay::{self, Links, RelayId};
use crate::store::{StoreError, Txn};
use crate::timeline::{self, Direction};

mod inbox;
mod messages;
mod queue;
mod scale;
#[cfg(unix)]
mod subscribing;

const ALICE: ContactId = ContactId(1);

struct Bench {
    store: Store,
    live: Live,
    #[cfg_attr(windows, expect(dead_code, reason = "those who look at it use a Unix socket"))]
    dispatch: Dispatch,
    stop: CancellationToken,
    home: Home,
    server: JoinHandle<()>,
    // Goes when what uses it has gone.
    _folder: tempfile::TempDir,
}

impl Bench {
    /// A daemon's methods without links, and an active contact called alice.
    async fn new() -> Self {
        Self::with(Outside::default()).await
    }

    /// The same, where something outside of the daemon is not as usual.
    async fn with(outside: Outside) -> Self {
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
        let deps = relay::Deps {
            store: store.clone(),
            me: me.clone(),
            outside: outside.clone(),
            settings: settings.subscribe(),
            live: live.clone(),
            events,
        };
        let links = Links::start(deps.clone());
        let peers = Peers::start(deps, Listening::default(), Vec::new());
        let service = service(Core {
            peers,
            router: RouterHandle::default(),
            meeter: Meeter::new(store.clone(), outside.clone()),
            store: store.clone(),
            me: me.clone(),
            dispatch: dispatch.clone(),
            live: live.clone(),
            accounts: Accounts::new(store.clone(), me, links, outside.clone()),
            hooks: HooksHandle::default(),
            outside,
            settings,
            config_mistake: watch::Sender::new(None).subscribe(),
            sockets: watch::Sender::default().subscribe(),
            restart: watch::Sender::new(None).subscribe(),
            home: folder.path().to_owned(),
            started: Time::now(),
            stop: CancellationToken::new(),
        })
        .unwrap();
        let stop = CancellationToken::new();
        let listener = Listener::bind(&home.places().socket).unwrap();
        let server = tokio::spawn(Server::new(listener, service).run(stop.clone()));
        Self { store, live, dispatch, stop, home, server, _folder: folder }
    }

    fn client(&self) -> Client {
        Client::connect(&self.home.places().socket).unwrap()
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
        let written =
            self.store.write(move |txn| state::delivered(txn, ALICE, seq, "direct", clock()));
        Result::<_, StoreError>::unwrap(written.await);
    }

    /// A message from alice.
    async fn arrives(&self, seq: u64, text: &str) {
        let text = text.to_owned();
        let written = self.store.write(move |txn| {
            txn.tell(Fact::Arrived);
            come_in(txn, seq, WireId([u8::try_from(seq).unwrap(); 16]), &text)
        });
        Result::<_, StoreError>::unwrap(written.await);
    }

    /// The relay that alice is at is home; `missing`: it has no row for her any more.
    async fn at_home(&self, missing: bool) {
        let written = self.store.write(move |txn| {
            txn.put::<relay::Relays>(&RelayId(1), &relay::RelayRow::home())?;
            let before = txn.get::<Contacts>(&ALICE)?.unwrap();
            let mut after = before.clone();
            after.paths[0].missing = missing;
            contacts::put(txn, ALICE, Some(&before), &after)
        });
        Result::<_, StoreError>::unwrap(written.await);
    }

    /// Why each message is in the queue.
    async fn reasons(&self) -> Vec<String> {
        let queue = self.call::<m::queue::List>(QueueListParams::default()).await;
        queue.messages.into_iter().filter_map(|queued| queued.reason).collect()
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

/// A message from alice with this number and id.
fn come_in(txn: &Txn<'_>, seq: u64, id: WireId, text: &str) -> Result<(), StoreError> {
    let place = timeline::append(txn, ALICE, Direction::In, seq)?;
    let row = InRow {
        contact: ALICE,
        id,
        seq,
        sent_at: clock(),
        received_at: clock(),
        via: "relay:home".into(),
        verified: false,
        text: text.to_owned(),
        reply_to: None,
        title: None,
        priority: None,
        tags: Vec::new(),
        choices: None,
    };
    txn.put::<In>(&place, &row)?;
    txn.put::<InIds>(&(id, ALICE), &place)?;
    txn.put::<Received>(&(ALICE, seq), &ReceivedRow::default())
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
        by_link: None,
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

/// The ids in the queue, once there are so many.
async fn queued(bench: &Bench, count: usize) -> Vec<MessageId> {
    loop {
        let queue = bench.call::<m::queue::List>(QueueListParams::default()).await;
        if queue.messages.len() == count {
            return queue.messages.into_iter().map(|queued| queued.message.id).collect();
        }
    }
}
