//! What a daemon says to another one on a direct link. Both ends say the same things: who dialled
//! makes no difference once the link is there.

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::frame::{self, FrameType, WireError};
use crate::id::{Blob, IntroId};
use crate::limits::MAX_VERSIONS;
use crate::to_relay::{empty, sized_envelope};

/// One frame to a peer, borrowing what is large from the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToPeer<'a> {
    /// `0x01` First frame each way: CBOR [`PeerHello`].
    Hello(PeerHello),
    /// `0x02` Asks for a `Pong`: empty.
    Ping,
    /// `0x03` Answers a `Ping`: empty.
    Pong,
    /// `0x04` The link ends on purpose: empty.
    Bye,
    /// `0x60` An introduction, as [`crate::intro::Signed`] encodes it. Answered by `Noted` once it is
    /// kept, and by nothing if it is not.
    Introduce(Blob),
    /// `0x61` An introduction is kept: its SHA-256, 32 bytes.
    Noted(IntroId),
    /// `0x62` A sealed approval. Answered by `Opened` once that is on disk.
    Approval(Blob),
    /// `0x63` An approval is done with: its SHA-256, 32 bytes.
    Opened(IntroId),
    /// `0x64` What each side owes is said: a bare envelope with its receipt state, or empty where the
    /// two have no keys yet. Envelopes follow.
    Settled(Option<&'a [u8]>),
    /// `0x65` An envelope.
    Envelope(&'a [u8]),
    /// `0x66` How many `Envelope`s of this link were handled: `count u64`.
    Handled(u64),
}

/// Versions, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PeerHello {
    /// Protocol versions that the daemon speaks, best first. The link's is the highest that both
    /// name.
    #[n(0)]
    pub versions: Vec<u16>,
}

impl<'a> ToPeer<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// [`WireError::TooLong`]; `out` is then as before.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        use FrameType as T;
        let bytes = |out: &mut Vec<u8>, number, bytes: &[u8]| {
            frame::write(out, number, |o| o.extend_from_slice(bytes))
        };
        match self {
            Self::Hello(body) => frame::write(out, T::Hello, |o| cbor::encode(body, o)),
            Self::Ping => bytes(out, T::Ping, &[]),
            Self::Pong => bytes(out, T::Pong, &[]),
            Self::Bye => bytes(out, T::Bye, &[]),
            Self::Introduce(intro) => bytes(out, T::Introduce, intro.as_bytes()),
            Self::Noted(id) => bytes(out, T::Noted, &id.0),
            Self::Approval(approval) => bytes(out, T::Approval, approval.as_bytes()),
            Self::Opened(id) => bytes(out, T::Opened, &id.0),
            Self::Settled(receipt) => bytes(out, T::Settled, receipt.unwrap_or_default()),
            Self::Envelope(envelope) => bytes(out, T::Envelope, envelope),
            Self::Handled(count) => bytes(out, T::Handled, &count.to_be_bytes()),
        }
    }

    /// Reads the body of a frame; `None` for a type that this version does not know, which is
    /// skipped.
    ///
    /// # Errors
    /// [`WireError`] when the body is not one of its type.
    pub fn decode(number: u8, body: &'a [u8]) -> Result<Option<Self>, WireError> {
        use FrameType as T;
        Ok(Some(match number {
            n if n == T::Hello as u8 => Self::Hello(PeerHello::decode_body(body)?),
            n if n == T::Ping as u8 => empty(body, Self::Ping)?,
            n if n == T::Pong as u8 => empty(body, Self::Pong)?,
            n if n == T::Bye as u8 => empty(body, Self::Bye)?,
            n if n == T::Introduce as u8 => Self::Introduce(blob(body)?),
            n if n == T::Noted as u8 => Self::Noted(hash(body)?),
            n if n == T::Approval as u8 => Self::Approval(blob(body)?),
            n if n == T::Opened as u8 => Self::Opened(hash(body)?),
            n if n == T::Settled as u8 && body.is_empty() => Self::Settled(None),
            n if n == T::Settled as u8 => Self::Settled(Some(sized_envelope(body)?)),
            n if n == T::Envelope as u8 => Self::Envelope(sized_envelope(body)?),
            n if n == T::Handled as u8 => {
                let count = body.try_into().map_err(|_| WireError::Malformed)?;
                Self::Handled(u64::from_be_bytes(count))
            }
            _ => return Ok(None),
        }))
    }
}

impl PeerHello {
    fn decode_body(body: &[u8]) -> Result<Self, WireError> {
        let hello: Self = cbor::decode(body)?;
        if hello.versions.len() > MAX_VERSIONS { Err(WireError::TooLong) } else { Ok(hello) }
    }
}

fn hash(body: &[u8]) -> Result<IntroId, WireError> {
    body.try_into().map(IntroId).map_err(|_| WireError::Malformed)
}

fn blob(body: &[u8]) -> Result<Blob, WireError> {
    if body.len() > crate::limits::MAX_BLOB {
        return Err(WireError::TooLong);
    }
    Blob::new(body.to_vec()).ok_or(WireError::TooLong)
}
