//! From a fresh stream to a [`Link`].
//!
//! Dialling: [`connect`]. Accepting: [`greet`] reads the pattern byte and the first message, of a
//! size that the pattern fixes, without any cryptography. [`Greeting::answer`], [`Answer::exchange`]
//! and [`Answered::finish`] do the rest; they are apart so that the caller can let strangers take
//! turns at computing and need not wait for any of them within its turn.

use std::io;
use std::time::Duration;

use ams_crypto::dh::{DhPublic, DhSecret};
use ams_crypto::noise::{NoiseError, Pattern, Transport, XK, XkInitiator, XkResponder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::stream::{Stream, is_cut};

/// Both halves of a link, and who is at the other end.
#[derive(Debug)]
pub struct Link<S: Stream> {
    /// Writes frames.
    pub sender: Sender<S::Write>,
    /// Reads frames.
    pub receiver: Receiver<S::Read>,
    /// The static key that the other side proved to hold.
    pub remote: DhPublic,
    /// Names this link for both sides alike; a login is bound to it.
    pub handshake_hash: [u8; 32],
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The time that the caller gave was over.
    #[error("the other side did not answer in time")]
    TimedOut,
    /// The other side closed the stream, as a relay does to whoever does not know its key.
    #[error("the other side closed the connection during the handshake")]
    Closed,
    /// The other side does not hold the expected key, or somebody changed bytes.
    #[error("the other side does not hold the expected key")]
    Rejected(#[from] NoiseError),
    /// The first byte is no pattern that is answered here.
    #[error("not an AMS link")]
    UnknownPattern,
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

impl HandshakeError {
    /// Whether this is what dialling the wrong relay, or one whose key changed, looks like.
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::Closed | Self::Rejected(_))
    }
}

/// Dials: pattern `XK`, to the relay that holds `relay`, within `limit`.
///
/// # Errors
/// [`HandshakeError`].
pub async fn connect<S: Stream>(
    mut stream: S,
    local: &DhSecret,
    relay: &DhPublic,
    limit: Duration,
) -> Result<Link<S>, HandshakeError> {
    within(limit, async {
        let (handshake, first) = XkInitiator::start(local, relay)?;
        let mut hello = [0; 1 + XK.0];
        let (pattern, message) = hello.split_at_mut(1);
        pattern.copy_from_slice(&[Pattern::Xk.byte()]);
        message.copy_from_slice(&first);
        stream.write_all(&hello).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let (transport, third) = handshake.finish(&read(&mut stream).await?)?;
        stream.write_all(&third).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        Ok(Link::new(stream, transport))
    })
    .await
}

/// Accepts, all steps; see [`greet`].
///
/// # Errors
/// [`HandshakeError`].
pub async fn accept<S: Stream>(
    stream: S,
    local: &DhSecret,
    limit: Duration,
) -> Result<Link<S>, HandshakeError> {
    within(limit, async { greet(stream, limit).await?.answer(local)?.exchange().await?.finish() })
        .await
}

/// A stranger's first message.
#[derive(Debug)]
pub struct Greeting<S> {
    stream: S,
    message: [u8; XK.0],
}

/// Accepts, first step: reads 49 bytes, checks the first, within `limit`. Sends nothing.
///
/// # Errors
/// [`HandshakeError`].
pub async fn greet<S: Stream>(
    mut stream: S,
    limit: Duration,
) -> Result<Greeting<S>, HandshakeError> {
    within(limit, async {
        let [pattern] = read(&mut stream).await?;
        match Pattern::from_byte(pattern) {
            Some(Pattern::Xk) => {
                let message = read(&mut stream).await?;
                Ok(Greeting { stream, message })
            }
            _ => Err(HandshakeError::UnknownPattern),
        }
    })
    .await
}

impl<S: Stream> Greeting<S> {
    /// Accepts, second step: computes the answer, two key agreements. Sends nothing.
    ///
    /// # Errors
    /// [`HandshakeError::Rejected`]; the stream is closed then without a byte.
    pub fn answer(self, local: &DhSecret) -> Result<Answer<S>, HandshakeError> {
        let (handshake, second) = XkResponder::start(local, &self.message)?;
        Ok(Answer { stream: self.stream, handshake, second })
    }
}

/// The answer to a stranger's first message.
#[derive(Debug)]
pub struct Answer<S> {
    stream: S,
    handshake: XkResponder,
    second: [u8; XK.1],
}

impl<S: Stream> Answer<S> {
    /// Accepts, third step: sends the answer and reads what the stranger says to it. Computes
    /// nothing. The caller bounds the time.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn exchange(self) -> Result<Answered<S>, HandshakeError> {
        let Self { mut stream, handshake, second } = self;
        stream.write_all(&second).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let third = read(&mut stream).await?;
        Ok(Answered { stream, handshake, third })
    }
}

/// A stranger's last message.
#[derive(Debug)]
pub struct Answered<S> {
    stream: S,
    handshake: XkResponder,
    third: [u8; XK.2],
}

impl<S: Stream> Answered<S> {
    /// Accepts, last step: computes whether the stranger holds its key, one key agreement. The key
    /// is [`Link::remote`].
    ///
    /// # Errors
    /// [`HandshakeError::Rejected`].
    pub fn finish(self) -> Result<Link<S>, HandshakeError> {
        let transport = self.handshake.finish(&self.third)?;
        Ok(Link::new(self.stream, transport))
    }
}

impl<S: Stream> Link<S> {
    pub(crate) fn new(stream: S, transport: Transport) -> Self {
        let (read, write) = stream.split();
        let Transport { sealer, opener, remote, handshake_hash } = transport;
        Self {
            sender: Sender::new(write, sealer),
            receiver: Receiver::new(read, opener),
            remote,
            handshake_hash,
        }
    }
}

pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    timeout(limit, work).await.unwrap_or(Err(HandshakeError::TimedOut))
}

pub(crate) async fn read<const N: usize>(
    stream: &mut impl Stream,
) -> Result<[u8; N], HandshakeError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}

pub(crate) fn failed(error: io::Error) -> HandshakeError {
    if is_cut(&error) { HandshakeError::Closed } else { HandshakeError::Io(error) }
}
