//! The connection to the daemon: found, made, and made again where that is safe.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ams_rpc::client::{CallError, Client, Failure, Notifications, Whose};
use ams_rpc::methods::{daemon, events};
use ams_rpc::places::Places;
use ams_rpc::types::{Event, NoParams, Period, SubscribeParams};
use ams_rpc::{ErrorKind, Exit, Method};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failed::Failed;
use crate::patience::{LONGEST_AWAY, Limit, PAUSE, Patience, at_once};
use crate::progress::Progress;
use crate::start::{self, Started};
use crate::text;

/// A daemon that waits for something answers at the latest so long after the time it was given.
const GRACE: Duration = Duration::from_secs(10);

/// What a command works with.
#[derive(Debug)]
pub struct Session {
    home: Option<PathBuf>,
    socket: Option<PathBuf>,
    /// A daemon that was never there is started.
    start: bool,
    /// Print results as they came.
    pub json: bool,
    client: Option<Client>,
    daemon: Daemon,
}

/// What is known of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Daemon {
    /// Nothing yet.
    Unknown,
    /// It answered.
    There,
    /// It was there, and was waited for in vain.
    Away,
}

impl Session {
    /// Does not connect yet, so that wrong usage is found without a daemon.
    #[must_use]
    pub fn new(home: Option<PathBuf>, socket: Option<PathBuf>, json: bool) -> Self {
        Self { home, socket, start: false, json, client: None, daemon: Daemon::Unknown }
    }

    /// Whether to start a daemon that does not run.
    #[must_use]
    pub fn starting(mut self, start: bool) -> Self {
        self.start = start;
        self
    }

    /// The profile's places; none where a socket was named, which may be anybody's.
    pub(crate) fn places(&self) -> Result<Option<Places>, Failed> {
        if self.socket.is_some() {
            return Ok(None);
        }
        let places = Places::find(self.home.as_deref());
        places.map(Some).map_err(|error| Failed::usage(error.to_string()))
    }

