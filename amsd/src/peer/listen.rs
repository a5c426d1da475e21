//! Where others connect. Nothing of a stranger is awaited here: each connection has a task of its
//! own, a place among few, and a deadline for every step.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ams_link::stream::BoxedStream;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guest::Guests;

/// Connections of which nothing is known yet: in all, and from one address.
const GREETING: (usize, usize) = (64, 8);
/// Strangers who hand over an introduction: in all, and from one address. A place of their own, so
/// that they take none of those who are known.
const STRANGERS: (usize, usize) = (8, 2);
/// After the system refused to accept.
const PAUSE: Duration = Duration::from_millis(200);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {at} for direct peers: {source}")]
pub struct ListenError {
    at: SocketAddr,
    source: io::Error,
}

/// Sockets that are bound.
#[derive(Debug, Default)]
pub struct Listening(Vec<(TcpListener, SocketAddr)>);

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
            bound.push((listener, real));
        }
        Ok(Self(bound))
    }

    /// Where they are, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_, at)| *at).collect()
    }

    /// Accepts until `stop`.
    pub(super) fn serve(self, guests: &Guests, stop: &CancellationToken, tasks: &TaskTracker) {
        let (greeting, strangers) = (Places::new(GREETING), Places::new(STRANGERS));
        for (listener, _) in self.0 {
            let door = Door {
                guests: guests.clone(),
                greeting: greeting.clone(),
                strangers: strangers.clone(),
                stop: stop.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(door.run(listener));
        }
    }
}

struct Door {
    guests: Guests,
    greeting: Places,
    strangers: Places,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Door {
    async fn run(self, listener: TcpListener) {
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            let Ok((stream, from)) = accepted else {
                sleep(PAUSE).await;
                continue;
            };
            let Some(place) = self.greeting.take(from.ip()) else { continue };
            // Records are gathered already; waiting for more would only delay them.
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            let (guests, strangers) = (self.guests.clone(), self.strangers.clone());
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                let stream = BoxedStream::new(stream);
                let take = move || strangers.take(from.ip());
                stop.run_until_cancelled(guests.receive(stream, place, take)).await;
            });
        }
    }
}

/// Places for few, and for fewer from one address.
#[derive(Clone)]
pub(super) struct Places {
    most: (usize, usize),
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// Its holder has a place until it is dropped.
pub(super) struct Place {
    from: IpAddr,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Places {
    fn new(most: (usize, usize)) -> Self {
        Self { most, taken: Arc::default() }
    }

    pub(super) fn take(&self, from: IpAddr) -> Option<Place> {
        let from = source(from);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let here = taken.get(&from).copied().unwrap_or_default();
        if all >= self.most.0 || here >= self.most.1 {
            return None;
        }
        taken.insert(from, here.saturating_add(1));
        Some(Place { from, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = taken.get(&self.from).copied().unwrap_or_default().saturating_sub(1);
        match left {
            0 => taken.remove(&self.from),
            left => taken.insert(self.from, left),
        };
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
        assert!(places.taken.lock().unwrap().is_empty());
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
