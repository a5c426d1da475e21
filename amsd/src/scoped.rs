//! Sockets beside the daemon's own, for other users or for programs that may do a part of it: each
//! has its rule, and answers nothing else.

use std::path::PathBuf;

use ams_rpc::platform::{BindError, FolderError};
use ams_rpc::scope::Scope;
use ams_rpc::{Server, Service};
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

/// The sockets that are served.
#[derive(Default)]
pub(crate) struct Scoped {
    wanted: Vec<ScopedSocket>,
    running: Vec<(CancellationToken, JoinHandle<()>)>,
}

impl Scoped {
    /// Serves these and no others. Those that are served already stay, with their clients.
    pub(crate) async fn serve(
        &mut self,
        wanted: Vec<ScopedSocket>,
        service: &Service,
    ) -> Result<(), ScopedError> {
        if wanted == self.wanted {
            return Ok(());
        }
        self.stop().await;
        for socket in &wanted {
            let listener = platform::bind_shared(socket)?;
            let service = service.clone().within(socket.scope.clone());
            let stop = CancellationToken::new();
            let server = Server::new(listener, service).whoever_can_open(true);
            self.running.push((stop.clone(), tokio::spawn(server.run(stop))));
            tracing::info!("a socket with a rule of its own is served");
        }
        self.wanted = wanted;
        Ok(())
    }

    /// Ends them.
    pub(crate) async fn stop(&mut self) {
        self.wanted.clear();
        for (stop, running) in self.running.drain(..) {
            stop.cancel();
            let _ = running.await;
        }
    }
}
