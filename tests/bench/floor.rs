//! The least that a server between two clients could do: take bytes out of one TLS 1.3 stream and
//! put them into another. No names, no passwords, no order, no receipts, no padding.
//!
//! A client says hello in five bytes: what it wants, and the number of its pair.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::FLOOR_SERVER;
use crate::client::dial;
use crate::load::Talk;
use crate::process::{Server, command};

const CERTIFICATE: &str = "certificate";
const KEY: &str = "key";
/// Waits for the other client of this number.
const FIRST: u8 = 1;
/// Everything is forwarded between this client and the first one of its number, both ways.
const SECOND: u8 = 2;
/// Only answers.
const ALONE: u8 = 3;
const WELCOME: u8 = 4;
/// What is read at once.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

// The server.

/// Runs the server, whose certificate lies in `folder`.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let key = PrivatePkcs8KeyDer::from(fs::read(folder.join(KEY))?);
    let certificate = CertificateDer::from(fs::read(folder.join(CERTIFICATE))?);
    let config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        io::stdout().flush()?;
        let waiting = Arc::new(Mutex::new(HashMap::new()));
        loop {
            let (stream, _) = listener.accept().await?;
            let (acceptor, waiting) = (acceptor.clone(), Arc::clone(&waiting));
            tokio::spawn(async move {
                if let Err(error) = answer(stream, acceptor, waiting).await {
                    eprintln!("{error:#}");
                }
            });
        }
    })
}

type Accepted = server::TlsStream<TcpStream>;

async fn answer(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    waiting: Arc<Mutex<HashMap<u32, Accepted>>>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let (want, number) = (stream.read_u8().await?, stream.read_u32().await?);
    stream.write_u8(WELCOME).await?;
    stream.flush().await?;
    let waiting = || waiting.lock().unwrap_or_else(PoisonError::into_inner);
    match want {
        FIRST => {
            waiting().insert(number, stream);
        }
        SECOND => loop {
            let first = waiting().remove(&number);
            if let Some(first) = first {
                return Ok(forward(stream, first).await?);
            }
            // It was welcomed a moment ago, and is about to wait here.
            tokio::time::sleep(Duration::from_millis(1)).await;
        },
        _ => poll_fn(|context| until_end(&mut stream, context)).await?,
    }
    Ok(())
}

/// Waits for the end of a stream, with the thread's buffer.
fn until_end(stream: &mut Accepted, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    })
}

/// One direction of a pair: what was read and could not be written yet.
#[derive(Debug, Default)]
struct Way {
    left: Vec<u8>,
    written: usize,
    unflushed: bool,
}

async fn forward(mut one: Accepted, mut two: Accepted) -> io::Result<()> {
    let (mut there, mut back) = (Way::default(), Way::default());
    poll_fn(|context| {
        let there = there.poll(&mut one, &mut two, context);
        let back = back.poll(&mut two, &mut one, context);
        if there.is_ready() { there } else { back }
    })
    .await
}

impl Way {
    /// Ready at the end of a stream.
    fn poll(
        &mut self,
        from: &mut Accepted,
        to: &mut Accepted,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest) = self.left.get(self.written..).filter(|left| !left.is_empty()) {
                self.written += ready!(Pin::new(&mut *to).poll_write(context, rest))?;
            }
            self.left = Vec::new();
            self.written = 0;
            if self.unflushed {
                ready!(Pin::new(&mut *to).poll_flush(context))?;
                self.unflushed = false;
            }
            let passed: Poll<io::Result<()>> = BUFFER.with_borrow_mut(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *from).poll_read(context, &mut read))?;
                let mut rest = read.filled();
                if rest.is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.unflushed = true;
                while !rest.is_empty() {
                    match Pin::new(&mut *to).poll_write(context, rest)? {
                        Poll::Ready(wrote) => rest = rest.get(wrote..).unwrap_or_default(),
                        Poll::Pending => break,
                    }
                }
                self.left.extend_from_slice(rest);
                Poll::Ready(Ok(()))
            });
            match ready!(passed) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                passed => passed?,
            }
        }
    }
}

