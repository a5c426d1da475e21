//! People and relays before anything happens. Making accounts hashes passwords, which takes time: it
//! is done once, and every run begins with copies of the same disks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use ams_rpc::methods::relay as relay_methods;
use ams_rpc::types::{RelayJoinParams, Secret};
use ams_tests::seed::Seed;
use amsd::relay::Relays;
use amsd::settings::Settings;
use amsd::store::{Read, Store};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::books::Books;
use super::net::Net;
use super::person::{self, Person};
use super::relay::{self, Relay, Terms};
use super::travel::Travels;

/// Most people and relays in a run.
pub(crate) const PEOPLE: usize = 5;
pub(crate) const RELAYS: usize = 2;

/// Disks of people who have accounts and have not met.
pub(crate) struct Beginning {
    relays: Vec<relay::Kept>,
    people: Vec<person::Kept>,
    devices: BTreeMap<(usize, usize), [u8; 32]>,
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
    let net = Net::new(Seed::new(1), |_, _| {});
    let terms = Terms { window: std::time::Duration::from_secs(60), sender_held: 1024 };
    let mut relays = Vec::new();
    let mut running = Vec::new();
    for number in 0..RELAYS {
        let kept = relay::Kept::new();
        let relay = Relay::new(number, net.clone(), kept, terms.clone(), Seed::new(2));
        running.push(relay.start().await);
        relays.push(relay);
    }
    let mut people = Vec::new();
    let mut devices = BTreeMap::new();
    for number in 0..PEOPLE {
        let key = ams_crypto::random::bytes();
        let kept = person::Kept { image: Vec::new(), key };
        let person = Person::new(number, net.clone(), kept, Settings::default(), Seed::new(3));
        person.start().await.unwrap();
        for (at, relay) in running.iter().enumerate() {
            let link = relay.invite(&person.name).await.unwrap();
            let password = Secret::new("correct horse battery".to_owned());
            let join = RelayJoinParams { link, password, nick: Some(nick(at)) };
            person.call::<relay_methods::Join>(&join).await.unwrap();
        }
        let rows = person.look(|store| store.read_now(|db| db.list::<Relays>(&()))).unwrap();
        for (_, row) in rows.unwrap() {
            let at = (0..RELAYS).find(|at| row.nick == nick(*at)).unwrap();
            devices.insert((number, at), row.device_secret);
        }
        person.stop().await;
        people.push(person::Kept { image: person.disk.image(), key });
    }
    drop(running);
    let mut kept = Vec::new();
    for relay in &relays {
        relay.stop().await;
        kept.push(relay.kept());
    }
    Beginning { relays: kept, people, devices }
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
        let net = Net::new(Seed::new(seed.draw()), {
            let (all, travels, books) = (all.clone(), travels.clone(), books.clone());
            move |from, envelope| {
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
        });
        let mut relays = Vec::new();
        for (number, terms) in terms.into_iter().enumerate() {
            let kept = beginning.relays[number].clone();
            let relay = Relay::new(number, net.clone(), kept, terms, Seed::new(seed.draw()));
            relay.start().await;
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
