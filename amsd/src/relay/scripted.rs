//! For tests: a daemon's links, and a relay that says what a test wants it to say.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::store::StoreKey;
use ams_link::receiver::Frame;
use ams_link::{Link, Receiver, Sender, handshake};
use ams_rpc::types::Fact as Event;
use ams_wire::from_relay::{FromRelay, RelayHello};
use ams_wire::id::Key;
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_relay::{Attach, ToRelay};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use super::{Accounts, Deps, LinkEvent, LinkHandle, Links, LinksHandle};
use super::{RelayId, RelayRow, Relays};
use crate::fact::Fact;
use crate::live::Live;
use crate::outside::Outside;
use crate::profile::Me;
use crate::settings::Settings;
use crate::store::{Read, Store, StoreError, Txn};

pub(super) const HOME: RelayId = RelayId(1);

pub(super) struct Relay {
    pub(super) listener: TcpListener,
    pub(super) key: DhSecret,
}

/// The relay's end of one link.
pub(super) struct Wire {
    pub(super) tx: Sender<OwnedWriteHalf>,
    pub(super) rx: Receiver<OwnedReadHalf>,
    heard: VecDeque<Frame>,
    pub(super) remote: DhPublic,
    pub(super) handshake_hash: [u8; 32],
}

impl Relay {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, key: DhSecret::generate() }
    }

    pub(super) async fn accept(&self) -> Wire {
        let (stream, _) = self.listener.accept().await.unwrap();
        let limit = Duration::from_secs(10);
        let link = handshake::accept(stream, &self.key, limit).await.unwrap();
        let Link { sender: tx, receiver: rx, remote, handshake_hash } = link;
        Wire { tx, rx, heard: VecDeque::new(), remote, handshake_hash }
    }

    pub(super) fn public(&self) -> Key {
        Key(*self.key.public().as_bytes())
    }

    /// Accepts a link and brings it up.
    pub(super) async fn attach(&self) -> Wire {
        let mut wire = self.accept().await;
        wire.hear_attach().await;
        wire.say(&[hello(), FromRelay::Attached, FromRelay::SnapshotEnd]).await;
        wire
    }
}

impl Wire {
    pub(super) async fn say(&mut self, frames: &[FromRelay<'_>]) {
        for frame in frames {
            self.tx.push(frame).unwrap();
        }
        self.tx.flush().await.unwrap();
    }

    /// The next frame, which must be what `pick` takes.
    pub(super) async fn hear<T>(&mut self, pick: impl Fn(&ToRelay<'_>) -> Option<T>) -> T {
        loop {
            if let Some(frame) = self.heard.pop_front() {
                let said = ToRelay::decode(frame.number, &frame.body).unwrap().unwrap();
                return pick(&said).unwrap_or_else(|| panic!("{said:?}"));
            }
            self.heard.extend(self.rx.receive().await.unwrap());
        }
    }

    pub(super) async fn hear_attach(&mut self) -> Attach {
        self.hear(|said| matches!(said, ToRelay::Hello(_)).then_some(())).await;
        self.hear(|said| match said {
            ToRelay::Attach(attach) => Some(attach.clone()),
            _ => None,
        })
        .await
    }
}

pub(super) fn hello() -> FromRelay<'static> {
    FromRelay::Hello(RelayHello { version: PROTOCOL_VERSION, window: 60 })
}

pub(super) struct Daemon {
    pub(super) store: Store,
    pub(super) me: Me,
    pub(super) live: Live,
    pub(super) links: LinksHandle,
    pub(super) settings: watch::Sender<Settings>,
    pub(super) events: mpsc::Receiver<LinkEvent>,
    pub(super) told: mpsc::Receiver<Event>,
    _folder: tempfile::TempDir,
}

impl Daemon {
    /// With an account at `relay`.
    pub(super) async fn at(relay: &Relay) -> Self {
        let at = relay.listener.local_addr().unwrap().to_string();
        let row = RelayRow { at, key: relay.public(), ..RelayRow::home() };
        let daemon = Self::new().await;
        daemon
            .write(move |txn| {
                txn.tell(Fact::Relays);
                txn.put::<Relays>(&HOME, &row)
            })
            .await;
        daemon
    }

    /// Without an account.
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tell, told) = mpsc::channel(64);
        let told_links = Arc::new(OnceLock::<LinksHandle>::new());
        let later = told_links.clone();
        let tell_facts = tell.clone();
        let store = Store::create(
            &folder.path().join("ams.redb"),
            StoreKey::new(&[7; 32]),
            Arc::new(move |facts| {
                for fact in facts {
                    match (fact, later.get()) {
                        (Fact::Relays, Some(links)) => links.relays_changed(),
                        (Fact::Asks(relay), Some(links)) => links.chores(relay),
                        (Fact::Event(event), _) => tell_facts.try_send(*event).unwrap(),
                        _ => {}
                    }
                }
            }),
        );
        let store = store.unwrap();
        let me = store.write(Me::create).await.unwrap();
        let (settings, watched) = watch::channel(Settings::default());
        let (sender, events) = mpsc::channel(64);
        let live = Live::new(Arc::new(move |event| tell.try_send(event).unwrap()));
        let links = Links::start(Deps {
            store: store.clone(),
            me: me.clone(),
            outside: Outside::default(),
            settings: watched,
            live: live.clone(),
            events: sender,
        });
        assert!(told_links.set(links.clone()).is_ok());
        Self { store, me, live, links, settings, events, told, _folder: folder }
    }

    pub(super) fn accounts(&self) -> Accounts {
        Accounts::new(self.store.clone(), self.me.clone(), self.links.clone(), Outside::default())
    }

    pub(super) async fn up(&mut self) -> LinkHandle {
        match self.events.recv().await {
            Some(LinkEvent::Up { relay: HOME, link, .. }) => link,
            _ => panic!("the link is not up"),
        }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write(work).await.unwrap()
    }

    pub(super) async fn row(&self) -> RelayRow {
        self.write(|txn| Ok(txn.get::<Relays>(&HOME)?.unwrap())).await
    }
}
