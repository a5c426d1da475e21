//! `ams-relay serve`.

use std::io::Write as _;

use ams_rpc::error::Exit;
use tracing_subscriber::EnvFilter;

use super::args::{Args, LogForm, Serve};
use super::{Failed, platform};

pub(super) fn run(args: &Args, serve: &Serve) -> Result<(), Failed> {
    let config = args.config().map_err(|error| Failed::new(Exit::Usage, error))?;
    log(serve);
    platform::harden();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::new(Exit::Failed, error))?;
    runtime.block_on(async {
        // Before the address is printed: whoever read it may stop the relay at once.
        let stop = platform::stop().map_err(|error| Failed::new(Exit::Failed, error))?;
        let running =
            crate::start(config).await.map_err(|error| Failed::new(Exit::Failed, error))?;
        say(&running.link_text());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "the relay runs");
        notify(&sd_notify::NotifyState::Ready);
        let watchdog = tokio::spawn(watch());
        stop.await;
        watchdog.abort();
        notify(&sd_notify::NotifyState::Stopping);
        tracing::info!("the relay stops");
        running.stop().await;
        Ok(())
    })
}

/// The address link, for whoever started the relay. Nobody may be reading.
fn say(link: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{link}").and_then(|()| out.flush());
}

fn notify(state: &sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

async fn watch() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let half = interval.checked_div(2).unwrap_or(interval);
    loop {
        notify(&sd_notify::NotifyState::Watchdog);
        tokio::time::sleep(half).await;
    }
}

fn log(serve: &Serve) {
    let level = match serve.verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("AMS_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,ams_relay={level}")));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match serve.log {
        LogForm::Text => subscriber.with_ansi(false).init(),
        LogForm::Json => subscriber.json().init(),
    }
}
