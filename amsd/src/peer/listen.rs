//! Where others connect. Nothing of a stranger is awaited here: each connection has a task of its
//! own, a place among few, and a deadline for every step.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ams_link::stream::BoxedStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guest::Guests;

/// Connections of which nothing is known yet: in all, and from one address.
const GREETING: (usize, usize) = (64, 8);
/// Strangers who hand over an introduction: in all, and from one address. A place of their own, so
/// that they take none of those who are known.
const STRANGERS: (usize, usize) = (8, 2);
/// Connections from one address that are accepted at once, and the time after which it may come with one
/// more: a contact that dials anew pauses longer.
const PACE: (u32, Duration) = (20, Duration::from_millis(200));
/// Addresses of which it is remembered when they came; whoever has more of them meets [`GREETING`].
const MAX_PACED: usize = 1024;
/// After the system refused to accept.
const PAUSE: Duration = Duration::from_millis(200);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {at} for direct peers: {source}")]
pub struct ListenError {
    at: SocketAddr,
    source: io::Error,
}

/// Where connections come from, each with where it comes from itself.
#[derive(Debug)]
enum Socket {
    Bound(TcpListener),
    Handed(mpsc::Receiver<(BoxedStream, SocketAddr)>),
}

/// Sockets that are bound.
#[derive(Debug, Default)]
pub struct Listening(Vec<(Socket, SocketAddr)>);

impl Listening {
    /// Binds all of them, or none.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut bound = Vec::with_capacity(addresses.len());
        for at in addresses.iter().copied() {
            let failed = |source| ListenError { at, source };
            let listener = TcpListener::bind(at).await.map_err(failed)?;
            let real = listener.local_addr().map_err(failed)?;
            bound.push((Socket::Bound(listener), real));
        }
        Ok(Self(bound))
    }

    /// In place of a socket at `at`: connections that are handed over, as a simulation does, each
    /// with where it comes from.
    pub fn handed(at: SocketAddr, connections: mpsc::Receiver<(BoxedStream, SocketAddr)>) -> Self {
        Self(vec![(Socket::Handed(connections), at)])
    }

    /// Where they are, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_, at)| *at).collect()
    }

    /// Accepts until `stop`.
    pub(super) fn serve(self, guests: &Guests, stop: &CancellationToken, tasks: &TaskTracker) {
        let (greeting, strangers) = (Places::new(GREETING), Places::new(STRANGERS));
        let pace = Pace::default();
        for (socket, _) in self.0 {
            let door = Door {
                guests: guests.clone(),
                pace: pace.clone(),
                greeting: greeting.clone(),
                strangers: strangers.clone(),
                stop: stop.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(door.run(socket));
        }
    }
}

impl Socket {
    /// The next connection. Nothing is lost if the future is dropped.
    async fn accept(&mut self) -> io::Result<(BoxedStream, SocketAddr)> {
        match self {
            Self::Bound(listener) => loop {
                let (stream, from) = listener.accept().await?;
                // Records are gathered already; waiting for more would only delay them.
                if stream.set_nodelay(true).is_ok() {
                    return Ok((BoxedStream::new(stream), from));
                }
            },
            Self::Handed(connections) => match connections.recv().await {
                Some(connection) => Ok(connection),
                None => std::future::pending().await,
            },
        }
    }
}

struct Door {
    guests: Guests,
    pace: Pace,
    greeting: Places,
    strangers: Places,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Door {
    async fn run(self, mut socket: Socket) {
        while let Some(accepted) = self.stop.run_until_cancelled(socket.accept()).await {
            let Ok((stream, from)) = accepted else {
                sleep(PAUSE).await;
                continue;
            };
            if !self.pace.admits(from.ip(), Instant::now()) {
                continue;
            }
            let place = self.greeting.take_anyway(from.ip());
            let (guests, strangers) = (self.guests.clone(), self.strangers.clone());
            let (stop, given_up) = (self.stop.clone(), place.given_up.clone());
            self.tasks.spawn(async move {
                let take = move || strangers.take(from.ip());
                let greeted = guests.receive(stream, place, take);
                stop.run_until_cancelled(given_up.run_until_cancelled(greeted)).await;
            });
        }
    }
}

/// How often each address came lately: a token bucket, kept as the moment at which it is full again.
#[derive(Clone, Default)]
struct Pace(Arc<Mutex<BTreeMap<IpAddr, Instant>>>);

impl Pace {
    /// Whether one more connection from there is accepted now.
    fn admits(&self, from: IpAddr, now: Instant) -> bool {
        let (from, (most, each)) = (source(from), PACE);
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full_at.get(&from).copied().unwrap_or(now).max(now);
        if full.duration_since(now) > each.saturating_mul(most.saturating_sub(1)) {
            return false;
        }
        if full_at.len() >= MAX_PACED {
            full_at.retain(|_, full| *full > now);
        }
        if full_at.len() < MAX_PACED {
            full_at.extend(full.checked_add(each).map(|full| (from, full)));
        }
        true
    }
}

/// Places for few, and for fewer from one address.
#[derive(Clone)]
pub(super) struct Places {
    most: (usize, usize),
    taken: Arc<Mutex<Taken>>,
}

/// Who has a place, in the order in which they came.
#[derive(Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, (IpAddr, CancellationToken)>,
}

