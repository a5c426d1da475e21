//! A client that speaks the relay's protocol as a daemon does, but whose envelopes are junk of the
//! right size: the relay cannot tell.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ams_crypto::dh::DhSecret;
use ams_crypto::introduction;
use ams_crypto::random;
use ams_link::handshake;
use ams_link::receiver::{Frame, Receiver};
use ams_link::sender::Sender;
use ams_wire::from_relay::{FromRelay, Outcome, RowState};
use ams_wire::id::{Blob, Handle, InviteToken, WorkMark};
use ams_wire::limits::PROTOCOL_VERSION;
use ams_wire::to_relay::{
    Approve, Ask, Attach, ClientHello, Fetched, JoinFinish, JoinStart, Send, Stored, ToRelay,
};
use ams_wire::username::Username;
use anyhow::{Context, Result, bail, ensure};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until};

use crate::load::Talk;
use crate::relay::Place;

const PATIENCE: Duration = Duration::from_secs(30);
/// As a daemon's: the word that envelopes are stored waits so long for more, or for so many.
const STORED_DELAY: Duration = Duration::from_millis(10);
const STORED_AT_ONCE: u64 = 16;
/// Source addresses, so that there are ports enough.
const SOURCES: u32 = 8;

/// Connects from one of several addresses of this machine.
pub(crate) async fn dial(to: SocketAddr, number: u32) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(number % SOURCES + 1)?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An account that a relay has.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) number: u32,
    name: Username,
    device: [u8; 32],
    /// For its one contact.
    handle: Handle,
    /// Counter of the work mark; the bytes beside it stay the same, which is allowed.
    mark: Arc<AtomicU64>,
}

impl Account {
    pub(crate) fn new(number: u32) -> Result<Self> {
        Ok(Self {
            number,
            name: Username::new(&format!("user-{number}"))?,
            device: random::bytes(),
            handle: Handle(random::bytes()),
            mark: Arc::new(AtomicU64::new(0)),
        })
    }

    fn mark(&self) -> WorkMark {
        WorkMark { counter: self.mark.load(Ordering::Relaxed), nonce: [7; 8] }
    }

    fn next_mark(&self) -> WorkMark {
        self.mark.fetch_add(1, Ordering::Relaxed);
        self.mark()
    }
}

/// A link of an account.
pub(crate) struct AmsLink {
    account: Account,
    sender: Sender<OwnedWriteHalf>,
    receiver: Receiver<OwnedReadHalf>,
    /// Came, and was not looked at.
    frames: VecDeque<Frame>,
    envelope: Vec<u8>,
    sent: u64,
    stored: u64,
    stored_told: u64,
    stored_due: Option<Instant>,
    /// Came since [`Talk::receive`] last said so.
    heard: bool,
    received: usize,
}

impl AmsLink {
    /// Connects and says hello.
    pub(crate) async fn hello(account: &Account, to: Place) -> Result<Self> {
        let stream = dial(to.at, account.number).await?;
        let device = DhSecret::from_bytes(&account.device);
        let link = handshake::connect(stream, &device, &to.key, PATIENCE).await?;
        let mut link = Self {
            account: account.clone(),
            sender: link.sender,
            receiver: link.receiver,
            frames: VecDeque::new(),
            envelope: Vec::new(),
            sent: 0,
            stored: 0,
            stored_told: 0,
            stored_due: None,
            heard: false,
            received: 0,
        };
        link.sender.push(&ToRelay::Hello(ClientHello { versions: vec![PROTOCOL_VERSION] }))?;
        Ok(link)
    }

    /// Connects as the account's device, and waits until all of its snapshot is there.
    pub(crate) async fn attach(account: &Account, to: Place, size: usize) -> Result<Self> {
        let mut link = Self::hello(account, to).await?;
        link.envelope = vec![0x5a; size];
        let attach = Attach { mark: account.mark(), visible: true };
        link.sender.push(&ToRelay::Attach(attach))?;
        link.wait(|frame| match frame {
            FromRelay::SnapshotEnd => Some(Ok(())),
            FromRelay::Refused | FromRelay::Cloned(_) | FromRelay::Bye(_) => {
                Some(Err(anyhow::anyhow!("attach: {frame:?}")))
            }
            _ => None,
        })
        .await??;
        Ok(link)
    }

    /// Registration, first step.
    pub(crate) async fn join(&mut self, token: InviteToken, request: [u8; 32]) -> Result<[u8; 64]> {
        self.sender.push(&ToRelay::JoinStart(JoinStart { token, request }))?;
        self.wait(|frame| match frame {
            FromRelay::JoinResponse(response) => Some(Ok(response)),
            FromRelay::Refused => Some(Err(anyhow::anyhow!("the invite was refused"))),
            _ => None,
        })
        .await?
    }

    /// Registration, second step.
    pub(crate) async fn finish_join(&mut self, upload: [u8; 192]) -> Result<()> {
        self.sender.push(&ToRelay::JoinFinish(JoinFinish { upload }))?;
        self.wait(|frame| match frame {
            FromRelay::Enrolled => Some(Ok(())),
            FromRelay::Refused => Some(Err(anyhow::anyhow!("the registration was refused"))),
            _ => None,
        })
        .await?
    }

