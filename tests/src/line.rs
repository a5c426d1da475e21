//! The way from a person to a relay: a TCP forwarder that a test can spoil.
//!
//! It follows the relay: when that one starts again on another port, the line leads there, so
//! nobody has to get the same port twice.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Bytes pass.
    Open,
    /// Every connection is closed, and every new one as soon as it is made.
    Cut,
    /// Connections stay, and nothing passes: a peer that went away without a word.
    Stalled,
    /// Whatever passes takes so long.
    Delayed(Duration),
}

/// A line; it ends when this is dropped.
#[derive(Debug)]
pub struct Line {
    at: SocketAddr,
    state: watch::Sender<State>,
}

/// What one side may have under way in a slow line.
const CHUNK: usize = 64 * 1024;

impl Line {
    /// A line to wherever `target` says; `None` there: nobody answers.
    pub async fn open(target: watch::Receiver<Option<SocketAddr>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State::Open);
        tokio::spawn(serve(listener, target, watched));
        Self { at, state }
    }

    /// Where it begins.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// Closes everything on it, and lets nothing through until it is mended.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Connections stay, and nothing passes.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Whatever passes takes so long.
    pub fn delay(&self, by: Duration) {
        self.state.send_replace(State::Delayed(by));
    }

    /// All is well again.
    pub fn mend(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn serve(
    listener: TcpListener,
    target: watch::Receiver<Option<SocketAddr>>,
    mut state: watch::Receiver<State>,
) {
    // Dropped with this function, and all its connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            changed = state.changed() => if changed.is_err() { return },
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let (to, state) = (*target.borrow(), state.clone());
                connections.spawn(connect(client, to, state));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, to: Option<SocketAddr>, state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Some(to) = to else { return };
    let Ok(server) = TcpStream::connect(to).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // When one direction ends, so does the other: whoever closes is gone.
    tokio::select! {
        () = carry(from_client, to_server, state.clone()) => {}
        () = carry(from_server, to_client, state) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; CHUNK];
    loop {
        let got = tokio::select! {
            biased;
            () = cut(&mut state) => return,
            got = from.read(&mut bytes) => got,
        };
        let Ok(got @ 1..) = got else { return };
        let came = Instant::now();
        if !passes(&mut state, came).await || to.write_all(&bytes[..got]).await.is_err() {
            return;
        }
    }
}

/// Resolves when the line is cut or gone.
async fn cut(state: &mut watch::Receiver<State>) {
    let _ = state.wait_for(|state| *state == State::Cut).await;
}

/// Resolves when bytes that came at `came` may go on; false when they never will.
async fn passes(state: &mut watch::Receiver<State>, came: Instant) -> bool {
    loop {
        let now = *state.borrow_and_update();
        match now {
            State::Open => return true,
            State::Cut => return false,
            State::Stalled => {
                if state.changed().await.is_err() {
                    return false;
                }
            }
            State::Delayed(by) => tokio::select! {
                biased;
                changed = state.changed() => if changed.is_err() { return false },
                () = sleep_until(came + by) => return true,
            },
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
        assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0);
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
