//! A link whose client is not known yet: registers, logs in, or attaches as a device.

use std::sync::Arc;
use std::time::Duration;

use ams_crypto::opaque::{self, RelayLogin};
use ams_crypto::token::Token;
use ams_link::receiver::{Batch, Frame, ReceiveError, Weight};
use ams_link::{Link, Receiver, Sender, Stream};
use ams_wire::from_relay::{Bye, FromRelay, RelayHello};
use ams_wire::id::Key;
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_relay::{ClientHello, JoinStart, LoginStart, ToRelay};
use ams_wire::username::Username;
use tokio::time::{Instant, timeout_at};

use super::door::{Offence, Ticket};
use super::{Admitted, Closed, Gate, Passed};
use crate::accounts::{Enrolled, Pending};
use crate::config::Registration;

/// Frames of a guest, where a record without any counts for one. A registration or login needs four;
/// pings would else cost a stranger nothing and the relay its time.
const MAX_FRAMES: u32 = 64;
/// Bytes of a guest, with padding. A registration or login needs less than 4 KiB.
const MAX_BYTES: u32 = 64 * 1024;

/// For telling a guest that it was enrolled, and for its goodbye.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// A link whose client is not known yet.
pub(crate) struct Guest<S: Stream> {
    // Set once.
    gate: Arc<Gate>,
    ticket: Ticket,
    handshake_hash: [u8; 32],
    key: Key,
    /// All has to be over by then.
    until: Instant,
    // Owned by `next`.
    tx: Sender<S::Write>,
    rx: Receiver<S::Read>,
    waiting: Option<Batch>,
    frames: u32,
    bytes: u32,
    stage: Stage,
}

/// How far it has come.
enum Stage {
    /// It has said nothing.
    New,
    /// It has said which versions it speaks.
    Greeted,
    /// It has shown a good invite.
    Joining(ams_crypto::token::TokenHash),
    /// It has said a name.
    LoggingIn(Username, Box<RelayLogin>),
    /// It was enrolled or not, and has to be told.
    Owed(bool),
}

impl<S: Stream> Guest<S> {
    pub(super) fn new(gate: Arc<Gate>, link: Link<S>, ticket: Ticket, until: Instant) -> Self {
        Self {
            gate,
            ticket,
            handshake_hash: link.handshake_hash,
            key: Key(*link.remote.as_bytes()),
            until,
            tx: link.sender,
            rx: link.receiver,
            waiting: None,
            frames: 0,
            bytes: 0,
            stage: Stage::New,
        }
    }

