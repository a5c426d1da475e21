//! The network between people and relays: who can be reached, over which wires, in which weather.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ams_link::stream::BoxedStream;
use ams_tests::seed::Seed;
use ams_wire::address::HostPort;
use ams_wire::id::Handle;
use amsd::outside::{Connecting, Network};
use amsd::relay::DialError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::line::SeesBetween;
use super::street::{Dialled, Street};
use super::wire::{Ends, Way, Wire};

/// Bytes that a stream holds each way.
pub(crate) const BUFFER: usize = 64 * 1024;
/// Envelopes that can be sent once more, by anybody.
const KEPT: usize = 64;
/// How long somebody dials whom nobody answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// A relay as the network sees it.
struct Door {
    /// Where it is.
    host: String,
    /// `None`: nobody answers.
    relay: Option<Arc<ams_relay::Running>>,
    secret: [u8; 32],
}

/// The newest envelopes, whose they are, and the handles that they went under.
type Newest = VecDeque<(usize, Handle, Vec<u8>)>;

struct Inner {
    doors: Vec<Door>,
    /// Person and relay → the wires between them.
    wires: BTreeMap<(usize, usize), Vec<Wire>>,
    /// Those that nobody is at the lower end of, and nobody was told.
    stranded: Vec<Wire>,
    /// Person and relay → what new wires are like; where there is nothing, they are good.
    weather: BTreeMap<(usize, usize), Way>,
    /// Person and relay → nothing comes through at all.
    parted: BTreeMap<(usize, usize), bool>,
    /// Person and relay → the device's secret. Without it the way is a plain one.
    devices: BTreeMap<(usize, usize), [u8; 32]>,
    on_the_way: Arc<Mutex<Newest>>,
    /// The control: whose relays are told at once that everything is stored.
    is_eager: bool,
    chance: Seed,
}

/// Looks at an envelope of that person's.
type SeesOf = Arc<dyn Fn(usize, &[u8]) + Send + Sync>;
/// Looks at an envelope that a person has stored: the relay, the handle that it came under.
type SeesStored = Arc<dyn Fn(usize, usize, Handle, &[u8]) + Send + Sync>;

/// The network.
pub(crate) struct Net {
    inner: Mutex<Inner>,
    street: Mutex<Street>,
    /// Sees every envelope that somebody sends.
    sees: SeesOf,
    /// Sees every envelope that somebody calls stored.
    stored: SeesStored,
}

/// A clear day.
pub(crate) const CLEAR: Way =
    Way { up_is_open: true, down_is_open: true, latency: Duration::from_millis(3), lies: 0 };

impl Net {
    /// With nobody on it. `sees` is given each envelope with its sender, `stored` each that its
    /// recipient calls stored, with that one, the relay and the handle that it came under; `handled`
    /// each that came without a relay and is called handled, with its sender and its recipient.
    pub(crate) fn new(
        chance: Seed,
        sees: impl Fn(usize, &[u8]) + Send + Sync + 'static,
        stored: impl Fn(usize, usize, Handle, &[u8]) + Send + Sync + 'static,
        handled: impl Fn(usize, usize, &[u8]) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let inner = Inner {
            doors: Vec::new(),
            wires: BTreeMap::new(),
            stranded: Vec::new(),
            weather: BTreeMap::new(),
            parted: BTreeMap::new(),
            devices: BTreeMap::new(),
            on_the_way: Arc::default(),
            is_eager: false,
            chance,
        };
        let (sees, stored): (SeesOf, SeesStored) = (Arc::new(sees), Arc::new(stored));
        let sees_between: SeesBetween = Arc::new({
            let sees = sees.clone();
            move |from, _, envelope: &[u8]| sees(from, envelope)
        });
        let street = Mutex::new(Street::new(sees_between, Arc::new(handled)));
        Arc::new(Self { inner: Mutex::new(inner), street, sees, stored })
    }

    /// What is between people without a relay.
    pub(crate) fn street(&self) -> MutexGuard<'_, Street> {
        self.street.lock().unwrap()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// A relay that does not run yet.
    pub(crate) fn add_relay(&self, host: String, secret: [u8; 32]) {
        self.inner().doors.push(Door { host, relay: None, secret });
    }

