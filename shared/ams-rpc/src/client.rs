//! The calling end. It blocks, has one call under way, and needs no runtime: a command line that
//! makes one call is done before a runtime would have started.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{ErrorData, ErrorKind, Exit, RpcError};
use crate::methods::{Method, Subscription};
use crate::platform::Calling;

/// The longest line that is taken from a server.
const MAX_ANSWER_LINE: u64 = 8 * 1024 * 1024;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody serves the socket.
    #[error("nothing is listening on {}", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is there and cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else's program serves the socket.
    #[error("{} is served by another user's program", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke; whether the call was carried out is not known.
    #[error("the connection to the daemon broke: {0}")]
    Broken(io::Error),
    /// Nothing came in the time that was set.
    #[error("the daemon did not answer in time")]
    TimedOut,
    /// What came is no answer.
    #[error("the daemon's answer makes no sense: {0}")]
    Nonsense(String),
    /// The method answered an error.
    #[error("{0}")]
    Failed(Failure),
}

/// An error that a method answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The JSON-RPC code.
    pub code: i64,
    /// One sentence on what is wrong.
    pub message: String,
    /// Kind, hint and exit code, which every daemon of ours sends.
    pub data: Option<ErrorData>,
}

impl Failure {
    /// It is of this kind.
    #[must_use]
    pub fn is(&self, kind: ErrorKind) -> bool {
        self.data.as_ref().is_some_and(|data| data.kind == kind.as_str())
    }

    /// The exit code of a command that ends with it.
    #[must_use]
    pub fn exit(&self) -> u8 {
        self.data.as_ref().map_or(Exit::Failed.code(), |data| data.exit)
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        let data = Some(ErrorData::from(&error));
        Self { code: error.kind.code().into(), message: error.message, data }
    }
}

impl CallError {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::NotRunning { .. } | Self::Broken(_) | Self::TimedOut => Exit::NoDaemon.code(),
            Self::Foreign { .. } => Exit::Refused.code(),
            Self::Connect { .. } | Self::Nonsense(_) => Exit::Failed.code(),
            Self::Failed(failure) => failure.exit(),
        }
    }

    /// The daemon is away, and may come back: worth another try where the call can be repeated.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Broken(_) => true,
            Self::Failed(failure) => failure.is(ErrorKind::Stopping),
            _ => false,
        }
    }
}

/// Whose daemon may be at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The same user's.
    Own,
    /// Also that of the user whose socket it is, which somebody named: he gave it to others.
    Named,
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Calling>,
    next_id: u64,
}

#[derive(Serialize)]
struct Call<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct AnyLine<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<AnyError>,
    #[serde(borrow)]
    params: Option<Notified<'a>>,
}

#[derive(Deserialize)]
struct AnyError {
    code: i64,
    message: String,
    data: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Notified<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`CallError::NotRunning`] where nobody serves it, [`CallError::Foreign`] where another user
    /// does.
    pub fn connect(path: &Path) -> Result<Self, CallError> {
        Self::connect_to(path, Whose::Own)
    }

    /// As [`Client::connect`], to a daemon that may be another user's.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_to(path: &Path, whose: Whose) -> Result<Self, CallError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                CallError::NotRunning { path: path.to_owned() }
            }
            _ => CallError::Connect { path: path.to_owned(), source },
        };
        let stream = Calling::connect(path).map_err(failed)?;
        if !stream.may_be_called(whose, path).map_err(failed)? {
            return Err(CallError::Foreign { path: path.to_owned() });
        }
        Ok(Self { stream: BufReader::new(stream), next_id: 1 })
    }

    /// How long to wait for one line; `None`, the default, without end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), CallError> {
        self.stream.get_ref().set_timeout(timeout).map_err(CallError::Broken)
    }

    /// Calls a method of the table.
    ///
    /// # Errors
    /// [`CallError::Failed`] with what the method answered, or why there is no answer.
    pub fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Result, CallError> {
        let result = self.call_any(M::NAME, params)?;
        serde_json::from_str(result.get()).map_err(|error| CallError::Nonsense(error.to_string()))
    }

    /// Calls a method by its name and hands its result over as it came.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_any(
        &mut self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, CallError> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let line = line_of(id, method, params)?;
        // An answer may be there although not all was taken: a server that refuses says why.
        let wrote = self.stream.get_mut().write_all(&line);
        loop {
            let text = match self.read_line() {
                Ok(text) => text,
                Err(CallError::Broken(error)) => {
                    return Err(CallError::Broken(wrote.err().unwrap_or(error)));
                }
                Err(error) => return Err(error),
            };
            if let Some(result) = answer_to(id, &text)? {
                return Ok(result);
            }
        }
    }

    /// Subscribes, and hands the connection over to its notifications.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn subscribe<S: Subscription>(
        mut self,
        params: &S::Params,
    ) -> Result<Notifications<S::Item>, CallError> {
        self.call::<S>(params)?;
        Ok(Notifications { client: self, item: PhantomData })
    }

    /// Reads on until the server has closed the connection, for so long at most between two lines.
    pub fn wait_for_end(mut self, patience: Duration) {
        if self.set_timeout(Some(patience)).is_ok() {
            while self.read_line().is_ok() {}
        }
    }

    fn read_line(&mut self) -> Result<String, CallError> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(MAX_ANSWER_LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) if line.last() != Some(&b'\n') => {
                Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into()))
            }
            Ok(_) => {
                String::from_utf8(line).map_err(|error| CallError::Nonsense(error.to_string()))
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Err(CallError::TimedOut)
            }
            Err(error) => Err(CallError::Broken(error)),
        }
    }
}

/// The line of a call.
pub(crate) fn line_of(
    id: u64,
    method: &str,
    params: &impl Serialize,
) -> Result<Vec<u8>, CallError> {
    let call = Call { jsonrpc: "2.0", id, method, params };
    let mut line =
        serde_json::to_vec(&call).map_err(|error| CallError::Nonsense(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

/// What a line answers to the call `id`; `None`: it is about something else.
pub(crate) fn answer_to(id: u64, text: &str) -> Result<Option<Box<RawValue>>, CallError> {
    let answer: AnyLine<'_> = read(text)?;
    if let Some(error) = answer.error.filter(|_| answer.id.is_none_or(|of| of == id)) {
        let data = error.data.and_then(|data| serde_json::from_value(data).ok());
        let failure = Failure { code: error.code, message: error.message, data };
        return Err(CallError::Failed(failure));
    }
    // An absent result is the JSON value `null`.
    let result = || answer.result.unwrap_or(RawValue::NULL).to_owned();
    Ok((answer.id == Some(id)).then(result))
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, CallError> {
    serde_json::from_str(text).map_err(|error| CallError::Nonsense(error.to_string()))
}

/// The notifications of one subscription, as they come.
#[derive(Debug)]
pub struct Notifications<T> {
    client: Client,
    item: PhantomData<fn() -> T>,
}

impl<T: serde::de::DeserializeOwned> Notifications<T> {
    /// Waits for the next one, both as a value and as it came.
    ///
    /// # Errors
    /// When the connection broke or nothing came in the time that was set.
    pub fn next_notification(&mut self) -> Result<(T, Box<RawValue>), CallError> {
        loop {
            let text = self.client.read_line()?;
            let line: AnyLine<'_> = read(&text)?;
            if let Some(result) = line.params.and_then(|params| params.result) {
                return Ok((read(result.get())?, result.to_owned()));
            }
        }
    }

    /// How long to wait for one; `None`, the default, without end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), CallError> {
        self.client.set_timeout(timeout)
    }
}
