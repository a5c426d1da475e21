//! Whether a connection is taken at all: how many come, from where, and how those from there have
//! behaved. A source is an IPv4 address or the /64 that an IPv6 host chooses its addresses from;
//! the /48 around that, which one subscriber may have, is bounded too.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Block, Limits};
use crate::limits::{Bucket, Rate, Recent};

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

/// The door.
#[derive(Debug)]
pub(crate) struct Door {
    // Set once.
    limits: Limits,
    everybody: Rate,
    source: Rate,
    network: Rate,
    hasher: RandomState,
    // Shared, behind a short lock.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accepts: Bucket,
    origins: Recent<Origin>,
    /// Strangers by origin; an origin without one is not in it.
    inside: HashMap<u64, u32>,
    /// All strangers, in the order in which they came, and how to make them go.
    strangers: BTreeMap<u64, CancellationToken>,
    came: u64,
    /// Memory is short: nobody new is let in.
    is_shut: bool,
}

/// A source or a network.
#[derive(Debug, Default)]
struct Origin {
    accepts: Bucket,
    /// Penalties run until then.
    penalty: Option<Instant>,
}

/// Somebody who was let in and is not known yet. Dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct Ticket {
    door: Arc<Door>,
    number: u64,
    source: u64,
    network: Option<u64>,
    is_exempt: bool,
    leave: CancellationToken,
}

