//! The daemon as a process: ready, signals, the service manager, the end.

use std::path::PathBuf;

use crate::config;
use crate::home::Home;
use crate::running::{Running, Start, StartError, start};
use crate::scoped::{ScopedError, ScopedSocket};
use crate::unix::{self, Asked, Signals};

/// Where the config is, to be read again.
#[derive(Debug)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// The user named it, so it has to be there.
    pub named: bool,
}

/// Why the process ends with a failure.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// One of the sockets of its config.
    #[error(transparent)]
    Scoped(#[from] ScopedError),
    /// The system refused the signals.
    #[error("cannot listen to signals: {0}")]
    Signals(std::io::Error),
}

/// Runs a daemon until a signal or a client stops it; `ready` is called when its socket answers.
/// The next daemon may start when what is returned is dropped.
///
/// # Errors
/// [`RunError`]; once it is ready there is none.
pub async fn run(
    what: Start,
    sockets: Vec<ScopedSocket>,
    config: ConfigFile,
    ready: impl FnOnce(),
) -> Result<Home, RunError> {
    // Before anything else, so that a signal during the start ends it in order.
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let running = start(what).await?;
    if let Err(error) = running.serve(sockets).await {
        running.stop().await;
        return Err(error.into());
    }
    unix::tell_ready();
    ready();
    until_stopped(&running, &mut signals, &config).await;
    unix::tell_stopping();
    Ok(running.stop().await)
}

async fn until_stopped(running: &Running, signals: &mut Signals, config: &ConfigFile) {
    let watchdog = unix::feed_watchdog();
    tokio::pin!(watchdog);
    loop {
        // To stop comes before everything else.
        tokio::select! {
            biased;
            () = running.asked_to_stop() => {
                tracing::info!("stopping: a client asked for it");
                return;
            }
            asked = signals.next() => match asked {
                Asked::Stop => {
                    tracing::info!("stopping: a signal asked for it");
                    return;
                }
                Asked::Reload => reload(running, config).await,
            },
            () = &mut watchdog => {}
        }
    }
}

async fn reload(running: &Running, config: &ConfigFile) {
    unix::tell_reloading();
    match config::load(&config.path, config.named) {
        Ok(config) => match running.reconfigure(config.settings) {
            Ok(()) => match running.serve(config.sockets).await {
                Ok(()) => tracing::info!("the config was read again"),
                Err(error) => {
                    tracing::error!("{error}; that socket is not served");
                    running.keep_config(error.to_string());
                }
            },
            Err(error) => {
                tracing::error!(%error, "the config was not taken; the old one stays");
                running.keep_config(error.to_string());
            }
        },
        Err(error) => {
            tracing::error!("{error}; the old config stays");
            running.keep_config(error.to_string());
        }
    }
    unix::tell_ready();
}
