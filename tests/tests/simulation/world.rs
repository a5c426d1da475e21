//! People and relays before anything happens. Their accounts are made once, without the passwords
//! that nobody uses here, and every run begins with copies of the same disks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use ams_crypto::device;
use ams_crypto::dh::DhSecret;
use ams_tests::seed::Seed;
use ams_wire::id::Key;
use ams_wire::username::Username;
use amsd::profile::{self, Me};
use amsd::relay::{RelayId, RelayRow, Relays};
use amsd::settings::Settings;
use amsd::store::{Store, StoreError};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::books::Books;
use super::line::Device;
use super::net::Net;
use super::person::{self, Person};
use super::relay::{self, Relay, Terms};
use super::travel::{self, Travels};

/// Most people and relays in a run.
pub(crate) const PEOPLE: usize = 5;
pub(crate) const RELAYS: usize = 2;

/// Disks of people who have accounts and have not met.
pub(crate) struct Beginning {
    relays: Vec<relay::Kept>,
    people: Vec<person::Kept>,
    devices: BTreeMap<(usize, usize), [u8; 32]>,
    /// On direct links.
    direct: Vec<Device>,
}

/// What people are called by those who met them without a relay, and what they are called here.
static CALLED: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Who somebody is that is called so after a fingerprint.
pub(crate) fn called(name: &str) -> Option<&'static str> {
    CALLED.get().and_then(|called| called.get(name)).map(String::as_str)
}

/// A runtime whose clock runs when nothing else does.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// What a relay is called by its users.
pub(crate) fn nick(relay: usize) -> String {
    format!("r{relay}")
}

/// Makes the accounts, unless they are made. Not from within a runtime.
pub(crate) fn beginning() -> &'static Beginning {
    static BEGINNING: OnceLock<Beginning> = OnceLock::new();
    BEGINNING.get_or_init(|| runtime().block_on(begin()))
}

async fn begin() -> Beginning {
    let net = Net::new(Seed::new(1), |_, _| {}, |_, _, _, _| {}, |_, _, _| {});
    let relays: Vec<_> = (0..RELAYS).map(|_| relay::Kept::new()).collect();
    let mut accounts = vec![Vec::new(); RELAYS];
    let mut people = Vec::new();
    let mut devices = BTreeMap::new();
    let (mut direct, mut called) = (Vec::new(), BTreeMap::new());
    for number in 0..PEOPLE {
        let key = ams_crypto::random::bytes();
        let kept = person::Kept { image: Vec::new(), key };
        let person = Person::new(number, net.clone(), kept, Settings::default(), Seed::new(3));
        person.start().await.unwrap();
        let user = Username::new(&person.name).unwrap();
        let mut rows = Vec::new();
        for (at, relay) in relays.iter().enumerate() {
            let device = DhSecret::generate();
            devices.insert((number, at), *device.to_bytes());
            accounts[at].push((user.clone(), Key(*device.public().as_bytes())));
            rows.push((relay_id(at), row(at, relay.key(), &user, &device)));
        }
        let store = person.look(Store::clone).unwrap();
        let written = store
            .write(move |txn| rows.iter().try_for_each(|(id, row)| txn.put::<Relays>(id, row)));
        Result::<(), StoreError>::unwrap(written.await);
        let device = store.write(|txn| {
            let (me, secret) = (Me::load(txn)?, profile::link_secret(txn)?);
            let record = device::record(me.key(), &secret.public());
            Ok::<_, StoreError>(Device { secret: *secret.to_bytes(), record })
        });
        direct.push(device.await.unwrap());
        called.insert(profile::direct_name(&person.me()).unwrap().to_string(), person.name.clone());
        drop(store);
        person.stop().await;
        people.push(person::Kept { image: person.disk.image(), key });
    }
    let mut kept = Vec::new();
    for (relay, accounts) in relays.into_iter().zip(accounts) {
        kept.push(relay.with_accounts(accounts).await);
    }
    CALLED.set(called).unwrap();
    Beginning { relays: kept, people, devices, direct }
}

/// What everybody's daemon calls a relay.
fn relay_id(at: usize) -> RelayId {
    RelayId(u32::try_from(at).unwrap() + 1)
}

