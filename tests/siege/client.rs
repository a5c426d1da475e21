//! A client that notes when bytes come, and how many.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_link::stream::BoxedStream;
use ams_link::{Receiver, Sender, Stream, handshake};
use ams_wire::from_relay::FromRelay;
use ams_wire::id::WorkMark;
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_relay::{Attach, ClientHello, ToRelay};
use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where a relay is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) at: SocketAddr,
    pub(crate) key: DhPublic,
}

/// What came over a stream since it was asked last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Came {
    pub(crate) last: Option<Instant>,
    pub(crate) bytes: usize,
}

/// A stream that notes what comes over it.
struct Noting {
    stream: TcpStream,
    came: Arc<Mutex<Came>>,
}

/// A link to a relay.
pub(crate) struct Client {
    tx: Sender<<BoxedStream as Stream>::Write>,
    rx: Receiver<<BoxedStream as Stream>::Read>,
    came: Arc<Mutex<Came>>,
}

/// Connects, from `from` if it is said.
pub(crate) async fn connect(to: SocketAddr, from: Option<[u8; 4]>) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::from((from, 0)))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Client {
    /// Up to its own first words, which wait to be sent.
    pub(crate) async fn hello(place: Place, key: &DhSecret) -> Result<Self> {
        let stream = connect(place.at, None).await?;
        let came = Arc::new(Mutex::new(Came::default()));
        let stream = BoxedStream::new(Noting { stream, came: Arc::clone(&came) });
        let link = handshake::connect(stream, key, &place.key, PATIENCE).await?;
        let mut client = Self { tx: link.sender, rx: link.receiver, came };
        client.say(&ToRelay::Hello(ClientHello { versions: vec![PROTOCOL_VERSION] }))?;
        Ok(client)
    }

    /// Attached, with its snapshot read.
    pub(crate) async fn attach(place: Place, key: &DhSecret) -> Result<Self> {
        let mut client = Self::hello(place, key).await?;
        client.say(&ToRelay::Attach(Attach { mark: WorkMark::default(), visible: true }))?;
        client.heard(|frame| matches!(frame, FromRelay::SnapshotEnd)).await?;
        Ok(client)
    }

    pub(crate) fn say(&mut self, frame: &ToRelay<'_>) -> Result<()> {
        Ok(self.tx.push(frame)?)
    }

    pub(crate) async fn flush(&mut self) -> Result<()> {
        Ok(self.tx.flush().await?)
    }

    /// Sends what waits, and notes from now on what comes.
    pub(crate) async fn begin(&mut self) -> Result<Instant> {
        self.look();
        let began = Instant::now();
        self.flush().await?;
        Ok(began)
    }

    /// What came since.
    pub(crate) fn look(&self) -> Came {
        std::mem::take(&mut *self.came.lock().unwrap())
    }

    /// Reads up to a frame that is wanted, and answers pings; gives the numbers of what came, but for
    /// those that come by themselves.
    pub(crate) async fn heard(
        &mut self,
        wanted: impl Fn(&FromRelay<'_>) -> bool,
    ) -> Result<Vec<u8>> {
        let hear = async {
            let mut numbers = Vec::new();
            loop {
                self.flush().await?;
                let mut found = false;
                for frame in self.rx.receive().await? {
                    let Some(read) = FromRelay::decode(frame.number, &frame.body)? else {
                        continue;
                    };
                    found |= wanted(&read);
                    match read {
                        FromRelay::Ping => self.tx.push(&ToRelay::Pong)?,
                        FromRelay::Accepted(_) | FromRelay::Failed(_) | FromRelay::Presence(_) => {}
                        _ => numbers.push(frame.number),
                    }
                }
                if found {
                    return Ok(numbers);
                }
            }
        };
        match tokio::time::timeout(PATIENCE, hear).await {
            Ok(heard) => heard,
            Err(_) => bail!("the relay does not answer"),
        }
    }

    /// Microseconds from `began` to the last that came, and its bytes.
    pub(crate) fn took(&self, began: Instant) -> Result<(f64, f64)> {
        let came = self.look();
        let last = came.last.context("nothing came")?;
        let took = last.saturating_duration_since(began);
        Ok((took.as_secs_f64() * 1e6, came.bytes as f64))
    }

    /// The round trip of a ping.
    pub(crate) async fn ping(&mut self) -> Result<f64> {
        self.say(&ToRelay::Ping)?;
        let began = self.begin().await?;
        self.pong().await?;
        Ok(self.took(began)?.0)
    }

    pub(crate) async fn pong(&mut self) -> Result<Vec<u8>> {
        self.heard(|frame| matches!(frame, FromRelay::Pong)).await
    }

    /// Reads until the relay ends the link.
    pub(crate) async fn stay(mut self) {
        while self.heard(|_| true).await.is_ok() {}
    }
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let now = Instant::now();
        let mut came = self.came.lock().unwrap();
        came.last = Some(now);
        came.bytes += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