    async fn control(&mut self, frame: &ToRelay<'_>) -> Result<()> {
        self.sender.push(frame)?;
        let done = |frame: FromRelay<'_>| match frame {
            FromRelay::Done(outcome) => Some(outcome),
            _ => None,
        };
        let outcome = self.wait(done).await?;
        ensure!(outcome == Outcome::Ok, "{frame:?}: {outcome:?}");
        Ok(())
    }

    /// Only answers pings, until the relay ends the link.
    pub(crate) async fn stay(mut self) -> Result<()> {
        loop {
            Talk::receive(&mut self).await?;
        }
    }

    /// Waits for the frame that `pick` wants.
    async fn wait<T>(&mut self, mut pick: impl FnMut(FromRelay<'_>) -> Option<T>) -> Result<T> {
        let wait = async {
            loop {
                while let Some(Frame { number, body }) = self.frames.pop_front() {
                    if let Some(frame) = FromRelay::decode(number, &body)?
                        && let Some(picked) = pick(frame)
                    {
                        return Ok(picked);
                    }
                }
                self.sender.flush().await?;
                self.frames.extend(self.receiver.receive().await?);
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("the relay does not answer")?
    }

    /// As a daemon does: nobody waits for this word.
    fn tell_stored(&mut self) -> Result<()> {
        self.stored_due = None;
        if self.stored > self.stored_told {
            self.stored_told = self.stored;
            let stored = Stored { count: self.stored, mark: self.account.next_mark() };
            self.sender.push(&ToRelay::Stored(stored))?;
        }
        Ok(())
    }

    /// Looks at what came.
    fn take(&mut self, frame: &Frame) -> Result<()> {
        match FromRelay::decode(frame.number, &frame.body)? {
            Some(FromRelay::Deliver(_)) => {
                self.received += 1;
                self.stored += 1;
            }
            Some(FromRelay::Ping) => self.sender.push(&ToRelay::Pong)?,
            Some(FromRelay::Failed(_)) => bail!("a message failed"),
            Some(FromRelay::Bye(why)) => bail!("the relay ended the link: {why:?}"),
            _ => {}
        }
        Ok(())
    }
}

impl Talk for AmsLink {
    async fn send(&mut self, messages: usize) -> Result<()> {
        for _ in 0..messages {
            self.sent += 1;
            // Ids look random, as nonces do, and never come twice.
            let id = self.sent.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mark = self.account.next_mark();
            let id = id.to_ne_bytes().into_iter().chain(mark.counter.to_ne_bytes());
            for (byte, id) in self.envelope.iter_mut().zip(id) {
                *byte = id;
            }
            let send = Send { handle: self.account.handle, ttl: 0, mark, envelope: &self.envelope };
            self.sender.push(&ToRelay::Send(send))?;
        }
        self.sender.flush().await?;
        Ok(())
    }

    async fn receive(&mut self) -> Result<usize> {
        loop {
            self.sender.flush().await?;
            if std::mem::take(&mut self.heard) {
                return Ok(std::mem::take(&mut self.received));
            }
            if self.frames.is_empty() {
                let due = self.stored_due.unwrap_or_else(|| Instant::now() + PATIENCE);
                tokio::select! {
                    batch = self.receiver.receive() => self.frames.extend(batch?),
                    () = sleep_until(due) => {
                        self.tell_stored()?;
                        continue;
                    }
                }
            }
            while let Some(frame) = self.frames.pop_front() {
                self.take(&frame)?;
            }
            self.heard = true;
            if self.stored - self.stored_told >= STORED_AT_ONCE {
                self.tell_stored()?;
            } else if self.stored > self.stored_told && self.stored_due.is_none() {
                self.stored_due = Some(Instant::now() + STORED_DELAY);
            }
        }
    }

    async fn finish(mut self) -> Result<()> {
        self.sender.push(&ToRelay::Bye)?;
        self.sender.flush().await?;
        // Closed with something unread, the stream would be reset, and what was written before
        // perhaps not read.
        while self.receiver.receive().await.is_ok() {}
        Ok(())
    }
}

/// Makes contacts of two accounts, as two daemons would.
pub(crate) async fn meet(one: &Account, two: &Account, place: Place) -> Result<()> {
    let blob = || Blob::new(vec![0x5a; 2500]).context("blob");
    let mut asks = AmsLink::attach(one, place, 0).await?;
    let mut answers = AmsLink::attach(two, place, 0).await?;
    let ask = Ask { handle: one.handle, to: two.name.clone(), intro: blob()? };
    asks.control(&ToRelay::Ask(ask)).await?;
    let request = |frame: FromRelay<'_>| match frame {
        FromRelay::Request(request) if request.from == one.name => Some(request),
        _ => None,
    };
    let request = answers.wait(request).await.context("no request came")?;
    let approve = Approve {
        by: None,
        to: request.from,
        their_handle: request.their_handle,
        handle: two.handle,
        approval: blob()?,
        intro: introduction::id(request.intro.as_bytes()),
    };
    answers.control(&ToRelay::Approve(approve)).await?;
    let approved = |frame: FromRelay<'_>| match frame {
        FromRelay::Row(row) => (row.state == RowState::Accepted).then_some(()),
        _ => None,
    };
    asks.wait(approved).await.context("no approval came")?;
    let approval = introduction::approval_id(blob()?.as_bytes());
    asks.control(&ToRelay::Fetched(Fetched { handle: one.handle, approval })).await?;
    asks.finish().await?;
    answers.finish().await
}
