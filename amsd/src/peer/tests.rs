//! Two daemons of which only the direct links run, and a line that takes little at once.

#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::identity::{IdentityKey, IdentityPublic};
use ams_crypto::introduction::{self, Meeting};
use ams_crypto::olm::OlmAccount;
use ams_crypto::pair::Side;
use ams_crypto::store::StoreKey;
use ams_link::stream::BoxedStream;
use ams_wire::address::HostPort;
use ams_wire::aside::Offer;
use ams_wire::id::{Handle, Key, RootTag, WorkMark};
use ams_wire::intro::Place;
use ams_wire::username::Username;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::guest::Guests;
use super::listen::Places;
use super::{DirectRow, Directs, HANDLE, Listening, Peers, PeersHandle, make, offer};
use crate::clock::Clock;
use crate::contacts::ask::{Asked, AskedRow};
use crate::contacts::direct::{self, Met};
use crate::contacts::{self, ContactId, ContactRow, PathRow, Stage};
use crate::live::Live;
use crate::outside::{Connecting, Network, Outside};
use crate::profile::{self, Me};
use crate::relay::{Deps, DialError, LinkEvent, LinkHandle, Parcel, RelayId};
use crate::session::row::{RootRow, Roots};
use crate::session::seal::CipherKey;
use crate::settings::{Direct, Settings};
use crate::store::{Read, Store, StoreError};

/// The one contact that the daemon of a test has.
pub(super) const BOB: ContactId = ContactId(1);
pub(super) const HOME: RelayId = RelayId(1);
pub(super) const NOW: i64 = 1_800_000_000_000;

pub(super) struct Alice {
    pub(super) deps: Deps,
    pub(super) way: RelayId,
    events: mpsc::Receiver<LinkEvent>,
    _folder: TempDir,
}

fn contact(bob: IdentityPublic, way: RelayId) -> ContactRow {
    let user = Username::new("bob").unwrap();
    let path = |relay, handle| PathRow { relay, handle, user: user.clone(), missing: false };
    ContactRow {
        name: "bob".to_owned(),
        identity: Some(Key(*bob.as_bytes())),
        verified: None,
        stage: Stage::Active,
        blocked: false,
        offered: None,
        paths: vec![path(HOME, Handle([3; 16])), path(way, HANDLE)],
        next_seq: 1,
        unread_from: 0,
        renewed_at: 0,
        their_low: 0,
        known_from: 0,
        offered_at: Vec::new(),
        by_link: None,
    }
}

impl Alice {
    /// She has keys with bob, whom she knows over a relay and directly.
    pub(super) async fn new() -> Self {
        let alice = Self::on(Outside::default()).await;
        let bob = IdentityKey::generate();
        let key = Key(*bob.public().as_bytes());
        alice.knows(bob, key, Vec::new()).await
    }

