//! A SOCKS5 proxy (RFC 1928) that knows the names of a test, and remembers what it was asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The answers of RFC 1928 section 6 that are used.
const DONE: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const HOST_UNREACHABLE: u8 = 4;

/// What a proxy was asked for, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// `HOST:PORT` as the client wrote it.
    pub asked: String,
    /// It was a name, and not an address.
    pub by_name: bool,
    /// From where the proxy went on; `None`: it did not.
    pub from: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct Shared {
    names: BTreeMap<String, SocketAddr>,
    passed: Vec<Passed>,
    forbids: bool,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    at: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    serving: JoinSet<()>,
}

impl Proxy {
    /// A proxy on a port of the system's choice.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// A proxy here.
    pub async fn start_at(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let shared = Arc::<Mutex<Shared>>::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&shared)));
        Self { at, shared, serving }
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// `HOST:PORT` leads there. Nothing else leads anywhere.
    pub fn knows(&self, name: &str, at: SocketAddr) {
        self.shared.lock().unwrap().names.insert(name.to_owned(), at);
    }

    /// From now on it lets nothing through, or everything that it knows.
    pub fn forbid(&self, forbids: bool) {
        self.shared.lock().unwrap().forbids = forbids;
    }

    /// What it was asked for so far.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.lock().unwrap().passed.clone()
    }

    /// It ends, with every connection through it.
    pub async fn stop(mut self) {
        self.serving.shutdown().await;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // Whoever goes away in the middle is nobody's mistake.
        connections.spawn(async move { drop(pass(client, &shared).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut client: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    // Version, count, methods; answered by "no authentication".
    let mut head = [0; 2];
    client.read_exact(&mut head).await?;
    let mut methods = vec![0; head[1].into()];
    client.read_exact(&mut methods).await?;
    assert!(head[0] == 5 && methods.contains(&0), "no SOCKS5: {head:?} {methods:?}");
    client.write_all(&[5, 0]).await?;

    // Version, CONNECT, 0, kind of address.
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0], "no CONNECT");
    let (host, by_name) = match request[3] {
        1 => {
            let mut ip = [0; 4];
            client.read_exact(&mut ip).await?;
            (std::net::Ipv4Addr::from(ip).to_string(), false)
        }
        3 => {
            let mut name = vec![0; client.read_u8().await?.into()];
            client.read_exact(&mut name).await?;
            (String::from_utf8(name).unwrap(), true)
        }
        4 => {
            let mut ip = [0; 16];
            client.read_exact(&mut ip).await?;
            (format!("[{}]", std::net::Ipv6Addr::from(ip)), false)
        }
        other => panic!("an address of kind {other}"),
    };
    let asked = format!("{host}:{}", client.read_u16().await?);
    let (forbids, to) = {
        let shared = shared.lock().unwrap();
        (shared.forbids, shared.names.get(&asked).copied())
    };
    let server = match to.filter(|_| !forbids) {
        Some(to) => TcpStream::connect(to).await.ok(),
        None => None,
    };
    let from = server.as_ref().map(|server| server.local_addr().unwrap());
    shared.lock().unwrap().passed.push(Passed { asked, by_name, from });
    let answer = match &server {
        Some(_) => DONE,
        None if forbids => NOT_ALLOWED,
        None => HOST_UNREACHABLE,
    };
    client.write_all(&[5, answer, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if let Some(mut server) = server {
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}
