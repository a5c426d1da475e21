//! What went wrong: a sentence, what to do next, and the exit code.

use std::fmt::Write as _;
use std::io;

use ams_rpc::Exit;
use ams_rpc::client::CallError;
use ams_rpc::types::MessageId;

use crate::text;

/// A command that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The exit code.
    pub exit: u8,
    /// One sentence; nothing at all where the reader of our output went away.
    pub message: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// The kind that the daemon gave it.
    pub kind: Option<String>,
    /// The fingerprint of a key that was shown and is not trusted.
    pub offered: Option<String>,
}

impl Failed {
    /// The kind of a failure after which it is not known whether the call was carried out.
    pub const AWAY: &str = "away";

    /// Fails with this code and sentence.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = Some(message.into());
        Self { exit: exit.code(), message, hint: None, kind: None, offered: None }
    }

    /// Wrong usage.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// It is not known whether the call was carried out: the daemon went away, or is there and says
    /// nothing.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.kind.as_deref() == Some(Self::AWAY)
    }

    /// Says which message it is about, so that whoever does not know whether it was accepted can ask,
    /// or send it again by its id.
    #[must_use]
    pub fn about(self, id: MessageId) -> Self {
        if !self.is_away() {
            return self;
        }
        let message = self.message.unwrap_or_default();
        Self { message: Some(format!("{message}; the message's id is {id}")), ..self }
    }

    /// Says it on stderr and gives the exit code.
    #[must_use]
    pub fn report(&self) -> u8 {
        if let Some(message) = &self.message {
            let mut said = format!("amsctl: {}", text::line(message));
            if let Some(hint) = &self.hint {
                let _ = write!(said, "\n  {}", text::line(hint));
            }
            text::note(&said);
        }
        self.exit
    }
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        let exit = error.exit();
        let kind = matches!(error, CallError::TimedOut).then(|| Self::AWAY.to_owned());
        let (message, hint) = match error {
            CallError::NotRunning { path } => (
                format!("amsd is not running (nothing is listening on {})", path.display()),
                Some("start it: amsd --daemon".to_owned()),
            ),
            CallError::Broken(_) => (
                "the connection to amsd broke; whether the command was carried out is not known"
                    .to_owned(),
                Some("amsctl status says whether it is running".to_owned()),
            ),
            CallError::TimedOut => (
                "amsd is there and does not answer; whether the command was carried out is not known"
                    .to_owned(),
                Some(
                    "its process may be stopped, or its disk stuck: look at it and at its log".to_owned(),
                ),
            ),
            CallError::Foreign { .. } => {
                (error.to_string(), Some("check --home, --socket and AMS_HOME".to_owned()))
            }
            CallError::Failed(failure) => {
                let offered = failure.data.as_ref().and_then(|d| d.offered_fingerprint.clone());
                let (hint, kind) = failure.data.map(|data| (data.hint, data.kind)).unzip();
                return Self { exit, message: Some(failure.message), hint, kind, offered };
            }
            CallError::Connect { .. } | CallError::Nonsense(_) => (error.to_string(), None),
        };
        Self { exit, message: Some(message), hint, kind, offered: None }
    }
}

/// Writing to stdout failed. Whoever read it and stopped needs no sentence.
impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { message: None, ..Self::new(Exit::Failed, "") };
        }
        Self::new(Exit::Failed, format!("cannot write to stdout: {error}"))
    }
}