    /// The same daemon, by a connection of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::new(self.home.clone(), self.socket.clone(), self.json)
    }

    /// The socket that was named, or the profile's.
    pub(crate) fn socket(&self) -> Result<PathBuf, Failed> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => {
                let places = Places::find(self.home.as_deref());
                places.map_err(|error| Failed::usage(error.to_string()))?.socket
            }
        };
        ams_rpc::platform::check_socket_path(&socket)
            .map_err(|error| Failed::usage(error.to_string()))?;
        Ok(socket)
    }

    fn connect(&mut self) -> Result<Client, Called> {
        // A socket that somebody named may be one that another user shares.
        let whose = if self.socket.is_some() { Whose::Named } else { Whose::Own };
        let socket = self.socket()?;
        // Once: one that goes away later was stopped by somebody.
        let start = std::mem::take(&mut self.start);
        match Client::connect_to(&socket, whose) {
            Err(CallError::NotRunning { .. }) if start => {}
            reached => return Ok(reached?),
        }
        match start::start(self.home.as_deref())? {
            Started::Ready => Ok(Client::connect_to(&socket, whose)?),
            Started::Another => Ok(once_it_answers(|| Client::connect_to(&socket, whose))?),
        }
    }

    fn client(&mut self) -> Result<&mut Client, Called> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        Ok(self.client.insert(client))
    }

    /// One call on the connection that there is, or on a new one; for so long at most.
    fn call_within(
        &mut self,
        within: Option<Duration>,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, Called> {
        let client = self.client()?;
        client.set_timeout(within)?;
        let answer = client.call_any(method, params);
        if matches!(answer, Err(ref error) if !matches!(error, CallError::Failed(_))) {
            self.client = None;
        }
        let answer = answer?;
        self.daemon = Daemon::There;
        Ok(answer)
    }

    fn call_once<M: Method>(&mut self, params: &M::Params) -> Result<Box<RawValue>, Called> {
        self.call_within(at_once(M::NAME, params), M::NAME, params)
    }

    /// Calls a method and hands over its result as it came.
    ///
    /// # Errors
    /// What the method answered, or why there is no answer.
    pub fn call_raw<M: Method>(&mut self, params: &M::Params) -> Result<Box<RawValue>, Failed> {
        let answer = self.call_once::<M>(params);
        answer.map_err(|error| self.explain(error))
    }

    /// Calls a method.
    ///
    /// # Errors
    /// As [`Session::call_raw`].
    pub fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Result, Failed> {
        let raw = self.call_raw::<M>(params)?;
        parse::<M>(&raw)
    }

    /// Calls a method whose name is not known here.
    ///
    /// # Errors
    /// As [`Session::call_raw`].
    pub fn call_any(&mut self, method: &str, params: &RawValue) -> Result<Box<RawValue>, Failed> {
        let answer = self.call_within(at_once(method, &params), method, &params);
        answer.map_err(|error| self.explain(error))
    }

    /// Calls a method and shows its result: as it came, or as `text` puts it.
    ///
    /// # Errors
    /// As [`Session::call_raw`], and when stdout cannot be written.
    pub fn show<M: Method>(
        &mut self,
        params: &M::Params,
        text: impl FnOnce(&M::Result) -> String,
    ) -> Result<u8, Failed> {
        let raw = self.call_raw::<M>(params)?;
        self.print::<M>(&raw, text)?;
        Ok(Exit::Done.code())
    }

    /// As [`Session::show`], of what takes its time: `doing` is said while it does.
    ///
    /// # Errors
    /// As [`Session::show`].
    pub fn show_slow<M: Method>(
        &mut self,
        doing: &'static str,
        params: &M::Params,
        text: impl FnOnce(&M::Result) -> String,
    ) -> Result<u8, Failed> {
        let saying = Progress::of(doing);
        let answer = self.call_raw::<M>(params);
        drop(saying);
        self.print::<M>(&answer?, text)?;
        Ok(Exit::Done.code())
    }

    fn print<M: Method>(
        &self,
        raw: &RawValue,
        text: impl FnOnce(&M::Result) -> String,
    ) -> Result<(), Failed> {
        text::print(&if self.json { text::json(raw.get()) } else { text(&parse::<M>(raw)?) })?;
        Ok(())
    }

    /// Calls a method that answers page by page: shows this one, and hands it over.
    ///
    /// # Errors
    /// As [`Session::call_raw`].
    pub fn show_page<M: Method>(
        &mut self,
        params: &M::Params,
        text: impl FnOnce(&M::Result) -> String,
    ) -> Result<M::Result, Failed> {
        let raw = self.call_raw::<M>(params)?;
        let page = parse::<M>(&raw)?;
        text::print(&if self.json { text::json(raw.get()) } else { text(&page) })?;
        Ok(page)
    }

    /// Calls a method that may be repeated: again and again while the daemon is away, for 10 s at
    /// a time and at most until `limit`. A daemon that is not there at the first try is not waited
    /// for. `params` are made for each try, with what is left of the time.
    ///
    /// # Errors
    /// As [`Session::call_raw`]; exit 11 when the daemon stayed away.
    pub fn persist<M: Method>(
        &mut self,
        limit: Limit,
        params: impl Fn(Option<Period>) -> M::Params,
    ) -> Result<M::Result, Failed> {
        let mut patience = Patience::new(limit);
        if self.daemon == Daemon::There {
            patience.answered();
        }
        loop {
            let left = limit.left();
            let params = params(left);
            let guard = left.map(|left| left.0.saturating_add(GRACE));
            let within = guard.or_else(|| at_once(M::NAME, &params));
            match self.call_within(within, M::NAME, &params) {
                Ok(raw) => return parse::<M>(&raw),
                Err(error) => {
                    if patience.wait(&error).is_err() {
                        let failed = self.explain(error);
                        if self.daemon == Daemon::Unknown && !patience.has_seen() {
                            return Err(failed);
                        }
                        if failed.exit == Exit::NoDaemon.code() {
                            self.daemon = Daemon::Away;
                        }
                        return Err(went_away(failed));
                    }
                }
            }
            self.client = None;
        }
    }

    /// Follows events.
    ///
    /// # Errors
    /// As [`Session::call_raw`].
    pub fn subscribe(&mut self, params: &SubscribeParams) -> Result<Notifications<Event>, Called> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        client.set_timeout(at_once(events::Subscribe::NAME, params))?;
        let events = client.subscribe::<events::Subscribe>(params)?;
        // The next event may be long in coming.
        events.set_timeout(None)?;
        Ok(events)
    }

    /// Waits until the daemon has closed the connection and its process has ended.
    pub fn wait_for_end(&mut self, pid: Option<u32>) {
        if let Some(client) = self.client.take() {
            client.wait_for_end(LONGEST_AWAY);
        }
        if let Some(pid) = pid {
            crate::platform::wait_for_exit(pid, LONGEST_AWAY);
        }
    }

    /// On a terminal: messages that wait for the user's decision are mentioned.
    pub fn note_undelivered(&mut self) {
        if self.json || !io::stderr().is_terminal() || self.client.is_none() {
            return;
        }
        let Ok(status) = self.call::<daemon::Status>(&NoParams {}) else { return };
        if status.queue.undelivered > 0 {
            text::note(&format!("{} undelivered: amsctl queue list", status.queue.undelivered));
        }
    }

    /// The sentence for an error, with what to do about it here.
    pub fn explain(&mut self, error: Called) -> Failed {
        match error {
            Called::Failed(failed) => failed,
            Called::Call(error) => self.reached(error),
        }
    }

    fn reached(&mut self, error: CallError) -> Failed {
        match error {
            CallError::NotRunning { .. } => {
                let failed = Failed::from(error);
                if self.socket.is_some() {
                    return failed.hint("start the daemon that serves this socket");
                }
                failed.hint(format!("start it: {} --daemon", start::typed(self.home.as_deref())))
            }
            CallError::Failed(failure)
                if failure.is(ErrorKind::MethodNotFound)
                    || failure.is(ErrorKind::InvalidParams) =>
            {
                self.older_daemon(failure)
            }
            error => error.into(),
        }
    }

    /// A daemon that does not understand may be of another version; then that is what matters.
    fn older_daemon(&mut self, failure: Failure) -> Failed {
        let own = env!("CARGO_PKG_VERSION");
        let status = self.call_once::<daemon::Status>(&NoParams {}).ok();
        let version = status.and_then(|raw| {
            let status: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
            Some(status.get("version")?.as_str()?.to_owned())
        });
        match version {
            Some(version) if version != own => Failed {
                exit: failure.exit(),
                message: Some(format!(
                    "{}: the daemon that runs is version {version}, amsctl is {own}",
                    failure.message
                )),
                hint: Some("restart it: amsctl stop && amsd --daemon".to_owned()),
                kind: failure.data.map(|data| data.kind),
                offered: None,
            },
            _ => CallError::Failed(failure).into(),
        }
    }
}