    async fn on(outside: Outside) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ams.redb");
        let store = Store::create(&path, StoreKey::new(&[7; 32]), Arc::new(|_| {})).unwrap();
        let me = store.write(Me::create).await.unwrap();
        let (sender, events) = mpsc::channel(1024);
        let settings = watch::Sender::new(Settings::default()).subscribe();
        let live = Live::new(Arc::new(|_| {}));
        let deps = Deps { store, me, outside, settings, live, events: sender };
        Self { deps, way: RelayId::STRANGER, events, _folder: folder }
    }

    /// Bob becomes a contact whose device has this key on direct links.
    async fn knows(mut self, bob: IdentityKey, link_key: Key, addresses: Vec<String>) -> Self {
        let me = self.deps.me.clone();
        let user = |name| Username::new(name).unwrap();
        let meeting = Meeting { from: user("bob"), to: user("alice"), place: Place::Direct };
        let mut olm = OlmAccount::new();
        let made = introduction::request(&bob, &mut olm, meeting, u64::MAX, None).intro;
        let way = self.deps.store.write(move |txn| {
            let (link_key, addresses) = (Some(link_key), addresses.clone());
            let row = DirectRow { link_key, addresses, noted: true, ..DirectRow::default() };
            let way = make(txn, &row)?;
            contacts::put(txn, BOB, None, &contact(bob.public(), way))?;
            let intro = introduction::verify(&made).unwrap();
            let olm = profile::olm(txn)?;
            let approved = introduction::approve(me.key(), &olm, &intro, None).unwrap();
            let (keys, session) = (&approved.roots, &approved.session);
            let root = RootRow::new(keys, Side::Approver, intro.id, 1, session, NOW);
            txn.put::<Roots>(&(BOB, keys.tag), &RootRow { opened: true, ..root })?;
            Ok::<_, StoreError>(way)
        });
        self.way = way.await.unwrap();
        self
    }

    async fn link_key(&self) -> Key {
        let secret = self.deps.store.write(profile::link_secret).await;
        let secret: Result<_, StoreError> = secret;
        Key(*secret.unwrap().public().as_bytes())
    }

    fn identity(&self) -> IdentityKey {
        IdentityKey::from_bytes(&self.deps.me.key().to_bytes())
    }

    async fn comes_up(&mut self) -> LinkHandle {
        loop {
            if let LinkEvent::Up { link, .. } = self.events.recv().await.unwrap() {
                return link;
            }
        }
    }

    /// Why nothing comes of the way, as soon as that is known.
    async fn why_not(&self) -> String {
        let live = &self.deps.live;
        let mut changes = live.follow();
        let why = async {
            loop {
                if let Some(reason) = live.link(self.way).and_then(|link| link.reason) {
                    return reason;
                }
                changes.changed().await.unwrap();
            }
        };
        timeout(Duration::from_secs(30), why).await.expect("nothing is said")
    }

    /// Waits until the other side has taken so many.
    async fn is_taken(&mut self, mut count: usize) {
        while count > 0 {
            match self.events.recv().await.unwrap() {
                LinkEvent::Taken { keys, .. } => count -= keys.len(),
                LinkEvent::Down { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
    }
}

/// Leads to one daemon, by a line that takes a kibibyte at once.
#[derive(Default)]
struct Narrow(Arc<OnceLock<(Guests, Places)>>);

impl Network for Narrow {
    fn connect<'a>(&'a self, _: &'a HostPort) -> Connecting<'a> {
        Box::pin(async move {
            let (here, there) = tokio::io::duplex(1024);
            let (guests, places) = self.0.get().unwrap().clone();
            let place = places.take([192, 0, 2, 1].into()).unwrap();
            let stranger = move || places.take([192, 0, 2, 1].into());
            tokio::spawn(guests.receive(BoxedStream::new(there), place, stranger));
            Ok(BoxedStream::new(here))
        })
    }
}

/// Neither waits for the other to read before it reads itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_have_more_to_send_than_the_line_takes() {
    const COUNT: usize = 60;
    let line = Arc::new(OnceLock::new());
    let network = Arc::new(Narrow(Arc::clone(&line)));
    let alice = Alice::on(Outside { network, ..Outside::default() }).await;
    let bob = Alice::on(Outside::default()).await;
    let (hers, his) = (alice.link_key().await, bob.link_key().await);
    let (she, he) = (alice.identity(), bob.identity());
    let mut alice = alice.knows(he, his, vec!["bob.test:7310".to_owned()]).await;
    let mut bob = bob.knows(she, hers, Vec::new()).await;
    let start = |deps: &Deps| Peers::start(deps.clone(), Listening::default(), Vec::new());
    let bobs = start(&bob.deps);
    let guests = Guests::new(bob.deps.clone(), bobs.known());
    assert!(line.set((guests, Places::new((8, 8)))).is_ok());
    let alices: PeersHandle = start(&alice.deps);

    let both = async {
        let links = tokio::join!(alice.comes_up(), bob.comes_up());
        let parcel = |ctr| Parcel {
            handle: HANDLE,
            ttl: 0,
            mark: WorkMark::default(),
            envelope: vec![9; 49_113],
            key: Some(CipherKey { contact: BOB, root: RootTag([1; 8]), ctr }),
        };
        for link in [links.0, links.1] {
            let parcels = (1..).take(COUNT).map(parcel).collect();
            assert!(link.offer(parcels).is_ok());
        }
        tokio::join!(alice.is_taken(COUNT), bob.is_taken(COUNT));
    };
    timeout(Duration::from_secs(60), both).await.expect("neither side reads");
    alices.stop().await;
    bobs.stop().await;
}

/// Takes every connection, and says nothing.
struct Swallows;

impl Network for Swallows {
    fn connect<'a>(&'a self, _: &'a HostPort) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }
}

/// Of two who dial at once the lower key's link is kept; where that one gets nowhere, the other's is
/// taken soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_there_does_not_wait_for_an_address_that_swallows_everything() {
    let (one, other) = (Alice::on(Outside::default()).await, Alice::on(Outside::default()).await);
    let is_lower = one.link_key().await < other.link_key().await;
    let (mut winner, mut loser) = if is_lower { (one, other) } else { (other, one) };
    let line = Arc::new(OnceLock::new());
    winner.deps.outside.network = Arc::new(Swallows);
    loser.deps.outside.network = Arc::new(Narrow(Arc::clone(&line)));
    let keys = (winner.link_key().await, loser.link_key().await);
    let (first, second) = (winner.identity(), loser.identity());
    let at = || vec!["there.test:7310".to_owned(), "elsewhere.test:7310".to_owned()];
    let mut winner = winner.knows(second, keys.1, at()).await;
    let loser = loser.knows(first, keys.0, at()).await;
    let start = |deps: &Deps| Peers::start(deps.clone(), Listening::default(), Vec::new());
    let winners = start(&winner.deps);
    let guests = Guests::new(winner.deps.clone(), winners.known());
    assert!(line.set((guests, Places::new((8, 8)))).is_ok());
    let losers = start(&loser.deps);
    timeout(Duration::from_secs(30), winner.comes_up()).await.expect("it waits for its own");
    losers.stop().await;
    winners.stop().await;
}

