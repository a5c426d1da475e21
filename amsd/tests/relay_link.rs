//! Accounts and links of daemons, against a real relay in this process.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that goes wrong may panic"
)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ams_crypto::opaque::Password;
use ams_crypto::store::StoreKey;
use ams_relay::config::{Config, Limits, Storage};
use ams_rpc::types::Fact as Event;
use ams_wire::address::{InviteLink, Link};
use ams_wire::username::Username;
use amsd::clock::Clock;
use amsd::contacts::{self, ContactId, ask, request};
use amsd::fact::Fact;
use amsd::live::Live;
use amsd::outside::Outside;
use amsd::profile::Me;
use amsd::relay::{
    self, AccountError, Accounts, Deps, LinkEvent, Links, LinksHandle, Refusal, RelayId, RelayRow,
    Relays,
};
use amsd::session::row;
use amsd::settings::Settings;
use amsd::store::{Read, Store, StoreError, Txn};
use tokio::sync::{mpsc, watch};

const PASSWORD: &str = "correct horse";
const NEW_PASSWORD: &str = "battery staple";

async fn relay() -> ams_relay::Running {
    relay_at(Storage::Memory, "127.0.0.1:0").await
}

async fn relay_at(storage: Storage, listen: &str) -> ams_relay::Running {
    let config = Config {
        listen: Some(listen.parse().unwrap()),
        limits: Limits {
            presence_tick: Duration::from_millis(10),
            ask_interval: Duration::ZERO,
            ..Limits::default()
        },
        ..Config::new(storage)
    };
    ams_relay::start(config).await.unwrap()
}

