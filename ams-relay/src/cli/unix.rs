//! The program on Unix: signals, limits of the process, places.

use std::io;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to stop. Takes the signals over at once.
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// No core dumps, no debugger of the same user, and as many links as the system allows.
pub(super) fn harden() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "core dumps are not switched off");
        }
    }
    let files = getrlimit(Resource::Nofile);
    if files.current < files.maximum {
        let raised = Rlimit { current: files.maximum, ..files };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the number of open files stays limited");
        }
    }
}

/// The data folder of a relay that the system runs.
pub(super) fn system_data() -> Option<PathBuf> {
    rustix::process::geteuid().is_root().then(|| PathBuf::from("/var/lib/ams-relay"))
}
