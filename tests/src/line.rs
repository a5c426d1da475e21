//! The way from a person to a relay: a TCP forwarder that a test can spoil.
//!
//! It follows the relay: when that one starts again on another port, the line leads there, so
//! nobody has to get the same port twice.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// They pass.
    Open,
    /// Connections are closed as soon as they are made.
    Cut,
    /// Connections stay, and nothing passes: a peer that went away without a word.
    Stalled,
    /// They pass, and take so long.
    Delayed(Duration),
}

#[derive(Debug, Clone, Copy)]
struct State {
    way: Way,
    /// A connection ends when this is not what it was at its beginning: one that is cut and mended
    /// in a moment was cut.
    cuts: u64,
}

/// A line; it ends when this is dropped.
#[derive(Debug)]
pub struct Line {
    at: SocketAddr,
    visitors: Arc<Mutex<Vec<SocketAddr>>>,
    state: watch::Sender<State>,
}

/// What one side may have under way in a slow line.
const CHUNK: usize = 64 * 1024;

impl Line {
    /// A line to wherever `target` says; `None` there: nobody answers.
    pub async fn open(target: watch::Receiver<Option<SocketAddr>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State { way: Way::Open, cuts: 0 });
        let visitors = Arc::default();
        tokio::spawn(serve(listener, target, watched, Arc::clone(&visitors)));
        Self { at, visitors, state }
    }

    /// Where it begins.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// From where each connection came, also those that were closed at once.
    #[must_use]
    pub fn visitors(&self) -> Vec<SocketAddr> {
        self.visitors.lock().unwrap().clone()
    }

    /// Closes everything on it, and lets nothing through until it is mended.
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.way = Way::Cut;
            state.cuts += 1;
        });
    }

    /// Connections stay, and nothing passes.
    pub fn stall(&self) {
        self.go(Way::Stalled);
    }

    /// Whatever passes takes so long.
    pub fn delay(&self, by: Duration) {
        self.go(Way::Delayed(by));
    }

    /// All is well again.
    pub fn mend(&self) {
        self.go(Way::Open);
    }

    fn go(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }
}

async fn serve(
    listener: TcpListener,
    target: watch::Receiver<Option<SocketAddr>>,
    mut state: watch::Receiver<State>,
    visitors: Arc<Mutex<Vec<SocketAddr>>>,
) {
    // Dropped with this function, and all its connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            changed = state.changed() => if changed.is_err() { return },
            accepted = listener.accept() => {
                let Ok((client, visitor)) = accepted else { return };
                visitors.lock().unwrap().push(visitor);
                let (to, state) = (*target.borrow(), state.clone());
                connections.spawn(connect(client, to, state));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, to: Option<SocketAddr>, state: watch::Receiver<State>) {
    let State { way, cuts } = *state.borrow();
    let (Some(to), false) = (to, way == Way::Cut) else { return };
    let Ok(server) = TcpStream::connect(to).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut watched = state.clone();
    // When one direction ends, so does the other: whoever closes is gone.
    tokio::select! {
        biased;
        _ = watched.wait_for(|state| state.cuts != cuts) => {}
        () = carry(from_client, to_server, state.clone()) => {}
        () = carry(from_server, to_client, state) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; CHUNK];
    while let Ok(got @ 1..) = from.read(&mut bytes).await {
        let came = Instant::now();
        if !passes(&mut state, came).await || to.write_all(&bytes[..got]).await.is_err() {
            return;
        }
    }
}

/// Resolves when bytes that came at `came` may go on; false when they never will.
async fn passes(state: &mut watch::Receiver<State>, came: Instant) -> bool {
    loop {
        let way = state.borrow_and_update().way;
        let changed = match way {
            Way::Open => return true,
            Way::Cut => return false,
            Way::Stalled => state.changed().await,
            Way::Delayed(by) => tokio::select! {
                biased;
                changed = state.changed() => changed,
                () = sleep_until(came + by) => return true,
            },
        };
        if changed.is_err() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        at
    }

    #[tokio::test]
    async fn a_line_that_is_cut_closes_and_a_mended_one_leads_where_the_relay_is_now() {
        let (target, watched) = watch::channel(Some(echo().await));
        let line = Line::open(watched).await;
        let mut byte = [0];

        let mut stream = TcpStream::connect(line.at()).await.unwrap();
        stream.write_all(b"a").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        line.cut();
        line.mend();
        assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0, "it was not cut");
        line.cut();
        let mut stream = TcpStream::connect(line.at()).await.unwrap();
        assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0);

        target.send_replace(Some(echo().await));
        line.mend();
        let mut stream = TcpStream::connect(line.at()).await.unwrap();
        line.stall();
        stream.write_all(b"b").await.unwrap();
        line.delay(Duration::from_millis(1));
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"b");
    }
}