impl Door {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        const SECOND: Duration = Duration::from_secs(1);
        Arc::new(Self {
            everybody: Rate::new(limits.accepts_per_second, SECOND, limits.accept_burst),
            source: Rate::new(limits.source_accepts_per_second, SECOND, limits.source_accept_burst),
            network: Rate::new(
                limits.network_accepts_per_second,
                SECOND,
                limits.network_accept_burst,
            ),
            limits: limits.clone(),
            hasher: RandomState::new(),
            state: Mutex::default(),
        })
    }

    /// Lets a connection in, or not. `from` is `None` for a stream without an address.
    pub(crate) fn knock(self: &Arc<Self>, from: Option<IpAddr>, now: Instant) -> Option<Ticket> {
        let limits = &self.limits;
        let lists = |blocks: &[Block], ip| blocks.iter().any(|block| block.contains(ip));
        if from.is_some_and(|ip| lists(&limits.banned, ip)) {
            return None;
        }
        let is_exempt = from.is_none_or(|ip| lists(&limits.exempt, ip));
        let (source, network) = self.origins(from);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        // What concerns everybody first: nobody fills the table of origins by being turned away.
        let inside = u32::try_from(state.strangers.len()).unwrap_or(u32::MAX);
        if state.is_shut
            || inside >= limits.strangers
            || (from.is_some() && !state.accepts.has_one(self.everybody, now))
        {
            return None;
        }
        if !is_exempt {
            let mut origins = vec![(source, self.source, limits.source_strangers)];
            origins.extend(network.map(|key| (key, self.network, limits.network_strangers)));
            for (key, rate, most) in origins {
                let is_full = state.inside.get(&key).is_some_and(|inside| *inside >= most);
                let origin = state.origins.of(key);
                let left = origin.penalty.map(|until| until.saturating_duration_since(now));
                let is_barred = left.is_some_and(|left| left >= limits.penalty_least);
                if is_barred || is_full || !origin.accepts.take(rate, now) {
                    return None;
                }
            }
            if is_unlucky(inside, limits.strangers) {
                return None;
            }
        }
        if from.is_some() {
            state.accepts.take(self.everybody, now);
        }
        state.came = state.came.wrapping_add(1);
        let leave = CancellationToken::new();
        state.strangers.insert(state.came, leave.clone());
        for key in [Some(source), network].into_iter().flatten() {
            let inside = state.inside.entry(key).or_default();
            *inside = inside.saturating_add(1);
        }
        let number = state.came;
        Some(Ticket { door: Arc::clone(self), number, source, network, is_exempt, leave })
    }

    /// The keys of the source and, for IPv6, of the network that an address belongs to.
    fn origins(&self, from: Option<IpAddr>) -> (u64, Option<u64>) {
        match from.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V6(ip)) => {
                let bits = ip.to_bits();
                let key = |bits: u128, length: u8| self.hasher.hash_one((length, bits));
                (key(bits >> 64, 64), Some(key(bits >> 80, 48)))
            }
            other => (self.hasher.hash_one(other), None),
        }
    }

    /// Memory is short, or not any more. While it is, nobody is let in, and each time that is said
    /// the older half of the strangers has to go.
    pub(crate) fn shut(&self, is_shut: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_shut = is_shut;
        if is_shut {
            let half = state.strangers.len().div_ceil(2);
            for leave in state.strangers.values().take(half) {
                leave.cancel();
            }
        }
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

impl Ticket {
    /// Names the source for other limits.
    pub(crate) fn source(&self) -> u64 {
        self.source
    }

    /// The limits per source do not concern it.
    pub(crate) fn is_exempt(&self) -> bool {
        self.is_exempt
    }

    /// Ends when its holder has to go.
    pub(crate) fn leave(&self) -> CancellationToken {
        self.leave.clone()
    }

    /// Its source did something wrong.
    pub(crate) fn charge(&self, offence: Offence) {
        if self.is_exempt {
            return;
        }
        let limits = &self.door.limits;
        let penalty = match offence {
            Offence::Protocol => limits.penalty_protocol,
            Offence::Refused => limits.penalty_refused,
            Offence::Late => limits.penalty_late,
        };
        let now = Instant::now();
        let mut state = self.door.state.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = state.origins.of(self.source);
        let from = origin.penalty.map_or(now, |until| until.max(now));
        let until = from.checked_add(penalty).unwrap_or(from);
        let latest = now.checked_add(limits.penalty_most).unwrap_or(until);
        origin.penalty = Some(until.min(latest));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.door.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.strangers.remove(&self.number);
        for key in [Some(self.source), self.network].into_iter().flatten() {
            if let Some(inside) = state.inside.get_mut(&key) {
                *inside = inside.saturating_sub(1);
                if *inside == 0 {
                    state.inside.remove(&key);
                }
            }
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

    #[test]
    fn a_network_is_bounded_however_many_sources_it_has() {
        let door = Door::new(&Limits::default());
        let now = Instant::now();
        let host = |network: u16, source: u16, host: u16| {
            Some(IpAddr::from([0x2001, 0xdb8, network, source, 0, 0, 0, host]))
        };
        // The addresses of one /64 are one source.
        let one: Vec<_> = (0..10).filter_map(|last| door.knock(host(1, 1, last), now)).collect();
        assert_eq!(one.len(), 8);
        // Nobody stays: the rate alone bounds the sources of one /48, and not those of another.
        let many = (0..100).filter(|source| door.knock(host(2, *source, 1), now).is_some()).count();
        assert_eq!(many, 50);
        assert!(door.knock(host(3, 1, 1), now).is_some());
        // Everybody stays: there are as many strangers as one network may have.
        let later = now + Duration::from_secs(60);
        let stay: Vec<_> =
            (0..100).filter_map(|source| door.knock(host(2, source, 1), later)).collect();
        assert_eq!(stay.len(), 50);
    }

    #[test]
    fn the_banned_are_not_let_in_even_if_they_are_exempt() {
        let block = |text: &str| vec![text.parse::<Block>().unwrap()];
        let limits = Limits {
            banned: block("192.0.2.0/24"),
            exempt: block("192.0.2.1"),
            ..Limits::default()
        };
        let door = Door::new(&limits);
        let now = Instant::now();
        assert!(door.knock(ip(1), now).is_none() && door.knock(ip(9), now).is_none());
        assert!(door.knock(Some(IpAddr::from([198, 51, 100, 1])), now).is_some());
    }

    #[test]
    fn penalties_add_up_to_the_longest_and_concern_nobody_exempt() {
        let limits = Limits { penalty_most: Duration::from_secs(30), ..Limits::default() };
        let door = Door::new(&limits);
        let bad = door.knock(ip(1), Instant::now()).unwrap();
        for _ in 0..10 {
            bad.charge(Offence::Late);
        }
        let now = Instant::now();
        assert!(door.knock(ip(1), now).is_none());
        // 15 s are left then, the least that keeps anybody out.
        assert!(door.knock(ip(1), now + Duration::from_secs(16)).is_some());
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let later = now + Duration::from_secs(20);
        let exempt = door.knock(here, later).unwrap();
        exempt.charge(Offence::Late);
        assert!(door.knock(here, later).is_some());
    }

    #[test]
    fn when_memory_is_short_nobody_comes_and_the_oldest_go_first() {
        let door = Door::new(&Limits { strangers: 100, ..Limits::default() });
        let now = Instant::now();
        let strangers: Vec<_> = (0..4).map(|last| door.knock(ip(last), now).unwrap()).collect();
        door.shut(true);
        let gone: Vec<_> = strangers.iter().map(|ticket| ticket.leave().is_cancelled()).collect();
        assert_eq!(gone, [true, true, false, false]);
        assert!(door.knock(ip(9), now).is_none());
        assert!(door.knock(None, now).is_none());
        drop(strangers);
        door.shut(false);
        assert!(door.knock(ip(9), now).is_some());
        assert!(door.state.lock().unwrap().inside.is_empty());
    }
}
