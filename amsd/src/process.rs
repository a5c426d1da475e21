//! The daemon as a process: ready, signals, the service manager, the end.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::config::{self, Config};
use crate::home::Home;
use crate::hooks::Hook;
use crate::platform::{self, Asked, Signals};
use crate::running::{Running, Start, StartError, start};
use crate::scoped::ScopedSocket;

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
    /// The system refused its threads.
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    /// The system refused the signals.
    #[error("cannot listen to signals: {0}")]
    Signals(std::io::Error),
    /// It was to stop, and something did not end.
    #[error(
        "it did not stop within {} s and was ended; nothing that was accepted is lost",
        STOPPING.as_secs()
    )]
    Late,
    /// It was to stop, and then at once.
    #[error("a second signal ended it; nothing that was accepted is lost")]
    Hurried,
}

/// Stopping takes no longer, whatever hangs. Each room has its own, shorter, end before it.
const STOPPING: Duration = Duration::from_secs(20);
/// What is left on other threads after that gets so long.
const LAST: Duration = Duration::from_secs(1);

/// Runs a daemon until a signal or a client stops it; `ready` is called when its socket answers.
/// The next daemon may start when what is returned is dropped.
///
/// # Errors
/// [`RunError`]; once it is ready, only that it could not be stopped in order.
pub fn run(
    what: Start,
    further: (Vec<ScopedSocket>, Vec<Hook>),
    config: ConfigFile,
    ready: impl FnOnce(),
) -> Result<Home, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    let ended = runtime.block_on(live(what, further, config, ready));
    // What hangs has had its time.
    runtime.shutdown_timeout(LAST);
    ended
}

async fn live(
    what: Start,
    (sockets, hooks): (Vec<ScopedSocket>, Vec<Hook>),
    config: ConfigFile,
    ready: impl FnOnce(),
) -> Result<Home, RunError> {
    // Before anything else, so that a signal during the start ends it in order.
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let running = start(what).await?;
    if let Err(error) = running.run_hooks(hooks).await {
        running.stop().await;
        return Err(StartError::from(error).into());
    }
    running.serve(sockets).await;
    platform::tell_ready();
    ready();
    until_stopped(&running, &mut signals, &config).await;
    platform::tell_stopping();
    in_order(running.stop(), second(&mut signals)).await
}

/// The end of `stop`, if it comes in time and nobody asks a second time before it.
async fn in_order<T>(
    stop: impl Future<Output = T>,
    second: impl Future<Output = ()>,
) -> Result<T, RunError> {
    tokio::select! {
        biased;
        stopped = stop => Ok(stopped),
        () = second => Err(RunError::Hurried),
        () = sleep(STOPPING) => Err(RunError::Late),
    }
}

/// Somebody does not want to wait for the end.
async fn second(signals: &mut Signals) {
    while signals.next().await != Asked::Stop {}
}

async fn until_stopped(running: &Running, signals: &mut Signals, config: &ConfigFile) {
    let watchdog = watchdog(running);
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

/// Feeds the watchdog of the service manager, where there is one.
async fn watchdog(running: &Running) {
    let Some(limit) = platform::watchdog() else { return std::future::pending().await };
    // Twice within the limit, as sd_watchdog_enabled(3) asks for.
    let pause = limit.checked_div(2).unwrap_or(limit).max(Duration::from_millis(1));
    feed(pause, async || running.goes_on().await, platform::tell_alive).await;
}

/// Feeds it again and again, and only when the daemon's own work has gone on since.
async fn feed(pause: Duration, goes_on: impl AsyncFn(), feed: impl Fn()) {
    loop {
        let mut going_on = std::pin::pin!(goes_on());
        if timeout(pause, &mut going_on).await.is_err() {
            tracing::error!("the daemon's work hangs; the watchdog is not fed");
            going_on.await;
        }
        feed();
        sleep(pause).await;
    }
}

async fn reload(running: &Running, config: &ConfigFile) {
    platform::tell_reloading();
    match config::load(&config.path, config.named) {
        Ok(config) => take(running, config).await,
        Err(error) => {
            tracing::error!("{error}; the old config stays");
            running.keep_config(error.to_string());
        }
    }
    platform::tell_ready();
}

async fn take(running: &Running, config: Config) {
    running.be_at(&config.listen, config.public);
    let taken = match running.reconfigure(config.settings) {
        Ok(()) => running.run_hooks(config.hooks).await,
        Err(error) => Err(error),
    };
    if let Err(error) = taken {
        tracing::error!(%error, "the config was not taken; the old one stays");
        running.keep_config(error.to_string());
        return;
    }
    running.serve(config.sockets).await;
    tracing::info!("the config was read again");
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopping_has_an_end() {
        let in_time = sleep(STOPPING.checked_sub(LAST).unwrap());
        assert!(in_order(in_time, pending()).await.is_ok());
        assert!(matches!(in_order(pending::<()>(), pending()).await, Err(RunError::Late)));
        assert!(matches!(in_order(pending::<()>(), ready(())).await, Err(RunError::Hurried)));
    }

    /// It is fed while the work goes on, not while it hangs, and again when it goes on again.
    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_by_work_alone() {
        let (fed, hangs, again) = (Cell::new(0_u32), Cell::new(false), Notify::new());
        let pause = Duration::from_secs(15);
        let work = async || {
            if hangs.get() {
                again.notified().await;
            }
        };
        let mut feeding = std::pin::pin!(feed(pause, work, || fed.set(fed.get() + 1)));
        let minute = Duration::from_secs(60);
        timeout(minute, &mut feeding).await.unwrap_err();
        assert!(fed.get() >= 4, "{} times", fed.get());

        hangs.set(true);
        timeout(pause, &mut feeding).await.unwrap_err();
        let before = fed.get();
        timeout(minute, &mut feeding).await.unwrap_err();
        assert_eq!(fed.get(), before, "it hangs");

        hangs.set(false);
        again.notify_one();
        timeout(minute, &mut feeding).await.unwrap_err();
        assert!(fed.get() > before);
    }
}