    /// The control: relays are told that an envelope is stored before the daemon has it.
    pub(crate) fn set_eager(&self) {
        self.inner().is_eager = true;
    }

    /// A person has this device at a relay.
    pub(crate) fn add_device(&self, person: usize, relay: usize, secret: [u8; 32]) {
        self.inner().devices.insert((person, relay), secret);
    }

    /// A relay runs, or no longer; what it was is given back.
    pub(crate) fn set_relay(
        &self,
        relay: usize,
        running: Option<Arc<ams_relay::Running>>,
    ) -> Option<Arc<ams_relay::Running>> {
        std::mem::replace(&mut self.inner().doors[relay].relay, running)
    }

    /// A relay that runs.
    pub(crate) fn relay(&self, relay: usize) -> Option<Arc<ams_relay::Running>> {
        self.inner().doors[relay].relay.clone()
    }

    /// Whether a relay runs.
    pub(crate) fn has_relay(&self, relay: usize) -> bool {
        self.inner().doors[relay].relay.is_some()
    }

    /// Ends every connection between the two. `None`: of all people, at all relays; those of a person
    /// with others end with all of its own.
    pub(crate) fn cut(&self, person: Option<usize>, relay: Option<usize>) {
        if let (Some(person), None) = (person, relay) {
            self.street().cut(person, None);
        }
        self.inner().each_wire(person, relay, |wire| wire.cut.cancel());
    }

    /// Nothing passes any more on the connections of a person, and nobody is told: its machine lost
    /// its power.
    pub(crate) fn strand(&self, person: usize) {
        self.street().strand(person);
        let mut inner = self.inner();
        let still = |way: &mut Way| (way.up_is_open, way.down_is_open) = (false, false);
        inner.each_wire(Some(person), None, |wire| wire.way.send_modify(still));
        // New ones are not concerned.
        let of_person = inner.wires.extract_if((person, 0)..(person + 1, 0), |_, _| true);
        let stranded: Vec<Wire> = of_person.flat_map(|(_, wires)| wires).collect();
        inner.stranded.extend(stranded);
    }

    /// Changes what passes between the two, now and from now on.
    pub(crate) fn set_weather(&self, person: usize, relay: usize, way: Way) {
        let mut inner = self.inner();
        inner.weather.insert((person, relay), way);
        inner.each_wire(Some(person), Some(relay), |wire| {
            wire.way.send_replace(way);
        });
    }

    /// The device of a person at a relay sends some envelopes of others' that it saw, under handles
    /// that it saw and under made up ones.
    pub(crate) fn forge(&self, person: usize, relay: usize, count: usize) {
        let mut inner = self.inner();
        let newest = inner.on_the_way.lock().unwrap().clone();
        let others: Vec<_> = newest.iter().filter(|(of, ..)| *of != person).collect();
        if others.is_empty() {
            return;
        }
        for _ in 0..count {
            let (_, _, envelope) = others[inner.chance.place(others.len())];
            let (_, seen, _) = newest[inner.chance.place(newest.len())];
            let made_up = inner.chance.one_in(4).then(|| Handle(ams_crypto::random::bytes()));
            inner.each_wire(Some(person), Some(relay), |wire| {
                wire.forge(made_up.unwrap_or(seen), envelope.clone());
            });
        }
    }

    /// One direction of what there is now falls silent; new connections are good.
    pub(crate) fn half_open(&self, person: usize, relay: usize, up: bool) {
        self.inner().each_wire(Some(person), Some(relay), |wire| {
            wire.way.send_modify(|way| {
                *if up { &mut way.up_is_open } else { &mut way.down_is_open } = false;
            });
        });
    }

    /// Nothing comes through between the two, or does again.
    pub(crate) fn part(&self, person: usize, relay: usize, parted: bool) {
        let mut inner = self.inner();
        inner.parted.insert((person, relay), parted);
        inner.each_wire(Some(person), Some(relay), |wire| {
            wire.way.send_modify(|way| {
                (way.up_is_open, way.down_is_open) = (!parted, !parted);
            });
        });
    }

