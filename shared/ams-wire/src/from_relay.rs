//! What a relay says to a daemon. Nothing here tells whether a name exists: the answers to `Ask`,
//! `Send` and a failed login are the same for all names.

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::frame::{self, FrameType, WireError};
use crate::id::{Blob, EnvelopeId, Handle, RoutingId};
use crate::limits::MAX_PRESENCE_ENTRIES;
use crate::to_relay::{empty, sized_envelope};
use crate::username::Username;

/// One frame from a relay, borrowing what is large from the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromRelay<'a> {
    /// `0x01` First frame: CBOR [`RelayHello`].
    Hello(RelayHello),
    /// `0x02` Asks for a `Pong`: empty.
    Ping,
    /// `0x03` Answers a `Ping`: empty.
    Pong,
    /// `0x04` The link ends on purpose: one byte, a [`Bye`].
    Bye(Bye),
    /// `0x11` Answers `JoinStart`: OPAQUE `RegistrationResponse`, 64 bytes.
    JoinResponse([u8; 64]),
    /// `0x14` Answers `LoginStart`: OPAQUE `KE2`, 320 bytes.
    LoginResponse(Box<[u8; 320]>),
    /// `0x16` Answers `JoinFinish` and `LoginFinish`: this link's key is the account's device.
    Enrolled,
    /// `0x17` The one answer to everything that failed before `Attach`; the link then ends.
    Refused,
    /// `0x21` Answers `Attach`; the snapshot follows. Empty.
    Attached,
    /// `0x22` CBOR [`Row`]: in the snapshot, and again when a row changed.
    Row(Row),
    /// `0x23` CBOR [`Request`]: in the snapshot, and when a new one comes.
    Request(Request),
    /// `0x24` The snapshot is complete: empty.
    SnapshotEnd,
    /// `0x25` Answers `Attach` of an old copy or a clone: the newest counter, u64. The link ends.
    Cloned(u64),
    /// `0x26` CBOR [`Redeemed`]: after `Await`, and when a new one comes.
    Redeemed(Redeemed),
    /// `0x31` An envelope: `handle 16 ‖ envelope`.
    Deliver(Deliver<'a>),
    /// `0x32` How many `Send`s of this link were taken: u64.
    Accepted(u64),
    /// `0x34` Trying ended, the same for every cause: envelope id 16.
    Failed(EnvelopeId),
    /// `0x49` Answers `PasswordStart`: CBOR [`PasswordResponse`].
    PasswordResponse(Box<PasswordResponse>),
    /// `0x4c` Answers one control frame, in the order in which they came: one byte, an [`Outcome`].
    Done(Outcome),
    /// `0x4d` CBOR [`Presence`].
    Presence(Presence),
}

/// The version that both speak, and what the client must know of this relay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RelayHello {
    /// Chosen from the client's.
    #[n(0)]
    pub version: u16,
    /// Seconds that the relay tries to deliver before it says `Failed`.
    #[n(1)]
    pub window: u32,
}

/// Why a relay ends a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bye {
    /// The relay stops or restarts: come again after a pause.
    Draining = 0,
    /// Another device was enrolled on this account, or it is gone.
    Replaced = 1,
    /// The account has a newer link.
    Superseded = 2,
    /// No version in common.
    Version = 3,
}

/// What became of a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Done, or was so already.
    Ok = 0,
    /// Too many of these from this account: try again later.
    Limited = 1,
    /// Not possible: wrong password, or a row that is not there.
    Refused = 2,
}

/// Where a contact row stands, as its owner may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RowState {
    /// Asked, and no answer: for whatever reason.
    #[n(0)]
    Asked,
    /// Approved by both.
    #[n(1)]
    Accepted,
    /// Blocked by the owner.
    #[n(2)]
    Blocked,
}

/// One contact row of the account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Row {
    /// The owner's handle.
    #[n(0)]
    pub handle: Handle,
    /// The contact's name; the account's own while it asks by a contact link, since nobody knows yet
    /// whom.
    #[n(1)]
    pub peer: Username,
    /// Where it stands.
    #[n(2)]
    pub state: RowState,
    /// A sealed approval that was not fetched yet.
    #[n(3)]
    pub approval: Option<Blob>,
}

/// Somebody's introduction: a new request, or a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// Who asks.
    #[n(0)]
    pub from: Username,
    /// The asker's handle, to be named in the answer.
    #[n(1)]
    pub their_handle: Handle,
    /// The introduction, as [`crate::intro::Signed`] encodes it.
    #[n(2)]
    pub intro: Blob,
}

/// Somebody's introduction by a contact link that this account waits on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Redeemed {
    /// Who redeems it.
    #[n(0)]
    pub from: Username,
    /// The redeemer's handle, to be named in the answer.
    #[n(1)]
    pub their_handle: Handle,
    /// The contact link.
    #[n(2)]
    pub by: RoutingId,
    /// The introduction, sealed to the link.
    #[n(3)]
    pub intro: Blob,
}

/// An envelope from somebody that a handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// The recipient's own handle for the sender.
    pub handle: Handle,
    /// The envelope as it was sent.
    pub envelope: &'a [u8],
}

/// Change of password: login and registration in one answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PasswordResponse {
    /// OPAQUE `KE2` for the old password.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub ke2: [u8; 320],
    /// OPAQUE `RegistrationResponse` for the new one.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub response: [u8; 64],
}

/// Who is online, of those whose rows are accepted on both sides. Who is not named is as before;
/// at the start of a link everybody is offline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Presence {
    /// Handles that are online now.
    #[n(0)]
    pub online: Vec<Handle>,
    /// Handles that are offline now.
    #[n(1)]
    pub offline: Vec<Handle>,
}

