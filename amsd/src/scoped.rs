//! Sockets beside the daemon's own, for other users or for programs that may do a part of it: each
//! has its rule, and answers nothing else.

use std::path::PathBuf;

use ams_rpc::platform::{BindError, FolderError};
use ams_rpc::scope::Scope;
use ams_rpc::{Listener, Server, Service};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::platform;

/// A `[[socket]]` of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedSocket {
    /// Where it is.
    pub path: PathBuf,
    /// The rights of its file.
    pub mode: u32,
    /// The group of its file, by name or number.
    pub group: Option<String>,
    /// What may be done there.
    pub scope: Scope,
}

/// Why such a socket is not served.
#[derive(Debug, thiserror::Error)]
pub enum ScopedError {
    /// Its folder could be changed by others.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It cannot be made.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its group is none.
    #[error("the group `{group}` of the socket {path} is not one of this system")]
    NoGroup {
        /// As it is written.
        group: String,
        /// The socket.
        path: String,
    },
    /// There are none on this system.
    #[error("{}", crate::platform::NO_SHARING)]
    NotHere,
    /// Its rights cannot be set.
    #[error("cannot give the socket {path} its group and mode: {source}")]
    Rights {
        /// The socket.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Clients of one such socket at the same time. Each has its own share, and all shares together,
/// with two open files for each client, leave the daemon's own socket and its links enough of the
/// 1024 that a process commonly may have open.
const SHARE: usize = 24;

/// What the user is told of the sockets of the config.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Which are not served, each in a sentence.
    pub unserved: Vec<String>,
    /// Whom the rule of each names.
    pub named: Vec<(PathBuf, Vec<String>)>,
}

/// The sockets that are served.
pub(crate) struct Scoped {
    served: Vec<Served>,
    told: watch::Sender<Sockets>,
}

struct Served {
    socket: ScopedSocket,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Served {
    async fn end(self) {
        self.stop.cancel();
        let _ = self.running.await;
    }
}

impl Scoped {
    /// None yet.
    pub(crate) fn new(told: watch::Sender<Sockets>) -> Self {
        Self { served: Vec::new(), told }
    }

    /// Serves these and no others. Those that are served already, with the same rule, stay with
    /// their clients. One that cannot be served takes nothing from the others: it is told, and tried
    /// again when this is called again.
    pub(crate) async fn serve(&mut self, wanted: Vec<ScopedSocket>, service: &Service) {
        // Of one whose file is gone, as with its folder, nobody can become a client.
        let stays =
            |served: &Served| wanted.contains(&served.socket) && served.socket.path.exists();
        let (stay, go) = std::mem::take(&mut self.served).into_iter().partition(stays);
        self.served = stay;
        join_all(go.into_iter().map(Served::end)).await;
        let whom = |socket: &ScopedSocket| (socket.path.clone(), socket.scope.names().to_vec());
        let named = wanted.iter().map(whom).collect();
        let mut unserved = Vec::new();
        for socket in wanted {
            if self.served.iter().any(|served| served.socket == socket) {
                continue;
            }
            match platform::bind_shared(&socket) {
                Ok(listener) => self.served.push(begin(socket, listener, service)),
                Err(error) => {
                    let path = socket.path.display();
                    unserved.push(format!(
                        "the socket {path} is not served: {error}; it is tried again when the \
                         config is read again: systemctl reload, or kill -HUP"
                    ));
                }
            }
        }
        for warning in &unserved {
            tracing::warn!("{warning}");
        }
        self.told.send_replace(Sockets { unserved, named });
    }

    /// Ends them.
    pub(crate) async fn stop(&mut self) {
        join_all(self.served.drain(..).map(Served::end)).await;
    }
}

fn begin(socket: ScopedSocket, listener: Listener, service: &Service) -> Served {
    let service = service.clone().within(socket.scope.clone());
    let stop = CancellationToken::new();
    let server = Server::new(listener, service).whoever_can_open(true).at_most(SHARE);
    let running = tokio::spawn(server.run(stop.clone()));
    tracing::info!("a socket with a rule of its own is served");
    Served { socket, stop, running }
}