// The clients.

/// A floor server that runs, and what its clients need.
pub(crate) struct Floor {
    pub(crate) server: Server,
    connector: TlsConnector,
    at: SocketAddr,
}

impl Floor {
    /// Makes a certificate in `folder` and starts a server with it.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        fs::write(folder.join(CERTIFICATE), made.cert.der())?;
        fs::write(folder.join(KEY), made.signing_key.serialize_der())?;
        Self::start_again(folder)
    }

    /// Starts a server with the certificate that [`Floor::start`] made.
    pub(crate) fn start_again(folder: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(fs::read(folder.join(CERTIFICATE))?))?;
        let mut config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
            .with_root_certificates(roots)
            .with_no_client_auth();
        // AMS has full handshakes only.
        config.resumption = Resumption::disabled();
        let mut command = command(&std::env::current_exe()?);
        command.arg(FLOOR_SERVER).arg(folder);
        let server = Server::start(command, folder)?;
        let at = server.line().parse()?;
        Ok(Self { server, connector: TlsConnector::from(Arc::new(config)), at })
    }

    /// Both ends of pair `number`, for messages of `size` bytes.
    pub(crate) async fn pair(
        &self,
        number: u32,
        size: usize,
        records: Records,
    ) -> Result<(FloorLink, FloorLink)> {
        let first = self.connect(FIRST, number).await?;
        let second = self.connect(SECOND, number).await?;
        Ok((FloorLink::new(first, size, records), FloorLink::new(second, size, records)))
    }

    /// A link on which nothing comes.
    pub(crate) async fn alone(&self, number: u32) -> Result<client::TlsStream<TcpStream>> {
        self.connect(ALONE, number).await
    }

    async fn connect(&self, want: u8, number: u32) -> Result<client::TlsStream<TcpStream>> {
        let stream = dial(self.at, number).await?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = self.connector.connect(name, stream).await?;
        let mut hello = vec![want];
        hello.extend_from_slice(&number.to_be_bytes());
        stream.write_all(&hello).await?;
        stream.flush().await?;
        anyhow::ensure!(stream.read_u8().await? == WELCOME, "not welcome");
        Ok(stream)
    }
}

/// How a client of the floor puts messages into TLS records.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Records {
    /// One each, as programs do that write each message as it comes.
    Single,
    /// As many as fit, as AMS does.
    Shared,
}

/// One end of a pair.
pub(crate) struct FloorLink {
    stream: client::TlsStream<TcpStream>,
    size: usize,
    records: Records,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Bytes of a message whose end did not come yet.
    begun: usize,
}

impl FloorLink {
    fn new(stream: client::TlsStream<TcpStream>, size: usize, records: Records) -> Self {
        let incoming = vec![0; SCRATCH];
        Self { stream, size, records, outgoing: Vec::new(), incoming, begun: 0 }
    }
}

impl Talk for FloorLink {
    async fn send(&mut self, messages: usize) -> Result<()> {
        let length = messages * self.size;
        if self.outgoing.len() < length {
            self.outgoing.resize(length, 0x5a);
        }
        let bytes = self.outgoing.get(..length).unwrap_or_default();
        match self.records {
            Records::Shared => self.stream.write_all(bytes).await?,
            Records::Single => {
                for message in bytes.chunks(self.size) {
                    self.stream.write_all(message).await?;
                }
            }
        }
        self.stream.flush().await?;
        Ok(())
    }

    async fn receive(&mut self) -> Result<usize> {
        let got = self.stream.read(&mut self.incoming).await.context("the floor's server")?;
        anyhow::ensure!(got > 0, "the floor's server closed the link");
        let whole = self.begun + got;
        self.begun = whole % self.size;
        Ok(whole / self.size)
    }

    async fn finish(mut self) -> Result<()> {
        // The server may have ended it with the other end of the pair.
        let _ = self.stream.shutdown().await;
        Ok(())
    }
}