/// Connects to a daemon that somebody else is starting.
fn once_it_answers(connect: impl Fn() -> Result<Client, CallError>) -> Result<Client, CallError> {
    let (since, mut pause) = (Instant::now(), PAUSE.0);
    loop {
        match connect() {
            Err(CallError::NotRunning { .. }) if since.elapsed() < LONGEST_AWAY => {
                std::thread::sleep(pause);
                pause = pause.saturating_mul(2).min(PAUSE.1);
            }
            answer => return answer,
        }
    }
}

/// A daemon that was there and did not come back.
fn went_away(failed: Failed) -> Failed {
    if failed.exit != Exit::NoDaemon.code() || failed.is_away() {
        return failed;
    }
    let message = "amsd went away during the call and did not come back";
    Failed { message: Some(message.to_owned()), kind: Some(Failed::AWAY.to_owned()), ..failed }
}

fn parse<M: Method>(raw: &RawValue) -> Result<M::Result, Failed> {
    serde_json::from_str(raw.get())
        .map_err(|error| Failed::from(CallError::Nonsense(error.to_string())))
}

/// Why a call has no result, before it became a sentence.
#[derive(Debug)]
pub enum Called {
    /// The call itself.
    Call(CallError),
    /// Something before it.
    Failed(Failed),
}

impl From<CallError> for Called {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<Failed> for Called {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_daemon_the_sentence_says_how_to_start_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        let mut session = Session::new(Some(home.clone()), None, false);
        let failed = session.call::<daemon::Status>(&NoParams {}).unwrap_err();
        assert_eq!(failed.exit, 11);
        assert!(failed.message.unwrap().contains("not running"));
        assert_eq!(
            failed.hint.unwrap(),
            format!("start it: amsd --home {} --daemon", home.display())
        );
    }
}