/// An account as its daemon knows it.
fn row(at: usize, key: Key, user: &Username, device: &DhSecret) -> RelayRow {
    RelayRow {
        nick: nick(at),
        at: relay::address(at),
        key,
        device_secret: *device.to_bytes(),
        user: user.clone(),
        enrolled: true,
        wanted: true,
        refused: None,
        relay_counter: 0,
        deleting: false,
        adopting: false,
    }
}

/// Everybody and everything.
pub(crate) struct World {
    /// The people.
    pub(crate) people: Vec<Arc<Person>>,
    /// The relays.
    pub(crate) relays: Vec<Arc<Relay>>,
    /// What is between them.
    pub(crate) net: Arc<Net>,
    /// When it began.
    pub(crate) begun: Instant,
    /// The same people, as the network knows them.
    all: Arc<Mutex<Vec<Arc<Person>>>>,
    /// What they noted.
    pub(crate) books: Arc<Books>,
    /// What was on the way.
    pub(crate) travels: Arc<Mutex<Travels>>,
}

impl World {
    /// All of it runs; nobody knows anybody. Everybody has an account everywhere.
    pub(crate) async fn begin(
        seed: &mut Seed,
        beginning: &Beginning,
        terms: Vec<Terms>,
        settings: Vec<Settings>,
        prepare: impl Fn(&Person),
    ) -> Self {
        let books = Arc::new(Books::default());
        let travels = Arc::new(Mutex::new(Travels::default()));
        let all: Arc<Mutex<Vec<Arc<Person>>>> = Arc::default();
        let stored = {
            let (all, books) = (all.clone(), books.clone());
            move |to: usize, at: usize, handle, envelope: &[u8]| {
                let Some(person) = all.lock().unwrap().get(to).cloned() else { return };
                let (me, place) = (person.me(), (relay_id(at), handle));
                // Of a daemon that is gone, or a disk that cannot be read, nothing is known.
                let kept = person.look(|store| travel::is_kept(store, &me, place, envelope));
                if matches!(kept, Some(Ok(false))) && !books.has_broken_off(to) {
                    let name = person::name(to);
                    books.wrong(format!("{name} called stored what is not on the disk"));
                }
            }
        };
        let sees = {
            let (all, travels, books) = (all.clone(), travels.clone(), books.clone());
            move |from: usize, envelope: &[u8]| {
                let Some(person) = all.lock().unwrap().get(from).cloned() else { return };
                let me = person.me();
                let look = |store: Option<&Store>| {
                    travels.lock().unwrap().look(from, &me, store, envelope)
                };
                let looked = person.look(|store| look(Some(store))).unwrap_or_else(|| look(None));
                if let Err(wrong) = looked {
                    books.wrong(wrong);
                }
            }
        };
        let handled = {
            let (all, books) = (all.clone(), books.clone());
            move |from: usize, to: usize, envelope: &[u8]| {
                let people = all.lock().unwrap();
                let pair = people.get(from).cloned().zip(people.get(to).cloned());
                drop(people);
                let Some((sender, person)) = pair else { return };
                let (me, from) = (person.me(), sender.me());
                let kept = person.look(|store| travel::is_kept_of(store, &me, &from, envelope));
                if matches!(kept, Some(Ok(false))) && !books.has_broken_off(to) {
                    let name = person::name(to);
                    books.wrong(format!("{name} called handled what is not on the disk"));
                }
            }
        };
        let net = Net::new(Seed::new(seed.draw()), sees, stored, handled);
        for device in &beginning.direct {
            net.street().add_device(*device);
        }
        let mut relays = Vec::new();
        for (number, terms) in terms.into_iter().enumerate() {
            let kept = beginning.relays[number].clone();
            let relay = Relay::new(number, net.clone(), kept, terms, Seed::new(seed.draw()));
            relay.start().await.unwrap();
            relays.push(Arc::new(relay));
        }
        let mut people = Vec::new();
        for (number, settings) in settings.into_iter().enumerate() {
            let kept = beginning.people[number].clone();
            let person = Person::new(number, net.clone(), kept, settings, Seed::new(seed.draw()));
            for relay in 0..relays.len() {
                net.add_device(number, relay, beginning.devices[&(number, relay)]);
            }
            prepare(&person);
            person.start().await.unwrap();
            people.push(Arc::new(person));
        }
        all.lock().unwrap().clone_from(&people);
        Self { people, relays, net, begun: Instant::now(), all, books, travels }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // They know the network, and the network knows them.
        self.all.lock().unwrap().clear();
    }
}
