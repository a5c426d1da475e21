//! What `doctor` finds: one finding for each thing that it looked at, with what to do about it.
//!
//! Here are the findings, and the checks that both programs have: the clock, and on the system
//! ([`mod@platform`], `unix` or `windows`) folders, sockets, open files and disk space.

#[cfg(unix)]
pub mod unix;
#[cfg(windows)]
pub mod windows;

#[cfg(unix)]
pub use unix as platform;
#[cfg(windows)]
pub use windows as platform;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::types::Time;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, and may not for long, or not for everybody.
    Warning,
    /// Does not work.
    Wrong,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, a word of the documented list.
    pub check: &'static str,
    /// What was looked at, where there may be several: a path, a relay.
    pub about: Option<String>,
    /// How it is.
    pub state: State,
    /// A sentence.
    pub finding: String,
    /// What to do; nothing where all is well.
    pub fix: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { check, about: None, state: State::Ok, finding: finding.into(), fix: None }
    }

    /// Something may not work for long.
    #[must_use]
    pub fn warning(
        check: &'static str,
        finding: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let fix = Some(fix.into());
        Self { check, about: None, state: State::Warning, finding: finding.into(), fix }
    }

    /// Something does not work.
    #[must_use]
    pub fn wrong(check: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state: State::Wrong, ..Self::warning(check, finding, fix) }
    }

    /// Says what was looked at.
    #[must_use]
    pub fn about(self, what: impl Into<String>) -> Self {
        Self { about: Some(what.into()), ..self }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The program's version.
    pub version: &'static str,
    /// How many are wrong.
    pub wrong: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// In the order of the list.
    pub checks: Vec<Finding>,
}

impl Report {
    /// Of these.
    #[must_use]
    pub fn of(checks: Vec<Finding>) -> Self {
        let count = |state| checks.iter().filter(|found| found.state == state).count();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            wrong: count(State::Wrong),
            warnings: count(State::Warning),
            checks,
        }
    }

    /// The exit code: 0 where nothing is wrong, else 1.
    #[must_use]
    pub fn exit(&self) -> u8 {
        u8::from(self.wrong > 0)
    }

    /// For people, a line for each finding and one for each fix; `harmless` makes what somebody
    /// else may have written fit for a terminal.
    #[must_use]
    pub fn text(&self, harmless: impl Fn(&str) -> String) -> String {
        let width = self.checks.iter().map(|found| found.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for found in &self.checks {
            let (state, check) = (found.state.word(), found.check);
            let _ = write!(text, "{state:<8} {check:<width$}  ");
            if let Some(about) = &found.about {
                let _ = write!(text, "{}: ", harmless(about));
            }
            let _ = writeln!(text, "{}", harmless(&found.finding));
            if let Some(fix) = &found.fix {
                let _ = writeln!(text, "{:8} {:width$}  -> {}", "", "", harmless(fix));
            }
        }
        let _ = match (self.wrong, self.warnings) {
            (0, 0) => writeln!(text, "all is well"),
            (wrong, warnings) => writeln!(text, "{wrong} wrong, {warnings} to look at"),
        };
        text
    }
}

/// 2026-11-01T00:00:00Z, in milliseconds: before any version of these programs.
const PAST: i64 = 1_793_491_200_000;
/// A file that was changed by so much after now was changed under another clock.
const AHEAD: i64 = 5 * 60 * 1000;

/// The clock: `now`, and when a file of ours was changed last, in milliseconds since 1970.
#[must_use]
pub fn clock(now: i64, changed: Option<i64>) -> Finding {
    let fix = "set it, and keep it right: timedatectl set-ntp true";
    if now < PAST {
        let said = format!("it says {}, which is past", Time::from_millis(now));
        return Finding::wrong("clock", said, fix);
    }
    if let Some(changed) = changed.filter(|changed| *changed > now.saturating_add(AHEAD)) {
        let (now, changed) = (Time::from_millis(now), Time::from_millis(changed));
        let said = format!("it says {now}, but the database was changed at {changed}");
        return Finding::wrong("clock", said, fix);
    }
    Finding::ok("clock", format!("it says {}", Time::from_millis(now)))
}

/// Bytes, and files that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that are free for us.
    pub free: u64,
    /// Files that can still be made; `None` where nobody counts them.
    pub files: Option<u64>,
}

/// Nothing can be kept below this: the database grows in steps.
const LEAST: u64 = 32 << 20;
/// Somebody should look below this.
const LITTLE: u64 = 512 << 20;
/// So many files are needed now and then.
const LEAST_FILES: u64 = 64;