async fn invite(relay: &ams_relay::Running, name: &str) -> InviteLink {
    match Link::parse(&relay.invite(name).await.unwrap()).unwrap() {
        Link::Invite(invite) => invite,
        Link::Relay(_) | Link::Contact(_) | Link::Peer(_) => panic!("no invite"),
    }
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

fn name(name: &str) -> Username {
    Username::new(name).unwrap()
}

/// A daemon's profile and links, without the rooms around them.
struct Daemon {
    store: Store,
    me: Me,
    live: Live,
    accounts: Accounts,
    links: LinksHandle,
    events: mpsc::Receiver<LinkEvent>,
    told: mpsc::Receiver<Event>,
    folder: tempfile::TempDir,
    _settings: watch::Sender<Settings>,
}

impl Daemon {
    async fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap()).await
    }

    async fn in_folder(folder: tempfile::TempDir) -> Self {
        let (tell, told) = mpsc::channel(256);
        let links_of_told = Arc::new(OnceLock::<LinksHandle>::new());
        let (later, tell_facts) = (links_of_told.clone(), tell.clone());
        let route = Arc::new(move |facts: Vec<Fact>| {
            for fact in facts {
                match (fact, later.get()) {
                    (Fact::Relays, Some(links)) => links.relays_changed(),
                    (Fact::Asks(relay), Some(links)) => links.chores(relay),
                    (Fact::Event(event), _) => tell_facts.try_send(*event).unwrap(),
                    _ => {}
                }
            }
        });
        let (path, key) = (database(folder.path()), StoreKey::new(&[7; 32]));
        let store = match path.exists() {
            true => Store::open(&path, key, route).unwrap(),
            false => Store::create(&path, key, route).unwrap(),
        };
        let me = store.read_now(|db| Me::find(db)).unwrap();
        let me = match me {
            Some(me) => me,
            None => store.write(Me::create).await.unwrap(),
        };
        let (settings, watched) = watch::channel(Settings::default());
        let (sender, events) = mpsc::channel(256);
        let live = Live::new(Arc::new(move |event| tell.try_send(event).unwrap()));
        let links = Links::start(Deps {
            store: store.clone(),
            me: me.clone(),
            outside: Outside::default(),
            settings: watched,
            live: live.clone(),
            events: sender,
        });
        assert!(links_of_told.set(links.clone()).is_ok());
        let accounts = Accounts::new(store.clone(), me.clone(), links.clone(), Outside::default());
        let _settings = settings;
        Self { store, me, live, accounts, links, events, told, folder, _settings }
    }

    /// With an account, and connected.
    async fn joined(relay: &ams_relay::Running, name: &str) -> (Self, RelayId) {
        let mut daemon = Self::new().await;
        let id = daemon.join(relay, name).await.unwrap();
        daemon.up().await;
        (daemon, id)
    }

    async fn join(&self, relay: &ams_relay::Running, name: &str) -> Result<RelayId, AccountError> {
        let invite = invite(relay, name).await;
        self.accounts.join(invite, password(PASSWORD), Some("home".to_owned())).await
    }

    async fn up(&mut self) {
        loop {
            match self.events.recv().await.expect("the links ended") {
                LinkEvent::Up { .. } => return,
                LinkEvent::Down { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    async fn down(&mut self) -> String {
        loop {
            if let LinkEvent::Down { reason, .. } = self.events.recv().await.unwrap() {
                return reason;
            }
        }
    }

    async fn told<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.told.recv().await.unwrap()) {
                return found;
            }
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write(work).await.unwrap()
    }

    async fn row(&self, id: RelayId) -> RelayRow {
        self.write(move |txn| Ok(txn.get::<Relays>(&id)?.unwrap())).await
    }

    /// Waits until the relay is known to have refused this device.
    async fn refused(&self, id: RelayId) -> Refusal {
        loop {
            if let Some(refusal) = self.row(id).await.refused {
                return refusal;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) -> tempfile::TempDir {
        self.links.stop().await;
        drop((self.accounts, self.links));
        self.store.close().await;
        self.folder
    }
}

fn database(folder: &Path) -> PathBuf {
    folder.join("ams.redb")
}

/// Alice asks, bob accepts; gives bob as alice has him.
async fn befriend(alice: &mut Daemon, at: RelayId, bob: &mut Daemon) -> ContactId {
    let (me, account) = (alice.me.clone(), alice.row(at).await);
    let asked = alice.store.write(move |txn| {
        ask::add(txn, &me, (at, &account), &name("bob"), None, Clock::default().now())
    });
    let (bob_of_alice, _) = asked.await.unwrap();
    let request = bob.told(|event| match event {
        Event::ContactRequest(fact) => Some(fact.request),
        _ => None,
    });
    let request = request.await;
    assert_eq!(request.name, "alice");
    let me = bob.me.clone();
    let accepted = bob
        .store
        .write(move |txn| request::accept(txn, &me, &request.id, None, Clock::default().now()));
    accepted.await.unwrap();
    alice.told(|event| matches!(event, Event::ContactApproved(_)).then_some(())).await;
    bob_of_alice
}

#[tokio::test]
async fn two_people_join_become_contacts_and_see_each_other() {
    let relay = relay().await;
    let (mut alice, at) = Daemon::joined(&relay, "alice").await;
    let (mut bob, _) = Daemon::joined(&relay, "bob").await;

    let bob_of_alice = befriend(&mut alice, at, &mut bob).await;
    let handle = alice.write(move |txn| {
        let row = txn.get::<contacts::Contacts>(&bob_of_alice)?.unwrap();
        Ok(row.path(at).unwrap().handle)
    });
    let handle = handle.await;
    let online = async |alice: &mut Daemon| loop {
        if let LinkEvent::Presence { online, offline, .. } = alice.events.recv().await.unwrap()
            && (online.contains(&handle) || offline.contains(&handle))
        {
            return online.contains(&handle);
        }
    };
    assert!(online(&mut alice).await);
    bob.accounts.disconnect("home").await.unwrap();
    assert!(!online(&mut alice).await);
    bob.down().await;
    bob.accounts.connect("home").await.unwrap();
    bob.up().await;
    assert!(online(&mut alice).await);
    // Nothing is left to be told: each answer came, and each approval is fetched.
    while !alice.write(move |txn| relay::chores::waiting(txn, at)).await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_spent_invite_serves_whoever_spent_it_and_nobody_else() {
    let relay = relay().await;
    let mut alice = Daemon::new().await;
    let invite = invite(&relay, "alice").await;
    for nick in ["home", "home", "moved"] {
        let joined = alice.accounts.join(invite.clone(), password(PASSWORD), Some(nick.into()));
        let id = joined.await.unwrap();
        alice.events.recv().await.unwrap();
        assert_eq!(alice.row(id).await.nick, nick);
    }
    let mallory = Daemon::new().await;
    let stolen = mallory.accounts.join(invite, password(PASSWORD), None).await;
    assert!(matches!(stolen, Err(AccountError::InviteRefused)));
    let rows = mallory.write(|txn| relay::by_nick(txn, "127.0.0.1")).await;
    assert!(rows.is_none());
}

#[tokio::test]
async fn a_login_displaces_the_other_device_and_back() {
    let relay = relay().await;
    let (mut old, id) = Daemon::joined(&relay, "alice").await;
    let mut new = Daemon::new().await;
    let wrong =
        new.accounts.login(relay.link(), name("alice"), password("wrong password"), None).await;
    assert!(matches!(wrong, Err(AccountError::WrongPassword)));
    let unknown = new.accounts.login(relay.link(), name("nobody"), password(PASSWORD), None).await;
    assert!(matches!(unknown, Err(AccountError::WrongPassword)));
    assert!(old.live.is_up(id));

    new.accounts.login(relay.link(), name("alice"), password(PASSWORD), None).await.unwrap();
    new.up().await;
    old.down().await;
    assert_eq!(old.refused(id).await, Refusal::Replaced);

    let back = old.accounts.login(relay.link(), name("alice"), password(PASSWORD), None).await;
    assert_eq!(back.unwrap(), id);
    old.up().await;
    assert_eq!(old.row(id).await.refused, None);
    new.down().await;
}

#[tokio::test]
async fn the_new_password_serves_and_the_old_one_does_not() {
    let relay = relay().await;
    let (alice, id) = Daemon::joined(&relay, "alice").await;
    let accounts = &alice.accounts;
    let wrong = accounts.password("home", password("wrong password"), password(NEW_PASSWORD));
    assert!(matches!(wrong.await, Err(AccountError::WrongOldPassword)));
    accounts.password("home", password(PASSWORD), password(NEW_PASSWORD)).await.unwrap();
    assert!(alice.live.is_up(id));

    let mut new = Daemon::new().await;
    let old = new.accounts.login(relay.link(), name("alice"), password(PASSWORD), None).await;
    assert!(matches!(old, Err(AccountError::WrongPassword)));
    new.accounts.login(relay.link(), name("alice"), password(NEW_PASSWORD), None).await.unwrap();
    new.up().await;
}

#[tokio::test]
async fn a_deleted_account_is_gone_on_both_sides() {
    let relay = relay().await;
    let (alice, _) = Daemon::joined(&relay, "alice").await;
    alice.accounts.leave("home", true).await.unwrap();
    assert!(alice.write(|txn| txn.list::<Relays>(&())).await.is_empty());
    let again = alice.accounts.login(relay.link(), name("alice"), password(PASSWORD), None).await;
    assert!(matches!(again, Err(AccountError::WrongPassword)));
    assert!(relay.invite("alice").await.is_err(), "a name is never given again");
}

#[tokio::test]
async fn links_come_back_when_the_relay_does() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Storage::Folder(folder.path().join("relay"));
    let relay = relay_at(storage(), "127.0.0.1:0").await;
    let (mut alice, id) = Daemon::joined(&relay, "alice").await;
    let at = relay.bound().unwrap().to_string();
    relay.stop().await;
    assert_eq!(alice.down().await, "the relay is stopping or restarting");
    // While it is away, it is tried and the reason is there to be seen.
    alice.links.connect(id);
    while alice.live.link(id).and_then(|link| link.reason).as_deref() != Some("connection refused")
    {
        tokio::task::yield_now().await;
    }
    let _relay = relay_at(storage(), &at).await;
    alice.links.connect(id);
    alice.up().await;
    assert_eq!(alice.live.link(id).unwrap().reason, None);
}

#[tokio::test]
async fn a_restored_copy_is_noticed_and_goes_on_only_when_told() {
    let relay = relay().await;
    let (mut alice, id) = Daemon::joined(&relay, "alice").await;
    let (mut bob, _) = Daemon::joined(&relay, "bob").await;
    let bob_of_alice = befriend(&mut alice, id, &mut bob).await;
    let old_roots = alice.write(move |txn| row::roots(txn, bob_of_alice)).await;
    let folder = alice.stop().await;
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(database(folder.path()), database(copy.path())).unwrap();

    // The original works on.
    let mut alice = Daemon::in_folder(folder).await;
    let mark = alice.write(move |txn| relay::raise_mark(txn, id)).await;
    alice.up().await;
    alice.accounts.disconnect("home").await.unwrap();
    alice.down().await;
    alice.accounts.connect("home").await.unwrap();
    alice.up().await;

    let mut copy = Daemon::in_folder(copy).await;
    copy.told(|event| matches!(event, Event::StateCloned(_)).then_some(())).await;
    assert_eq!(copy.refused(id).await, Refusal::Cloned);
    assert!(matches!(copy.accounts.connect("home").await, Err(AccountError::Cloned(_))));
    // The living link was not disturbed.
    assert!(alice.live.is_up(id));

    copy.accounts.resume("home").await.unwrap();
    copy.up().await;
    let passed = copy.write(move |txn| relay::mark(txn, id)).await;
    assert!(passed.counter > mark.counter);
    // The original may have used the keys that both have: bob is asked for fresh ones, and none of
    // the old ones seals anything.
    loop {
        let roots = copy.write(move |txn| row::roots(txn, bob_of_alice)).await;
        for (tag, root) in &roots {
            assert_ne!(root.can_seal(), old_roots.iter().any(|(old, _)| old == tag));
        }
        if roots.len() > old_roots.len() {
            break;
        }
        tokio::task::yield_now().await;
    }
}
