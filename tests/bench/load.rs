//! The same load over whatever carries messages: pairs of a sender and a receiver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::process::Server;

/// Before measuring.
const WARM_UP: Duration = Duration::from_millis(300);
/// For the rest to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a pair.
pub(crate) trait Talk: Send + 'static {
    /// Sends so many messages.
    fn send(&mut self, messages: usize) -> impl Future<Output = Result<()>> + Send;

    /// Waits until something comes; says how many messages it was, perhaps none. Nothing is lost if
    /// the future is dropped.
    fn receive(&mut self) -> impl Future<Output = Result<usize>> + Send;

    /// Ends the link so that the server has seen everything that was sent on it.
    fn finish(self) -> impl Future<Output = Result<()>> + Send;
}

/// What a load cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) messages: u64,
    pub(crate) time: Duration,
    pub(crate) server: Duration,
}

/// Becomes true when the load is over.
type Stop = watch::Receiver<bool>;

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

/// Keeps `in_flight` messages on their way in each pair, for `length`. Fails if one gets lost.
pub(crate) async fn flow<T: Talk>(
    pairs: Vec<(T, T)>,
    in_flight: usize,
    length: Duration,
    server: &Server,
) -> Result<Flow> {
    let counts = Arc::new(Counts::default());
    let mut tasks = JoinSet::new();
    let mut rooms = Vec::new();
    let (stop, stopped) = watch::channel(false);
    for (sender, receiver) in pairs {
        let room = Arc::new(Semaphore::new(in_flight));
        rooms.push(Arc::clone(&room));
        let counts = || Arc::clone(&counts);
        tasks.spawn(send(sender, Arc::clone(&room), counts(), stopped.clone()));
        tasks.spawn(receive(receiver, room, counts(), stopped.clone()));
    }
    meanwhile(&mut tasks, sleep(WARM_UP)).await?;
    let (began, cpu) = (Instant::now(), server.cpu()?);
    let before = counts.received.load(Ordering::Relaxed);
    meanwhile(&mut tasks, sleep(length)).await?;
    let messages = counts.received.load(Ordering::Relaxed) - before;
    let flow = Flow { messages, time: began.elapsed(), server: server.cpu()? - cpu };
    for room in rooms {
        room.close();
    }
    meanwhile(&mut tasks, all_received(&counts)).await??;
    stop.send_replace(true);
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok::<_, anyhow::Error>(())
    };
    timeout(PATIENCE, ended).await.context("the links do not end")??;
    Ok(flow)
}

/// Every sender sends `each` messages as fast as it can; gives how many arrived, and the time.
pub(crate) async fn burst<T: Talk>(pairs: Vec<(T, T)>, each: usize) -> Result<(u64, Duration)> {
    let counts = Arc::new(Counts::default());
    let mut tasks = JoinSet::new();
    let (_stop, stopped) = watch::channel(false);
    let began = Instant::now();
    for (mut sender, receiver) in pairs {
        let room = Arc::new(Semaphore::new(0));
        tasks.spawn(receive(receiver, room, Arc::clone(&counts), stopped.clone()));
        let counts = Arc::clone(&counts);
        tasks.spawn(async move {
            let mut left = each;
            while left > 0 {
                let now = left.min(64);
                sender.send(now).await?;
                left -= now;
                counts.sent.fetch_add(u64::try_from(now)?, Ordering::Relaxed);
            }
            loop {
                sender.receive().await?;
            }
        });
    }
    let all = u64::try_from(tasks.len() / 2 * each)?;
    let arrived = async {
        while counts.received.load(Ordering::Relaxed) < all {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let ended = meanwhile(&mut tasks, timeout(PATIENCE, arrived)).await;
    let took = began.elapsed();
    if let Err(error) = ended {
        eprintln!("   burst: {error:#}");
    }
    tasks.shutdown().await;
    Ok((counts.received.load(Ordering::Relaxed), took))
}

/// One message there and one back, `count` times after some to warm up; sorted.
pub(crate) async fn round_trips<T: Talk>(
    (mut here, mut there): (T, T),
    count: usize,
) -> Result<Vec<Duration>> {
    let echo = async move {
        loop {
            let messages = there.receive().await?;
            if messages > 0 {
                there.send(messages).await?;
            }
        }
    };
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    tasks.spawn(echo);
    let mut times = Vec::with_capacity(count);
    let trips = async {
        for number in 0..count + count / 10 {
            let began = Instant::now();
            here.send(1).await?;
            while here.receive().await? == 0 {}
            if number >= count / 10 {
                times.push(began.elapsed());
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    meanwhile(&mut tasks, timeout(PATIENCE, trips)).await?.context("no answer")??;
    tasks.shutdown().await;
    times.sort_unstable();
    Ok(times)
}

async fn send<T: Talk>(
    mut link: T,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
    mut stop: Stop,
) -> Result<()> {
    let mut closed = false;
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return link.finish().await,
            permit = room.acquire(), if !closed => {
                let Ok(permit) = permit else { closed = true; continue };
                permit.forget();
                // All the room that there is, in one go.
                let more = room.available_permits();
                let more = room.try_acquire_many(u32::try_from(more)?).map_or(0, |permits| {
                    permits.forget();
                    more
                });
                link.send(more + 1).await?;
                counts.sent.fetch_add(u64::try_from(more + 1)?, Ordering::Relaxed);
            }
            got = link.receive() => {
                if let Err(error) = got {
                    return end(&stop, error);
                }
            }
        }
    }
}

async fn receive<T: Talk>(
    mut link: T,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
    mut stop: Stop,
) -> Result<()> {
    loop {
        let messages = tokio::select! {
            biased;
            _ = stop.changed() => return link.finish().await,
            messages = link.receive() => messages,
        };
        let messages = match messages {
            Ok(messages) => messages,
            Err(error) => return end(&stop, error),
        };
        counts.received.fetch_add(u64::try_from(messages)?, Ordering::Relaxed);
        room.add_permits(messages);
    }
}

/// Once the load is over, the other end of a pair may have finished before this one looked.
fn end(stop: &Stop, error: anyhow::Error) -> Result<()> {
    if *stop.borrow() { Ok(()) } else { Err(error) }
}

/// Everything that was sent came.
async fn all_received(counts: &Counts) -> Result<()> {
    // A sender may still be counting what it sends: the two have to stay equal for a while.
    let settled = async {
        let mut equal = 0;
        while equal < 5 {
            sleep(Duration::from_millis(10)).await;
            let sent = counts.sent.load(Ordering::Relaxed);
            let is_equal = counts.received.load(Ordering::Relaxed) == sent;
            equal = if is_equal { equal + 1 } else { 0 };
        }
    };
    if timeout(PATIENCE, settled).await.is_err() {
        let (sent, received) =
            (counts.sent.load(Ordering::Relaxed), counts.received.load(Ordering::Relaxed));
        bail!("{sent} messages were sent and {received} arrived");
    }
    Ok(())
}

/// `work`, unless one of the tasks, which have no end, ends.
async fn meanwhile<T>(tasks: &mut JoinSet<Result<()>>, work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        done = work => Ok(done),
        Some(ended) = tasks.join_next() => {
            ended??;
            bail!("a link ended by itself")
        }
    }
}