    /// All is well. What was connected is cut, so that nobody goes on believing a lie.
    pub(crate) fn heal(&self) {
        self.street().heal();
        let mut inner = self.inner();
        inner.weather.clear();
        inner.parted.clear();
        inner.each_wire(None, None, |wire| wire.cut.cancel());
        inner.wires.clear();
        inner.stranded.drain(..).for_each(|wire| wire.cut.cancel());
    }

    /// Connects a person to the relay at `host`.
    fn connect_now(&self, person: usize, host: &str) -> Result<BoxedStream, DialError> {
        let mut inner = self.inner();
        let relay = inner.doors.iter().position(|door| door.host == host);
        let relay = relay.ok_or_else(|| DialError::UnknownHost(host.to_owned()))?;
        let door = &inner.doors[relay];
        let secret = door.secret;
        let Some(running) = door.relay.clone() else { return Err(DialError::Refused) };
        let (near, far) = tokio::io::duplex(BUFFER);
        let Some(device) = inner.devices.get(&(person, relay)).copied() else {
            running.serve(far);
            return Ok(BoxedStream::new(near));
        };
        let (above, served) = tokio::io::duplex(BUFFER);
        running.serve(served);
        let way = inner.weather.get(&(person, relay)).copied().unwrap_or(CLEAR);
        let (sees, stored) = (self.sees.clone(), self.stored.clone());
        let ends = Ends {
            relay: secret,
            device,
            is_eager: inner.is_eager,
            stored: Arc::new(move |handle, envelope: &[u8]| {
                stored(person, relay, handle, envelope);
            }),
            sees: Arc::new({
                let on_the_way = inner.on_the_way.clone();
                move |handle, envelope: &[u8]| {
                    let mut newest = on_the_way.lock().unwrap();
                    newest.push_back((person, handle, envelope.to_vec()));
                    if newest.len() > KEPT {
                        newest.pop_front();
                    }
                    drop(newest);
                    sees(person, envelope);
                }
            }),
        };
        let chance = Seed::new(inner.chance.draw());
        let wire = Wire::open(far, above, ends, way, chance);
        let wires = inner.wires.entry((person, relay)).or_default();
        wires.retain(|wire| !wire.is_over());
        wires.push(wire);
        Ok(BoxedStream::new(near))
    }

    fn is_parted(&self, person: usize, host: &str) -> bool {
        let inner = self.inner();
        let relay = inner.doors.iter().position(|door| door.host == host);
        relay.is_some_and(|relay| inner.parted.get(&(person, relay)).copied().unwrap_or(false))
    }
}

impl Inner {
    fn each_wire(
        &mut self,
        person: Option<usize>,
        relay: Option<usize>,
        mut act: impl FnMut(&Wire),
    ) {
        for ((of, at), wires) in &mut self.wires {
            if person.is_none_or(|person| person == *of) && relay.is_none_or(|relay| relay == *at) {
                wires.retain(|wire| !wire.is_over());
                wires.iter().for_each(&mut act);
            }
        }
    }
}

/// The network as one run of somebody's daemon has it.
pub(crate) struct Plugged {
    /// The network.
    pub(crate) net: Arc<Net>,
    /// Whose it is.
    pub(crate) person: usize,
    /// The daemon is gone: whatever it still does reaches nobody.
    pub(crate) gone: CancellationToken,
}

impl Network for Plugged {
    fn connect<'a>(&'a self, to: &'a HostPort) -> Connecting<'a> {
        Box::pin(async move {
            sleep(CLEAR.latency).await;
            if self.net.is_parted(self.person, to.host()) {
                sleep(PATIENCE).await;
                return Err(DialError::Silent);
            }
            if self.gone.is_cancelled() {
                return std::future::pending().await;
            }
            if let Ok(at) = to.to_string().parse() {
                let dialled = self.net.street().dial(self.person, at);
                if matches!(dialled, Dialled::Silent) {
                    sleep(PATIENCE).await;
                }
                return dialled.result();
            }
            self.net.connect_now(self.person, to.host())
        })
    }
}