/// Leads to one daemon, and says each time that somebody was led there.
struct Counted(Narrow, mpsc::Sender<()>);

impl Network for Counted {
    fn connect<'a>(&'a self, to: &'a HostPort) -> Connecting<'a> {
        self.1.try_send(()).unwrap();
        self.0.connect(to)
    }
}

/// What cannot be looked up is looked up again after a pause, not as fast as the disk fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_fails_no_link_is_kept_waiting() {
    let line = Arc::new(OnceLock::new());
    let (dials, mut dialled) = mpsc::channel(64);
    let network = Arc::new(Counted(Narrow(Arc::clone(&line)), dials));
    let alice = Alice::on(Outside { network, ..Outside::default() }).await;
    let bob = Alice::on(Outside::default()).await;
    let (hers, his) = (alice.link_key().await, bob.link_key().await);
    let (she, he) = (alice.identity(), bob.identity());
    let alice = alice.knows(he, his, vec!["bob.test:7310".to_owned()]).await;
    let bob = bob.knows(she, hers, Vec::new()).await;
    let start = |deps: &Deps| Peers::start(deps.clone(), Listening::default(), Vec::new());
    let bobs = start(&bob.deps);
    let guests = Guests::new(bob.deps.clone(), bobs.known());
    assert!(line.set((guests, Places::new((8, 8)))).is_ok());
    let way = bob.way;
    let damaged = bob.deps.store.write(move |txn| {
        let (secrets, generation) = (vec![1], 1);
        let row = AskedRow { contact: BOB, secrets, at: NOW, generation, link: None };
        txn.put::<Asked>(&(way, HANDLE), &row)
    });
    let damaged: Result<(), StoreError> = damaged.await;
    damaged.unwrap();
    let alices = start(&alice.deps);
    // Sooner than she would give up a link on which nothing is said.
    let again = async {
        for _ in 0..3 {
            dialled.recv().await.unwrap();
        }
    };
    timeout(Duration::from_secs(15), again).await.expect("a link waits that nobody looks at");
    alices.stop().await;
    bobs.stop().await;
}

/// Whoever connects as fast as he can is let in at a pace, and keeps nobody else out.
#[tokio::test(start_paused = true)]
async fn one_address_is_accepted_at_a_pace() {
    let alice = Alice::on(Outside::default()).await;
    let (hand, handed) = mpsc::channel(1);
    let listening = Listening::handed("192.0.2.1:7310".parse().unwrap(), handed);
    let alices = Peers::start(alice.deps.clone(), listening, Vec::new());
    let connect = async |last: u8| {
        let (here, there) = tokio::io::duplex(1024);
        let from = ([192, 0, 2, last], 40_000).into();
        hand.send((BoxedStream::new(there), from)).await.unwrap();
        here
    };
    // Sooner than the next one may come; nobody says anything before a stranger does.
    let is_let_in = async |mut line: DuplexStream| {
        timeout(Duration::from_millis(100), line.read_u8()).await.is_err()
    };
    for _ in 1..20 {
        // Those who were silent for longest make room.
        connect(7).await;
    }
    assert!(is_let_in(connect(7).await).await, "the twentieth");
    assert!(!is_let_in(connect(7).await).await, "the one after");
    assert!(is_let_in(connect(8).await).await, "somebody else");
    tokio::time::advance(Duration::from_millis(200)).await;
    assert!(is_let_in(connect(7).await).await, "after a moment");
    alices.stop().await;
}

/// Refuses every connection, and counts them.
#[derive(Default)]
struct Refuses(AtomicUsize);

impl Network for Refuses {
    fn connect<'a>(&'a self, _: &'a HostPort) -> Connecting<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Err(DialError::Refused)))
    }
}

