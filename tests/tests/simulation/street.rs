//! Between people without a relay: who listens where, over which lines, in which weather.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ams_link::stream::BoxedStream;
use ams_wire::address::DIRECT_PORT;
use amsd::peer::Listening;
use amsd::relay::DialError;
use tokio::sync::mpsc;

use super::line::{Device, Line, SeesBetween, Two};
use super::net::{BUFFER, CLEAR};
use super::wire::Way;

/// Connections that wait to be accepted.
const BACKLOG: usize = 16;

/// Two people, the lower number first.
fn key(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

/// Where somebody is who has moved so often.
fn address(person: usize, moves: u8) -> SocketAddr {
    let house = u8::try_from(person + 1).unwrap();
    (IpAddr::from([10, 0, moves, house]), DIRECT_PORT).into()
}

/// What somebody meets who dials an address.
pub(crate) enum Dialled {
    /// Somebody who takes the connection.
    Taken(BoxedStream),
    /// Nobody, at once.
    Refused,
    /// Nobody, and no word.
    Silent,
}

impl Dialled {
    /// As the daemon has it, once whoever dialled has waited.
    pub(crate) fn result(self) -> Result<BoxedStream, DialError> {
        match self {
            Self::Taken(stream) => Ok(stream),
            Self::Refused => Err(DialError::Refused),
            Self::Silent => Err(DialError::Silent),
        }
    }
}

/// All that is between people.
pub(crate) struct Street {
    devices: Vec<Device>,
    /// How often each moved.
    moves: BTreeMap<usize, u8>,
    /// Those whose daemons listen now.
    doors: BTreeMap<usize, mpsc::Sender<(BoxedStream, SocketAddr)>>,
    /// Who dialled and who answered → the lines between them.
    lines: BTreeMap<(usize, usize), Vec<Line>>,
    /// Those that nobody is at one end of, and nobody was told.
    stranded: Vec<Line>,
    /// What new lines are like; where there is nothing, they are good.
    weather: BTreeMap<(usize, usize), Way>,
    /// Nothing comes through at all.
    parted: BTreeSet<(usize, usize)>,
    /// The next line breaks after so many frames.
    fuses: BTreeMap<(usize, usize), u32>,
    sees: SeesBetween,
    handled: SeesBetween,
    /// The control.
    is_eager: bool,
    /// Envelopes that passed.
    count: Arc<AtomicU64>,
}

impl Street {
    /// With nobody on it.
    pub(crate) fn new(sees: SeesBetween, handled: SeesBetween) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let sees: SeesBetween = Arc::new({
            let count = count.clone();
            move |from, to, envelope: &[u8]| {
                count.fetch_add(1, Ordering::Relaxed);
                sees(from, to, envelope);
            }
        });
        Self {
            devices: Vec::new(),
            moves: BTreeMap::new(),
            doors: BTreeMap::new(),
            lines: BTreeMap::new(),
            stranded: Vec::new(),
            weather: BTreeMap::new(),
            parted: BTreeSet::new(),
            fuses: BTreeMap::new(),
            sees,
            handled,
            is_eager: false,
            count,
        }
    }

    /// The control: senders are told that an envelope is handled before their contacts have it.
    pub(crate) fn set_eager(&mut self) {
        self.is_eager = true;
    }

    /// How many envelopes passed.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The next person has this device.
    pub(crate) fn add_device(&mut self, device: Device) {
        self.devices.push(device);
    }

    /// Where somebody is.
    pub(crate) fn address(&self, person: usize) -> SocketAddr {
        address(person, self.moves.get(&person).copied().unwrap_or(0))
    }

    /// Somebody is somewhere else from now on; `false`: that one has moved so often already.
    pub(crate) fn move_away(&mut self, person: usize, most: u8) -> bool {
        let moves = self.moves.entry(person).or_default();
        let moves_on = *moves < most;
        *moves += u8::from(moves_on);
        moves_on
    }

    /// Whether somebody was elsewhere before.
    pub(crate) fn has_moved(&self, person: usize) -> bool {
        self.moves.contains_key(&person)
    }

    /// Somebody's daemon listens where that one is.
    pub(crate) fn listen(&mut self, person: usize) -> Listening {
        let (door, connections) = mpsc::channel(BACKLOG);
        self.doors.insert(person, door);
        Listening::handed(self.address(person), connections)
    }

    /// It does not any more.
    pub(crate) fn close(&mut self, person: usize) {
        self.doors.remove(&person);
    }

    /// Somebody dials `at`.
    pub(crate) fn dial(&mut self, person: usize, at: SocketAddr) -> Dialled {
        let there = (0..self.devices.len()).find(|other| self.address(*other) == at);
        let Some(there) = there.filter(|there| *there != person) else { return Dialled::Silent };
        let two = key(person, there);
        if self.parted.contains(&two) {
            return Dialled::Silent;
        }
        let Some(door) = self.doors.get(&there) else { return Dialled::Refused };
        let (near, far) = tokio::io::duplex(BUFFER);
        let (above, served) = tokio::io::duplex(BUFFER);
        let from = self.address(person);
        if door.try_send((BoxedStream::new(served), from)).is_err() {
            return Dialled::Refused;
        }
        let way = self.weather.get(&two).copied().unwrap_or(CLEAR);
        let ends = Two {
            people: [person, there],
            devices: [self.devices[person], self.devices[there]],
            sees: self.sees.clone(),
            handled: self.handled.clone(),
            is_eager: self.is_eager,
        };
        let line = Line::open([far, above], ends, way, self.fuses.remove(&two));
        let lines = self.lines.entry((person, there)).or_default();
        lines.retain(|line| !line.wire.is_over());
        lines.push(line);
        Dialled::Taken(BoxedStream::new(near))
    }

    /// The lines between two people, or of one of them with everybody.
    fn each(&mut self, one: usize, other: Option<usize>, mut act: impl FnMut(&Line)) {
        for ((from, to), lines) in &mut self.lines {
            let of_both = |other| key(*from, *to) == key(one, other);
            if other.map_or(*from == one || *to == one, of_both) {
                lines.retain(|line| !line.wire.is_over());
                lines.iter().for_each(&mut act);
            }
        }
    }

    /// Ends every line between the two, or of the one with everybody.
    pub(crate) fn cut(&mut self, one: usize, other: Option<usize>) {
        self.each(one, other, |line| line.wire.cut.cancel());
    }

    /// The line between the two breaks after so many frames more: the one that there is, or else the
    /// next one.
    pub(crate) fn cut_soon(&mut self, one: usize, other: usize, frames: u32) {
        let mut is_there = false;
        self.each(one, Some(other), |line| {
            is_there = true;
            *line.fuse.lock().unwrap() = Some(frames);
        });
        if !is_there {
            self.fuses.insert(key(one, other), frames);
        }
    }

    /// The machine of somebody lost its power, and nobody is told.
    pub(crate) fn strand(&mut self, person: usize) {
        let mut stranded = Vec::new();
        self.each(person, None, |line| {
            line.wire.way.send_modify(|way| (way.up_is_open, way.down_is_open) = (false, false));
            stranded.push(line.clone());
        });
        // New ones are not concerned.
        self.lines.retain(|(from, to), _| *from != person && *to != person);
        self.stranded.extend(stranded);
    }

    /// One direction of what there is now falls silent.
    pub(crate) fn half_open(&mut self, one: usize, other: usize, up: bool) {
        self.each(one, Some(other), |line| {
            line.wire.way.send_modify(|way| {
                *if up { &mut way.up_is_open } else { &mut way.down_is_open } = false;
            });
        });
    }

    /// Nothing comes through between the two, or does again.
    pub(crate) fn part(&mut self, one: usize, other: usize, parted: bool) {
        if parted {
            self.parted.insert(key(one, other));
        } else {
            self.parted.remove(&key(one, other));
        }
        self.each(one, Some(other), |line| {
            line.wire.way.send_modify(|way| {
                (way.up_is_open, way.down_is_open) = (!parted, !parted);
            });
        });
    }

    /// What passes between the two takes so long, now and from now on.
    pub(crate) fn slow(&mut self, one: usize, other: usize, latency: Duration) {
        let way = Way { latency, ..CLEAR };
        self.weather.insert(key(one, other), way);
        self.each(one, Some(other), |line| {
            line.wire.way.send_replace(way);
        });
    }

    /// All is well. What was connected is cut, so that nobody goes on believing a lie.
    pub(crate) fn heal(&mut self) {
        self.weather.clear();
        self.parted.clear();
        self.fuses.clear();
        let lines = std::mem::take(&mut self.lines).into_values().flatten();
        lines.chain(self.stranded.drain(..)).for_each(|line| line.wire.cut.cancel());
    }
}