    /// Answers until somebody comes through or goes. Whoever goes was told what there is to tell.
    pub(crate) async fn next(mut self: Box<Self>) -> Result<Passed<S>, Closed> {
        let until = self.until;
        let outcome = match timeout_at(until, self.answer()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Closed::Late),
        };
        match outcome {
            Ok(Step::Proved(enrolling)) => Ok(Passed::Proved { enrolling, guest: self }),
            Ok(Step::Admitted(attach, found)) => {
                let (device, snapshot) = *found;
                let Self { handshake_hash, key, tx, mut rx, waiting, ticket, .. } = *self;
                rx.bound(None);
                Ok(Passed::Admitted(Box::new(Admitted {
                    tx,
                    rx,
                    handshake_hash,
                    key,
                    attach,
                    device,
                    snapshot,
                    rest: waiting,
                    ticket,
                })))
            }
            Err(closed) => {
                match closed {
                    Closed::Refused => self.ticket.charge(Offence::Refused),
                    Closed::Late => self.ticket.charge(Offence::Late),
                    Closed::Protocol => self.ticket.charge(Offence::Protocol),
                    _ => {}
                }
                Err(closed)
            }
        }
    }

    /// What came of enrolling it.
    pub(crate) fn enrolled(&mut self, is_enrolled: bool) {
        self.stage = Stage::Owed(is_enrolled);
        // That took the store's time, not its own.
        let least = Instant::now().checked_add(ANSWER_TIME);
        self.until = least.map_or(self.until, |least| self.until.max(least));
    }

    async fn answer(&mut self) -> Result<Step, Closed> {
        if let Stage::Owed(is_enrolled) = self.stage {
            if !is_enrolled {
                return Err(self.refuse().await);
            }
            self.gate.tick().await;
            self.say(&FromRelay::Enrolled)?;
            self.stage = Stage::Greeted;
        }
        loop {
            while let Some(frame) = self.waiting.as_mut().and_then(Iterator::next) {
                if let Some(step) = self.take_frame(&frame).await? {
                    return Ok(step);
                }
            }
            self.tx.flush().await.map_err(|_| Closed::Left)?;
            let mut batch = self.rx.receive().await.map_err(|error| match error {
                ReceiveError::Cut | ReceiveError::Io(_) => Closed::Left,
                ReceiveError::Rejected | ReceiveError::Malformed => Closed::Protocol,
            })?;
            let Weight { bytes, empty_records } = batch.weigh();
            self.bytes = self.bytes.saturating_add(bytes);
            if self.bytes > MAX_BYTES {
                return Err(Closed::Protocol);
            }
            self.count(empty_records)?;
            self.waiting = Some(batch);
        }
    }

    async fn take_frame(&mut self, frame: &Frame) -> Result<Option<Step>, Closed> {
        self.count(1)?;
        let decoded = ToRelay::decode(frame.number, &frame.body).map_err(|_| Closed::Protocol)?;
        // A type of a later version is skipped.
        let Some(frame) = decoded else { return Ok(None) };
        let stage = std::mem::replace(&mut self.stage, Stage::Greeted);
        match (stage, frame) {
            (Stage::New, ToRelay::Hello(hello)) => self.greet(&hello).await?,
            (Stage::New, _) => return Err(Closed::Protocol),
            (stage, ToRelay::Ping) => {
                self.stage = stage;
                self.say(&FromRelay::Pong)?;
            }
            (stage, ToRelay::Pong) => self.stage = stage,
            (_, ToRelay::Bye) => return Err(Closed::Left),
            (Stage::Greeted, ToRelay::JoinStart(start)) => self.join_start(start).await?,
            (Stage::Joining(token), ToRelay::JoinFinish(finish)) => {
                return self.join_finish(token, finish.upload).await.map(Some);
            }
            (Stage::Greeted, ToRelay::LoginStart(start)) => self.login_start(start).await?,
            (Stage::LoggingIn(name, login), ToRelay::LoginFinish(finish)) => {
                return self.login_finish(&name, *login, finish.ke3).await.map(Some);
            }
            (Stage::Greeted, ToRelay::Attach(attach)) => {
                let gate = &self.gate;
                let most = usize::try_from(gate.limits.requests_shown).unwrap_or(usize::MAX);
                let found = gate.accounts.attach(self.key, gate.clock.now(), most).await?;
                return match found {
                    Some(found) => Ok(Some(Step::Admitted(attach, Box::new(found)))),
                    None => Err(self.refuse().await),
                };
            }
            _ => return Err(Closed::Protocol),
        }
        Ok(None)
    }

    fn count(&mut self, frames: u32) -> Result<(), Closed> {
        self.frames = self.frames.saturating_add(frames);
        if self.frames > MAX_FRAMES { Err(Closed::Protocol) } else { Ok(()) }
    }

    async fn greet(&mut self, hello: &ClientHello) -> Result<(), Closed> {
        if !hello.versions.contains(&PROTOCOL_VERSION) {
            self.say(&FromRelay::Bye(Bye::Version))?;
            self.tx.flush().await.map_err(|_| Closed::Left)?;
            return Err(Closed::Left);
        }
        let window = self.gate.window;
        self.say(&FromRelay::Hello(RelayHello { version: PROTOCOL_VERSION, window }))
    }

    async fn join_start(&mut self, start: JoinStart) -> Result<(), Closed> {
        if !self.may_try() {
            return Err(self.refuse().await);
        }
        let gate = Arc::clone(&self.gate);
        let token = Token::from_bytes(start.token.0).hash();
        let invited = gate.accounts.invite(token, self.key, gate.clock.now()).await?;
        let is_closed = gate.registration == Registration::Closed;
        let name = invited.filter(|invited| invited.exists || !is_closed).map(|found| found.name);
        let response = name.and_then(|name| gate.opaque.register(&name, &start.request).ok());
        let Some(response) = response else { return Err(self.refuse().await) };
        self.stage = Stage::Joining(token);
        gate.tick().await;
        self.say(&FromRelay::JoinResponse(response))
    }

    async fn join_finish(
        &mut self,
        token: ams_crypto::token::TokenHash,
        upload: [u8; 192],
    ) -> Result<Step, Closed> {
        if opaque::check_record(&upload).is_err() {
            return Err(self.refuse().await);
        }
        let gate = &self.gate;
        let (now, most) = (gate.clock.now(), gate.limits.accounts);
        Ok(Step::Proved(gate.accounts.join(token, self.key, upload, now, most)))
    }

    async fn login_start(&mut self, start: LoginStart) -> Result<(), Closed> {
        let gate = Arc::clone(&self.gate);
        let now = Instant::now();
        // Both are counted for every name alike.
        let may_try = self.may_try();
        let before = gate.tries.take_counted(&start.user, now).filter(|_| may_try);
        let Some(before) = before else { return Err(self.refuse().await) };
        tokio::time::sleep(gate.patience(before)).await;
        let record = gate.accounts.record(&start.user).await?;
        let hash = &self.handshake_hash;
        let opened = gate.opaque.login(&start.user, record.as_ref(), &start.ke1, hash);
        let Ok((login, ke2)) = opened else { return Err(self.refuse().await) };
        self.stage = Stage::LoggingIn(start.user, Box::new(login));
        gate.tick().await;
        self.say(&FromRelay::LoginResponse(Box::new(ke2)))
    }

    async fn login_finish(
        &mut self,
        name: &Username,
        login: RelayLogin,
        ke3: [u8; 64],
    ) -> Result<Step, Closed> {
        match login.finish(&ke3) {
            Ok(()) => Ok(Step::Proved(self.gate.accounts.enrol(name, self.key))),
            Err(_) => Err(self.refuse().await),
        }
    }

    fn may_try(&self) -> bool {
        self.ticket.is_exempt()
            || self.gate.source_tries.take(&self.ticket.source(), Instant::now())
    }

    /// The one answer to everything that fails here.
    async fn refuse(&mut self) -> Closed {
        self.gate.tick().await;
        if self.say(&FromRelay::Refused).is_err() || self.tx.flush().await.is_err() {
            return Closed::Left;
        }
        Closed::Refused
    }

    fn say(&mut self, frame: &FromRelay<'_>) -> Result<(), Closed> {
        self.tx.push(frame).map_err(|_| Closed::Protocol)
    }
}

enum Step {
    Proved(Pending<Option<Enrolled>>),
    Admitted(ams_wire::to_relay::Attach, Box<(crate::accounts::Device, crate::accounts::Snapshot)>),
}
