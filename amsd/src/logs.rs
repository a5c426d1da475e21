//! What the daemon writes about itself: to stderr in the foreground, to a file in the background.
//!
//! Never bodies, keys, passwords, names or addresses. Other crates' lines are kept at warnings
//! whatever the level: what they show at the lower ones is not ours to vouch for.

use std::fs::{self, File};
use std::io::{self, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::LogFormat;
use crate::home::append_private;

/// A log file of this size is put aside and begun anew; the one put aside before goes.
const MAX_LOG: u64 = 4 * 1024 * 1024;

/// Starts logging; `file`: not to stderr but into this file.
///
/// # Errors
/// When the file cannot be opened.
pub fn start(format: LogFormat, verbose: u8, file: Option<&Path>) -> io::Result<()> {
    match file {
        None => install(format, verbose, io::stderr),
        Some(path) => install(format, verbose, Mutex::new(LogFile::open(path)?)),
    }
    // A panic's message may quote data, so only its place is told.
    panic::set_hook(Box::new(|panic| match panic.location() {
        Some(place) => tracing::error!("panicked at {place}"),
        None => tracing::error!("panicked"),
    }));
    Ok(())
}

fn install(
    format: LogFormat,
    verbose: u8,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) {
    let filter = EnvFilter::new(directives(verbose));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // Fails only where another subscriber is there already, which then gets the lines.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(false).with_target(verbose > 0).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

fn directives(verbose: u8) -> String {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    format!("warn,amsd={level},ams_rpc={level},ams_link={level},ams_crypto={level}")
}

/// A log file that is bounded.
struct LogFile {
    path: PathBuf,
    file: File,
    written: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = append_private(path)?;
        let written = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, written })
    }

    fn turn_over(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("log.old"))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= MAX_LOG {
            self.turn_over()?;
        }
        let wrote = self.file.write(bytes)?;
        self.written = self.written.saturating_add(u64::try_from(wrote).unwrap_or(u64::MAX));
        Ok(wrote)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("amsd.log");
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"first\n").unwrap();
        log.written = MAX_LOG;
        log.write_all(b"second\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second\n");
        assert_eq!(fs::read(folder.path().join("amsd.log.old")).unwrap(), b"first\n");
    }

    #[test]
    fn other_crates_stay_quiet_at_every_level() {
        for verbose in 0..4 {
            assert!(directives(verbose).starts_with("warn,amsd="));
        }
    }
}
