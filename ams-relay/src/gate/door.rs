//! Whether a connection is taken at all: how many come, from where, and how those from there have
//! behaved.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use crate::config::Limits;
use crate::limits::{Bucket, Rate};

/// Sources that are remembered.
const MAX_SOURCES: usize = 65_536;
/// A source is kept out once its penalties add up to this, and never for longer than that.
const PENALTY: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));

/// What a source did wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Offence {
    /// No handshake, or bytes that make no sense.
    Protocol,
    /// A refused login, registration or device.
    Refused,
    /// It let its time run out.
    Late,
}

impl Offence {
    fn penalty(self) -> Duration {
        Duration::from_secs(match self {
            Self::Protocol => 5,
            Self::Refused => 10,
            Self::Late => 20,
        })
    }
}

/// The door.
#[derive(Debug)]
pub(crate) struct Door {
    // Set once.
    exempt: Vec<IpAddr>,
    everybody: Rate,
    source: Rate,
    most: u32,
    most_of_source: u32,
    hasher: RandomState,
    // Shared, behind a short lock.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accepts: Bucket,
    strangers: u32,
    sources: HashMap<u64, Source>,
}

#[derive(Debug, Default)]
struct Source {
    accepts: Bucket,
    strangers: u32,
    /// Penalties run until then.
    penalty: Option<Instant>,
}

/// Somebody who was let in and is not known yet. Dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct Ticket {
    door: Arc<Door>,
    source: u64,
    is_exempt: bool,
}

impl Door {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        const SECOND: Duration = Duration::from_secs(1);
        Arc::new(Self {
            exempt: limits.exempt.clone(),
            everybody: Rate::new(limits.accepts_per_second, SECOND, limits.accept_burst),
            source: Rate::new(limits.source_accepts_per_second, SECOND, limits.source_accept_burst),
            most: limits.strangers,
            most_of_source: limits.source_strangers,
            hasher: RandomState::new(),
            state: Mutex::default(),
        })
    }

    /// Lets a connection in, or not. `from` is `None` for a stream without an address.
    pub(crate) fn knock(self: &Arc<Self>, from: Option<IpAddr>, now: Instant) -> Option<Ticket> {
        let from = from.map(|ip| ip.to_canonical());
        let is_exempt = from.is_none_or(|ip| self.exempt.contains(&ip));
        let source = self.hasher.hash_one(from.map(block));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if !is_exempt {
            make_room(&mut state.sources, now);
            let known = state.sources.entry(source).or_default();
            let is_barred = known
                .penalty
                .is_some_and(|until| until.saturating_duration_since(now) >= PENALTY.0);
            if is_barred
                || known.strangers >= self.most_of_source
                || !known.accepts.take(self.source, now)
            {
                return None;
            }
        }
        if from.is_some() && !state.accepts.take(self.everybody, now) {
            return None;
        }
        if state.strangers >= self.most || (!is_exempt && is_unlucky(state.strangers, self.most)) {
            return None;
        }
        state.strangers = state.strangers.saturating_add(1);
        if let Some(known) = state.sources.get_mut(&source) {
            known.strangers = known.strangers.saturating_add(1);
        }
        Some(Ticket { door: Arc::clone(self), source, is_exempt })
    }
}

/// Above half of the bound, strangers are turned away by chance: whoever fills the room gets most
/// of the refusals.
fn is_unlucky(strangers: u32, most: u32) -> bool {
    let half = most / 2;
    strangers > half
        && rand::rng().random_range(0..most.saturating_sub(half).max(1))
            < strangers.saturating_sub(half)
}

/// One IPv4 address, or the /64 that an IPv6 host chooses its addresses from.
fn block(ip: IpAddr) -> [u8; 8] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 4]
        }
        IpAddr::V6(ip) => ip.octets().first_chunk().copied().unwrap_or_default(),
    }
}

fn make_room(sources: &mut HashMap<u64, Source>, now: Instant) {
    if sources.len() < MAX_SOURCES {
        return;
    }
    sources.retain(|_, source| source.strangers > 0 || source.penalty.is_some_and(|p| p > now));
    if sources.len() >= MAX_SOURCES {
        sources.retain(|_, source| source.strangers > 0);
    }
}

impl Ticket {
    /// Names the source for other limits.
    pub(crate) fn source(&self) -> u64 {
        self.source
    }

    /// The limits per source do not concern it.
    pub(crate) fn is_exempt(&self) -> bool {
        self.is_exempt
    }

    /// Its source did something wrong.
    pub(crate) fn charge(&self, offence: Offence) {
        let now = Instant::now();
        let mut state = self.door.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = state.sources.get_mut(&self.source) {
            let from = source.penalty.map_or(now, |until| until.max(now));
            let until = from.checked_add(offence.penalty()).unwrap_or(from);
            let latest = now.checked_add(PENALTY.1).unwrap_or(until);
            source.penalty = Some(until.min(latest));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.door.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.strangers = state.strangers.saturating_sub(1);
        if let Some(source) = state.sources.get_mut(&self.source) {
            source.strangers = source.strangers.saturating_sub(1);
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use super::*;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_source_comes_in_bursts_and_with_few_strangers() {
        let door = Door::new(&Limits::default());
        let now = Instant::now();
        let first: Vec<_> = (0..8).map(|_| door.knock(ip(1), now).unwrap()).collect();
        assert!(door.knock(ip(1), now).is_none());
        assert!(door.knock(ip(2), now).is_some());
        drop(first);
        let more = (0..40).filter(|_| door.knock(ip(1), now).is_some()).count();
        assert_eq!(more, 12);
        assert!(door.knock(ip(1), now + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn a_source_that_misbehaves_is_kept_out_for_a_while() {
        let door = Door::new(&Limits::default());
        let ticket = door.knock(ip(1), Instant::now()).unwrap();
        ticket.charge(Offence::Refused);
        assert!(door.knock(ip(1), Instant::now()).is_some());
        ticket.charge(Offence::Refused);
        let now = Instant::now();
        assert!(door.knock(ip(1), now).is_none());
        assert!(door.knock(ip(2), now).is_some());
        assert!(door.knock(ip(1), now + Duration::from_secs(10)).is_some());
    }

    #[test]
    fn the_exempt_and_nobody_else_pass_beside_the_limits_of_a_source() {
        let door = Door::new(&Limits { strangers: 100, ..Limits::default() });
        let now = Instant::now();
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let all: Vec<_> = (0..100).map(|_| door.knock(here, now).unwrap()).collect();
        assert!(door.knock(here, now).is_none());
        drop(all);
        assert!(door.knock(here, now).is_some());
    }
}