/// Whether that is enough.
#[must_use]
pub fn space(space: Space) -> Finding {
    let mib = space.free >> 20;
    if let Some(files) = space.files.filter(|files| *files < LEAST_FILES) {
        let said = format!("only {files} more files can be made");
        return Finding::wrong("disk", said, "remove files: df -i says where there are many");
    }
    let fix = "free some space: du -xh / | sort -h says where it went";
    match space.free {
        0..LEAST => Finding::wrong("disk", format!("only {mib} MiB are free"), fix),
        LEAST..LITTLE => Finding::warning("disk", format!("only {mib} MiB are free"), fix),
        _ => Finding::ok("disk", format!("{mib} MiB are free")),
    }
}

/// When a file was changed, in milliseconds since 1970.
#[must_use]
pub fn changed(path: &Path) -> Option<i64> {
    let at = fs::metadata(path).ok()?.modified().ok()?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// How long a connection may take.
const REACH: Duration = Duration::from_secs(5);

/// Why `HOST:PORT` cannot be reached from here: a sentence, and what to do.
///
/// # Errors
/// Both, where it cannot be reached.
pub fn reach(at: &str) -> Result<SocketAddr, (String, String)> {
    let found = at.to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let host = at.rsplit_once(':').map_or(at, |(host, _)| host);
    let mut why = (
        format!("no address is known for the name {host}"),
        "check the network of this machine, and how the name is written".to_owned(),
    );
    for address in found {
        let error = match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return Ok(address),
            Err(error) => error,
        };
        let port = address.port();
        why = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                format!("nothing listens at {address}"),
                format!("ask whoever runs it whether it runs, and on port {port}"),
            ),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => (
                format!("{address} does not answer within {} s", REACH.as_secs()),
                format!("a firewall may be in the way: TCP to port {port} must be let through"),
            ),
            _ => (
                format!("{address} cannot be reached: {error}"),
                "check the network of this machine".to_owned(),
            ),
        };
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_past_or_before_its_own_files_is_wrong() {
        let now = PAST + 1_000_000_000;
        assert_eq!(clock(now, None).state, State::Ok);
        assert_eq!(clock(now, Some(now + AHEAD)).state, State::Ok);
        let back = clock(now, Some(now + AHEAD + 1));
        assert_eq!(back.state, State::Wrong);
        assert!(back.finding.contains("was changed at"), "{}", back.finding);
        let past = clock(PAST - 1, None);
        assert!(past.state == State::Wrong && past.fix.unwrap().contains("timedatectl"));
    }

    #[test]
    fn a_report_counts_and_is_shown_line_by_line() {
        let report = Report::of(vec![
            Finding::ok("clock", "fine"),
            Finding::warning("disk", "little left", "free some").about("/data"),
            Finding::wrong("relay", "gone\u{1b}[31m", "look").about("home"),
        ]);
        assert_eq!((report.wrong, report.warnings, report.exit()), (1, 1, 1));
        let text = report.text(|text| text.replace('\u{1b}', "?"));
        assert_eq!(
            text,
            "ok       clock  fine\n\
             warning  disk   /data: little left\n\
             \u{20}               -> free some\n\
             wrong    relay  home: gone?[31m\n\
             \u{20}               -> look\n\
             1 wrong, 1 to look at\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["checks"][1]["state"], "warning");
        assert_eq!(json["checks"][0]["fix"], serde_json::Value::Null);
        let well = Report::of(vec![Finding::ok("clock", "fine")]);
        assert_eq!(well.exit(), 0);
        assert!(well.text(str::to_owned).ends_with("all is well\n"));
    }

    #[test]
    fn whether_something_is_reached_and_why_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(reach(&at.to_string()), Ok(at));
        drop(listener);
        let (finding, fix) = reach(&at.to_string()).unwrap_err();
        assert!(finding.contains("nothing listens") && fix.contains(&at.port().to_string()));
        let (finding, _) = reach("no such name:7311").unwrap_err();
        assert!(finding.contains("no address is known for the name no such name"), "{finding}");
    }

    #[test]
    fn what_is_free_is_enough_or_not() {
        let state = |free, files| space(Space { free, files }).state;
        assert_eq!(state(LEAST - 1, None), State::Wrong);
        assert_eq!(state(LEAST, None), State::Warning);
        assert_eq!(state(LITTLE - 1, Some(LEAST_FILES)), State::Warning);
        assert_eq!(state(LITTLE, Some(LEAST_FILES)), State::Ok);
        assert_eq!(state(LITTLE, Some(LEAST_FILES - 1)), State::Wrong);
        let base = tempfile::tempdir().unwrap();
        assert!(platform::disk(base.path()).finding.contains("free"));
        assert_eq!(platform::disk(&base.path().join("gone")).state, State::Wrong);
    }

    #[test]
    fn a_file_says_when_it_was_changed() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("f");
        assert_eq!(changed(&path), None);
        fs::write(&path, "").unwrap();
        assert!(changed(&path).unwrap() > 0);
    }
}