impl<'a> FromRelay<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// [`WireError::TooLong`]; `out` is then as before.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        use FrameType as T;
        match self {
            Self::Hello(body) => frame::write(out, T::Hello, |o| cbor::encode(body, o)),
            Self::Ping => frame::write(out, T::Ping, |_| ()),
            Self::Pong => frame::write(out, T::Pong, |_| ()),
            Self::Bye(reason) => frame::write(out, T::Bye, |o| o.push(*reason as u8)),
            Self::JoinResponse(body) => {
                frame::write(out, T::JoinResponse, |o| o.extend_from_slice(body))
            }
            Self::LoginResponse(body) => {
                frame::write(out, T::LoginResponse, |o| o.extend_from_slice(body.as_slice()))
            }
            Self::Enrolled => frame::write(out, T::Enrolled, |_| ()),
            Self::Refused => frame::write(out, T::Refused, |_| ()),
            Self::Attached => frame::write(out, T::Attached, |_| ()),
            Self::Row(body) => frame::write(out, T::Row, |o| cbor::encode(body, o)),
            Self::Request(body) => frame::write(out, T::Request, |o| cbor::encode(body, o)),
            Self::Redeemed(body) => frame::write(out, T::Redeemed, |o| cbor::encode(body, o)),
            Self::SnapshotEnd => frame::write(out, T::SnapshotEnd, |_| ()),
            Self::Cloned(counter) => {
                frame::write(out, T::Cloned, |o| o.extend_from_slice(&counter.to_be_bytes()))
            }
            Self::Deliver(deliver) => frame::write(out, T::Deliver, |o| {
                o.extend_from_slice(&deliver.handle.0);
                o.extend_from_slice(deliver.envelope);
            }),
            Self::Accepted(count) => {
                frame::write(out, T::Accepted, |o| o.extend_from_slice(&count.to_be_bytes()))
            }
            Self::Failed(id) => frame::write(out, T::Failed, |o| o.extend_from_slice(&id.0)),
            Self::PasswordResponse(body) => {
                frame::write(out, T::PasswordResponse, |o| cbor::encode(&**body, o))
            }
            Self::Done(outcome) => frame::write(out, T::Done, |o| o.push(*outcome as u8)),
            Self::Presence(body) => frame::write(out, T::Presence, |o| cbor::encode(body, o)),
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
            n if n == T::Hello as u8 => Self::Hello(cbor::decode(body)?),
            n if n == T::Ping as u8 => empty(body, Self::Ping)?,
            n if n == T::Pong as u8 => empty(body, Self::Pong)?,
            n if n == T::Bye as u8 => Self::Bye(Bye::read(body)?),
            n if n == T::JoinResponse as u8 => Self::JoinResponse(*exact(body)?),
            n if n == T::LoginResponse as u8 => Self::LoginResponse(Box::new(*exact(body)?)),
            n if n == T::Enrolled as u8 => empty(body, Self::Enrolled)?,
            n if n == T::Refused as u8 => empty(body, Self::Refused)?,
            n if n == T::Attached as u8 => empty(body, Self::Attached)?,
            n if n == T::Row as u8 => Self::Row(cbor::decode(body)?),
            n if n == T::Request as u8 => Self::Request(cbor::decode(body)?),
            n if n == T::Redeemed as u8 => Self::Redeemed(cbor::decode(body)?),
            n if n == T::SnapshotEnd as u8 => empty(body, Self::SnapshotEnd)?,
            n if n == T::Cloned as u8 => Self::Cloned(u64::from_be_bytes(*exact(body)?)),
            n if n == T::Deliver as u8 => {
                let (handle, envelope) = body.split_first_chunk().ok_or(WireError::Malformed)?;
                Self::Deliver(Deliver {
                    handle: Handle(*handle),
                    envelope: sized_envelope(envelope)?,
                })
            }
            n if n == T::Accepted as u8 => Self::Accepted(u64::from_be_bytes(*exact(body)?)),
            n if n == T::Failed as u8 => Self::Failed(EnvelopeId(*exact(body)?)),
            n if n == T::PasswordResponse as u8 => {
                Self::PasswordResponse(Box::new(cbor::decode(body)?))
            }
            n if n == T::Done as u8 => Self::Done(Outcome::read(body)?),
            n if n == T::Presence as u8 => Self::Presence(Presence::read(body)?),
            _ => return Ok(None),
        }))
    }
}

impl Bye {
    fn read(body: &[u8]) -> Result<Self, WireError> {
        match body {
            [0] => Ok(Self::Draining),
            [1] => Ok(Self::Replaced),
            [2] => Ok(Self::Superseded),
            [3] => Ok(Self::Version),
            _ => Err(WireError::Malformed),
        }
    }
}

impl Outcome {
    fn read(body: &[u8]) -> Result<Self, WireError> {
        match body {
            [0] => Ok(Self::Ok),
            [1] => Ok(Self::Limited),
            [2] => Ok(Self::Refused),
            _ => Err(WireError::Malformed),
        }
    }
}

impl Presence {
    fn read(body: &[u8]) -> Result<Self, WireError> {
        let presence: Self = cbor::decode(body)?;
        let entries = presence.online.len().saturating_add(presence.offline.len());
        if entries > MAX_PRESENCE_ENTRIES { Err(WireError::TooLong) } else { Ok(presence) }
    }
}

fn exact<const N: usize>(body: &[u8]) -> Result<&[u8; N], WireError> {
    body.try_into().map_err(|_| WireError::Malformed)
}
