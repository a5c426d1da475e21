//! How long the daemon is waited for: its answer, and itself where it went away.

use std::time::{Duration, Instant};

use ams_rpc::METHODS;
use ams_rpc::client::CallError;
use ams_rpc::types::Period;
use serde::Serialize;

use crate::session::Called;

/// A daemon that was there may be away for so long.
pub(crate) const LONGEST_AWAY: Duration = Duration::from_secs(10);
/// Between two tries to reach it again: at first, and at most.
pub(crate) const PAUSE: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));
/// What needs nothing but the daemon and its disk is answered within this time, or not at all.
const ANSWER: Duration = Duration::from_secs(12);
/// These may take longer: they wait for others, make keys out of passwords, reach a relay or a peer,
/// or run a program.
const TAKING_TIME: &[&str] = &[
    "contact.ping",
    "contact.wait",
    "hook.replay",
    "hook.test",
    "message.ask",
    "message.wait",
    "peer.connect",
    "profile.backup",
    "profile.restore",
    "relay.connect",
    "relay.join",
    "relay.leave",
    "relay.login",
    "relay.password",
    "relay.resume",
];
/// These do where this parameter says so.
const WAITING: (&[&str], &str) = (&["inbox.next", "message.send"], "wait");

/// How long an answer to this call is waited for, where the daemon gives it at once. What another
/// version serves under another name may take its time.
pub(crate) fn at_once(method: &str, params: &impl Serialize) -> Option<Duration> {
    if TAKING_TIME.contains(&method) || METHODS.iter().all(|entry| entry.name != method) {
        return None;
    }
    let (methods, parameter) = WAITING;
    let waits = || {
        let params = serde_json::to_value(params).unwrap_or_default();
        params.get(parameter).is_some_and(|wait| !wait.is_null())
    };
    let waits = methods.contains(&method) && waits();
    Some(ANSWER).filter(|_| !waits)
}

/// Until when a command goes on.
#[derive(Debug, Clone, Copy)]
pub struct Limit(Option<Instant>);

impl Limit {
    /// For this long from now, or without end.
    #[must_use]
    pub fn new(timeout: Option<Period>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout.0)))
    }

    /// What is left of it, at least nothing.
    #[must_use]
    pub fn left(self) -> Option<Period> {
        let end = self.0?;
        // Whole milliseconds: nobody needs to read more.
        let left = end.saturating_duration_since(Instant::now()).as_millis();
        Some(Period(Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX))))
    }
}

/// How long a daemon that went away is waited for.
#[derive(Debug)]
pub struct Patience {
    limit: Limit,
    /// It was there once.
    seen: bool,
    away_since: Option<Instant>,
    tried: Instant,
    pause: Duration,
}

/// A connection that lasted so long was one: the daemon was back in between.
const LASTED: Duration = Duration::from_secs(1);

impl Patience {
    /// Nobody was seen yet.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self { limit, seen: false, away_since: None, tried: Instant::now(), pause: PAUSE.0 }
    }

    /// Whether it was there once.
    #[must_use]
    pub fn has_seen(&self) -> bool {
        self.seen
    }

    /// It answered.
    pub fn answered(&mut self) {
        self.seen = true;
        self.away_since = None;
        self.pause = PAUSE.0;
    }

    /// Waits a little when the error means that the daemon is away and may come back.
    ///
    /// # Errors
    /// When it is time to give up, or the error means something else.
    pub fn wait(&mut self, error: &Called) -> Result<(), GaveUp> {
        let Called::Call(error) = error else { return Err(GaveUp) };
        match error {
            CallError::NotRunning { .. } if !self.seen => return Err(GaveUp),
            error if !error.is_away() => return Err(GaveUp),
            CallError::NotRunning { .. } => {}
            // It was there, and the connection broke just now.
            _ if self.tried.elapsed() >= LASTED => self.answered(),
            _ => self.seen = true,
        }
        let since = *self.away_since.get_or_insert_with(Instant::now);
        let over = self.limit.left().is_some_and(|left| left.0.is_zero());
        if over || since.elapsed() >= LONGEST_AWAY {
            return Err(GaveUp);
        }
        std::thread::sleep(self.pause);
        self.pause = self.pause.saturating_mul(2).min(PAUSE.1);
        self.tried = Instant::now();
        Ok(())
    }
}

/// It is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaveUp;

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    fn not_running() -> Called {
        Called::Call(CallError::NotRunning { path: PathBuf::from("/x") })
    }

    fn broken() -> Called {
        Called::Call(CallError::Broken(io::ErrorKind::UnexpectedEof.into()))
    }

    #[test]
    fn a_daemon_that_was_never_there_is_not_waited_for() {
        let mut patience = Patience::new(Limit::new(None));
        assert_eq!(patience.wait(&not_running()), Err(GaveUp));
    }

    #[test]
    fn one_that_went_away_is_within_the_limit() {
        let mut patience = Patience::new(Limit::new(None));
        assert_eq!(patience.wait(&broken()), Ok(()));
        assert_eq!(patience.wait(&not_running()), Ok(()));
        let mut late = Patience::new(Limit::new(Some(Period(Duration::ZERO))));
        assert_eq!(late.wait(&broken()), Err(GaveUp));
        let refused = CallError::Failed(ams_rpc::RpcError::not_approved("no").into());
        assert_eq!(patience.wait(&Called::Call(refused)), Err(GaveUp));
    }

    #[test]
    fn what_waits_on_purpose_has_its_time() {
        let nothing = json!({});
        assert_eq!(at_once("daemon.status", &nothing), Some(ANSWER));
        assert_eq!(at_once("relay.join", &nothing), None);
        assert_eq!(at_once("of.tomorrow", &nothing), None);
        for waiting in WAITING.0 {
            assert_eq!(at_once(waiting, &nothing), Some(ANSWER));
            assert_eq!(at_once(waiting, &json!({"wait": null})), Some(ANSWER));
            assert_eq!(at_once(waiting, &json!({"wait": "sent"})), None);
        }
        for name in TAKING_TIME.iter().chain(WAITING.0) {
            assert!(METHODS.iter().any(|entry| entry.name == *name), "{name}");
        }
        assert!(ANSWER > LONGEST_AWAY);
    }
}