impl Taken {
    /// The oldest of those who are in the way of somebody from there.
    fn in_the_way(&self, from: IpAddr, most: (usize, usize)) -> Option<u64> {
        let mut here = self.by.iter().filter(|(_, (ip, _))| *ip == from).map(|(id, _)| *id);
        let oldest_here = here.next();
        if oldest_here.is_some() && here.count().saturating_add(1) >= most.1 {
            return oldest_here;
        }
        (self.by.len() >= most.0).then(|| self.by.keys().next().copied()).flatten()
    }

    fn seat(&mut self, from: IpAddr) -> (u64, CancellationToken) {
        let (id, given_up) = (self.next, CancellationToken::new());
        self.next = self.next.saturating_add(1);
        self.by.insert(id, (from, given_up.clone()));
        (id, given_up)
    }
}

/// Its holder has a place until it is dropped, or another one needs it more.
pub(super) struct Place {
    id: u64,
    /// Whose it is.
    pub(super) from: IpAddr,
    given_up: CancellationToken,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    pub(super) fn new(most: (usize, usize)) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place; `None` when all are taken.
    pub(super) fn take(&self, from: IpAddr) -> Option<Place> {
        let from = source(from);
        let mut taken = self.lock();
        if taken.in_the_way(from, self.most).is_some() {
            return None;
        }
        let (id, given_up) = taken.seat(from);
        Some(Place { id, from, given_up, taken: Arc::clone(&self.taken) })
    }

    /// A place in any case: when all are taken, that of whoever has been silent for longest. Those
    /// who know what to say need one for a moment alone.
    fn take_anyway(&self, from: IpAddr) -> Place {
        let from = source(from);
        let mut taken = self.lock();
        if let Some(oldest) = taken.in_the_way(from, self.most)
            && let Some((_, given_up)) = taken.by.remove(&oldest)
        {
            given_up.cancel();
        }
        let (id, given_up) = taken.seat(from);
        Place { id, from, given_up, taken: Arc::clone(&self.taken) }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.by.remove(&self.id);
    }
}

/// One household has a whole network of IPv6 addresses.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_the_places_of_all() {
        let places = Places::new((3, 2));
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let first = places.take(ip(1));
        let second = places.take(ip(1));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(ip(1)).is_none());
        let third = places.take(ip(2));
        assert!(third.is_some());
        assert!(places.take(ip(3)).is_none(), "all are taken");
        drop(first);
        assert!(places.take(ip(3)).is_some());
        drop((second, third));
        assert!(places.lock().by.is_empty());
    }

    #[test]
    fn whoever_is_silent_makes_room() {
        let places = Places::new((3, 2));
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let silent = [places.take_anyway(ip(1)), places.take_anyway(ip(1))];
        let third = places.take_anyway(ip(1));
        let gone = |place: &Place| place.given_up.is_cancelled();
        assert!(gone(&silent[0]) && !gone(&silent[1]) && !gone(&third));
        let others = [places.take_anyway(ip(2)), places.take_anyway(ip(3))];
        assert!(gone(&silent[1]) && !gone(&third), "the oldest of all goes");
        drop((silent, third, others));
        assert!(places.lock().by.is_empty());
    }

    #[test]
    fn many_addresses_take_no_more_memory_than_there_is_for_them() {
        let (pace, now) = (Pace::default(), Instant::now());
        let network = |number: u32| IpAddr::from((u128::from(number) << 64).to_be_bytes());
        let many = u32::try_from(MAX_PACED).unwrap() + 10;
        assert!((0..many).all(|number| pace.admits(network(number), now)));
        assert_eq!(pace.0.lock().unwrap().len(), MAX_PACED);
        assert!(pace.admits(network(many), now + PACE.1));
        assert_eq!(pace.0.lock().unwrap().len(), 1, "the others may come as if for the first time");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let places = Places::new((8, 1));
        let one = places.take("2001:db8::1".parse().unwrap());
        assert!(one.is_some());
        assert!(places.take("2001:db8::2:1".parse().unwrap()).is_none());
        assert!(places.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