/// What a stranger did not answer is asked no longer than it could be answered.
#[tokio::test(start_paused = true)]
async fn redialling_ends_when_nobody_answered_for_14_days() {
    const HOUR: i64 = 60 * 60 * 1000;
    let began = Instant::now();
    let passed = move || i64::try_from(began.elapsed().as_millis()).unwrap();
    let clock = Clock::told_by(move || NOW + passed());
    let network = Arc::new(Refuses::default());
    let dialled = || network.0.load(Ordering::Relaxed);
    let outside = Outside { clock, network: network.clone(), ..Outside::default() };
    let mut alice = Alice::on(outside).await;
    let me = alice.deps.me.clone();
    let met = Met {
        identity: IdentityKey::generate().public(),
        link_key: Key([1; 32]),
        at: "bob.test:7310".to_owned(),
        verified: false,
        linked: false,
    };
    let asked = alice.deps.store.write(move |txn| {
        let asked_at = NOW - 14 * 24 * HOUR + HOUR;
        direct::add(txn, &me, &met, Some("bob"), asked_at).map(|(_, row)| row.direct().unwrap())
    });
    alice.way = asked.await.unwrap();
    let alices = Peers::start(alice.deps.clone(), Listening::default(), Vec::new());
    let (live, mut changes) = (&alice.deps.live, alice.deps.live.follow());
    let why = loop {
        let why = live.link(alice.way).and_then(|link| link.reason).unwrap_or_default();
        if why.contains("14 days") {
            break why;
        }
        changes.changed().await.unwrap();
    };
    assert!(why.contains("amsctl peer connect"), "{why}");
    assert!((HOUR..HOUR + 120_000).contains(&passed()), "{}", passed());
    let before = dialled();
    assert!(before > 30, "{before}");
    tokio::time::advance(Duration::from_hours(24)).await;
    alices.stop().await;
    assert_eq!(dialled(), before);
}

/// Bob says where he is, and that leads no further than to the machine that dials.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_dialled_is_not_called_unknown() {
    let mut alice = Alice::new().await;
    let open = Settings { direct: Direct::Contacts, ..Settings::default() };
    alice.deps.settings = watch::Sender::new(open).subscribe();
    let way = alice.way;
    let offered = alice.deps.store.write(move |txn| {
        let link_key = txn.get::<Directs>(&way)?.and_then(|row| row.link_key);
        let offer = Offer { number: 1, link_key, addresses: vec!["127.0.0.1:22".to_owned()] };
        offer::take(txn, BOB, offer, NOW)
    });
    let offered: Result<(), StoreError> = offered.await;
    offered.unwrap();
    let alices = Peers::start(alice.deps.clone(), Listening::default(), Vec::new());
    let why = alice.why_not().await;
    assert!(why.contains("127.0.0.1, which is not dialled"), "{why}");
    alices.stop().await;
}

/// Why alice comes to nothing where she dials somebody of this identity, by this device, and bob's
/// daemon is there.
async fn why_not_bob(
    of: impl FnOnce(&Alice) -> IdentityKey,
    noted: bool,
    device: Option<Key>,
) -> String {
    let line = Arc::new(OnceLock::new());
    let network = Arc::new(Narrow(Arc::clone(&line)));
    let alice = Alice::on(Outside { network, ..Outside::default() }).await;
    let bob = Alice::on(Outside::default()).await;
    let at = vec!["bob.test:7310".to_owned()];
    let alice = alice.knows(of(&bob), Key([1; 32]), at.clone()).await;
    let way = alice.way;
    let row = DirectRow { link_key: device, addresses: at, noted, ..DirectRow::default() };
    let changed = alice.deps.store.write(move |txn| super::put(txn, way, &row));
    let changed: Result<(), StoreError> = changed.await;
    changed.unwrap();
    let start = |deps: &Deps| Peers::start(deps.clone(), Listening::default(), Vec::new());
    let bobs = start(&bob.deps);
    let guests = Guests::new(bob.deps.clone(), bobs.known());
    assert!(line.set((guests, Places::new((8, 8)))).is_ok());
    let alices = start(&alice.deps);
    let why = alice.why_not().await;
    alices.stop().await;
    bobs.stop().await;
    why
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_said_who_answers_in_a_contacts_place_and_what_helps() {
    let device = || Some(Key(*DhSecret::generate().public().as_bytes()));
    let other = why_not_bob(|_| IdentityKey::generate(), false, None).await;
    assert_eq!(other, "somebody else answers there, with another key");
    let moved = why_not_bob(Alice::identity, false, device()).await;
    assert_eq!(
        moved,
        "another device answers there: amsctl peer connect bob.test:7310 meets it anew"
    );
    let unknown = why_not_bob(Alice::identity, true, device()).await;
    assert_eq!(
        unknown,
        "what answers there does not know this device, or is another: amsctl peer connect \
         bob.test:7310 says which"
    );
}
