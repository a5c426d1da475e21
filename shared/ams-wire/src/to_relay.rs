//! What a daemon says to a relay. Control frames are CBOR maps with integer keys; the two frames
//! that every message costs, `Send` and `Stored`, have a fixed layout.

use minicbor::{Decode, Encode};

use crate::cbor;
use crate::frame::{self, FrameType, WireError};
use crate::id::{ApprovalId, Blob, Handle, IntroId, InviteToken, RoutingId, WorkMark};
use crate::limits::{MAX_CONTACT_LINKS, MAX_ENVELOPE, MAX_VERSIONS, MIN_ENVELOPE};
use crate::pad;
use crate::username::Username;

/// One frame to a relay, borrowing what is large from the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToRelay<'a> {
    /// `0x01` First frame: CBOR [`ClientHello`].
    Hello(ClientHello),
    /// `0x02` Asks for a `Pong`: empty.
    Ping,
    /// `0x03` Answers a `Ping`: empty.
    Pong,
    /// `0x04` The link ends on purpose: empty.
    Bye,
    /// `0x10` Before `Attach`: CBOR [`JoinStart`].
    JoinStart(JoinStart),
    /// `0x12` Before `Attach`: CBOR [`JoinFinish`].
    JoinFinish(JoinFinish),
    /// `0x13` Before `Attach`: CBOR [`LoginStart`].
    LoginStart(LoginStart),
    /// `0x15` Before `Attach`: CBOR [`LoginFinish`].
    LoginFinish(LoginFinish),
    /// `0x20` Go online as the device that this link's key is: CBOR [`Attach`].
    Attach(Attach),
    /// `0x30` An envelope: `handle 16 ‖ ttl u32 seconds ‖ work mark 16 ‖ envelope`.
    Send(Send<'a>),
    /// `0x33` `count u64 ‖ work mark 16`.
    Stored(Stored),
    /// `0x40` CBOR [`Ask`]. Answered by `Done`.
    Ask(Ask),
    /// `0x41` CBOR [`Approve`]. Answered by `Done`.
    Approve(Approve),
    /// `0x42` CBOR [`Refuse`]. Answered by `Done`.
    Refuse(Refuse),
    /// `0x43` The row's handle, 16 bytes. Answered by `Done`.
    Block(Handle),
    /// `0x44` The row's handle, 16 bytes. Answered by `Done`.
    Unblock(Handle),
    /// `0x45` The row's handle, 16 bytes. Answered by `Done`.
    Remove(Handle),
    /// `0x46` The row's handle, 16 bytes, and the approval's id, 32. Answered by `Done`.
    Fetched(Fetched),
    /// `0x47` One byte: 1 visible, 0 invisible. Answered by `Done`.
    SetPresence(bool),
    /// `0x48` CBOR [`PasswordStart`]. Answered by `PasswordResponse`.
    PasswordStart(PasswordStart),
    /// `0x4a` CBOR [`PasswordFinish`]. Answered by `Done`.
    PasswordFinish(PasswordFinish),
    /// `0x4b` Empty. Answered by `Done`; the link then ends.
    DeleteAccount,
    /// `0x4e` CBOR [`Redeem`]. Answered by `Done`.
    Redeem(Redeem),
    /// `0x4f` CBOR [`Await`]. Answered by `Done`.
    Await(Await),
}

/// Versions and nothing that a relay could tell clients apart by.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClientHello {
    /// Protocol versions that the client speaks, best first.
    #[n(0)]
    pub versions: Vec<u16>,
}

/// Registration, first step.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JoinStart {
    /// From the invite; it alone says which name.
    #[n(0)]
    pub token: InviteToken,
    /// OPAQUE `RegistrationRequest` (RFC 9807 section 5.1).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub request: [u8; 32],
}

/// Registration, second step.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JoinFinish {
    /// OPAQUE `RegistrationRecord`.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub upload: [u8; 192],
}

/// Login, first step.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LoginStart {
    /// Who.
    #[n(0)]
    pub user: Username,
    /// OPAQUE `KE1`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ke1: [u8; 96],
}

/// Login, second step.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LoginFinish {
    /// OPAQUE `KE3`.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub ke3: [u8; 64],
}

/// Goes online.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attach {
    /// The device's newest work mark.
    #[n(0)]
    pub mark: WorkMark,
    /// Whether contacts may see this account online.
    #[n(1)]
    pub visible: bool,
}

/// An envelope to somebody that a handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send<'a> {
    /// The sender's own handle for the recipient.
    pub handle: Handle,
    /// Seconds that the relay may try; 0: its whole window.
    pub ttl: u32,
    /// The sender's work mark when this envelope was sealed.
    pub mark: WorkMark,
    /// Opaque to the relay, but for its size and its first 16 bytes, the envelope's id.
    pub envelope: &'a [u8],
}

/// The recipient handled all `Deliver`s up to this count: committed, duplicate, refused or
/// unreadable, so that one bad envelope blocks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Counted from the start of the link.
    pub count: u64,
    /// The recipient's newest work mark.
    pub mark: WorkMark,
}

/// Asks somebody for contact, or renews an accepted row. Written the same whether or not the name
/// exists.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ask {
    /// The asker's handle for the contact.
    #[n(0)]
    pub handle: Handle,
    /// Who is asked.
    #[n(1)]
    pub to: Username,
    /// The introduction, as [`crate::intro::Signed`] encodes it.
    #[n(2)]
    pub intro: Blob,
}

/// Answers an introduction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approve {
    /// Who asked.
    #[n(0)]
    pub to: Username,
    /// The asker's handle.
    #[n(1)]
    pub their_handle: Handle,
    /// The approver's handle for the asker.
    #[n(2)]
    pub handle: Handle,
    /// The sealed approval.
    #[n(3)]
    pub approval: Blob,
    /// The contact link that the introduction came by, where it came by one.
    #[n(4)]
    pub by: Option<RoutingId>,
    /// The introduction, as it was shown: what was asked anew meanwhile is not answered by this.
    #[n(5)]
    pub intro: IntroId,
}

/// The approval on a row of one's own is on disk: it may leave the row, unless it is another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// The row.
    pub handle: Handle,
    /// Which approval.
    pub approval: ApprovalId,
}

/// Asks whoever made a contact link for contact. Written the same whether or not somebody waits on
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Redeem {
    /// The redeemer's handle for the contact.
    #[n(0)]
    pub handle: Handle,
    /// The contact link.
    #[n(1)]
    pub by: RoutingId,
    /// The introduction, sealed to the link.
    #[n(2)]
    pub intro: Blob,
}

/// The contact links that this account waits on, as long as this link of it lives or until it names
/// others. The relay keeps nothing of them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Await {
    /// At most [`MAX_CONTACT_LINKS`].
    #[n(0)]
    pub links: Vec<RoutingId>,
}

/// Declines an introduction; the asker never learns of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refuse {
    /// Who asked.
    #[n(0)]
    pub to: Username,
    /// The asker's handle.
    #[n(1)]
    pub their_handle: Handle,
}

/// Change of password, first step: a full login with the old one, and a registration with the new.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PasswordStart {
    /// OPAQUE `KE1` with the old password.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub ke1: [u8; 96],
    /// OPAQUE `RegistrationRequest` with the new one.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub request: [u8; 32],
}

/// Change of password, second step.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PasswordFinish {
    /// OPAQUE `KE3` with the old password.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub ke3: [u8; 64],
    /// OPAQUE `RegistrationRecord` with the new one.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub upload: [u8; 192],
}

impl<'a> ToRelay<'a> {
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
            Self::Bye => frame::write(out, T::Bye, |_| ()),
            Self::JoinStart(body) => frame::write(out, T::JoinStart, |o| cbor::encode(body, o)),
            Self::JoinFinish(body) => frame::write(out, T::JoinFinish, |o| cbor::encode(body, o)),
            Self::LoginStart(body) => frame::write(out, T::LoginStart, |o| cbor::encode(body, o)),
            Self::LoginFinish(body) => frame::write(out, T::LoginFinish, |o| cbor::encode(body, o)),
            Self::Attach(body) => frame::write(out, T::Attach, |o| cbor::encode(body, o)),
            Self::Send(send) => frame::write(out, T::Send, |o| send.write(o)),
            Self::Stored(stored) => frame::write(out, T::Stored, |o| {
                o.extend_from_slice(&stored.count.to_be_bytes());
                o.extend_from_slice(&stored.mark.to_bytes());
            }),
            Self::Ask(body) => frame::write(out, T::Ask, |o| cbor::encode(body, o)),
            Self::Approve(body) => frame::write(out, T::Approve, |o| cbor::encode(body, o)),
            Self::Refuse(body) => frame::write(out, T::Refuse, |o| cbor::encode(body, o)),
            Self::Block(handle) => frame::write(out, T::Block, |o| o.extend_from_slice(&handle.0)),
            Self::Unblock(handle) => {
                frame::write(out, T::Unblock, |o| o.extend_from_slice(&handle.0))
            }
            Self::Remove(handle) => {
                frame::write(out, T::Remove, |o| o.extend_from_slice(&handle.0))
            }
            Self::Fetched(fetched) => frame::write(out, T::Fetched, |o| {
                o.extend_from_slice(&fetched.handle.0);
                o.extend_from_slice(&fetched.approval.0);
            }),
            Self::SetPresence(visible) => {
                frame::write(out, T::SetPresence, |o| o.push(u8::from(*visible)))
            }
            Self::PasswordStart(body) => {
                frame::write(out, T::PasswordStart, |o| cbor::encode(body, o))
            }
            Self::PasswordFinish(body) => {
                frame::write(out, T::PasswordFinish, |o| cbor::encode(body, o))
            }
            Self::DeleteAccount => frame::write(out, T::DeleteAccount, |_| ()),
            Self::Redeem(body) => frame::write(out, T::Redeem, |o| cbor::encode(body, o)),
            Self::Await(body) => frame::write(out, T::Await, |o| cbor::encode(body, o)),
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
            n if n == T::Hello as u8 => Self::Hello(ClientHello::decode_body(body)?),
            n if n == T::Ping as u8 => empty(body, Self::Ping)?,
            n if n == T::Pong as u8 => empty(body, Self::Pong)?,
            n if n == T::Bye as u8 => empty(body, Self::Bye)?,
            n if n == T::JoinStart as u8 => Self::JoinStart(cbor::decode(body)?),
            n if n == T::JoinFinish as u8 => Self::JoinFinish(cbor::decode(body)?),
            n if n == T::LoginStart as u8 => Self::LoginStart(cbor::decode(body)?),
            n if n == T::LoginFinish as u8 => Self::LoginFinish(cbor::decode(body)?),
            n if n == T::Attach as u8 => Self::Attach(cbor::decode(body)?),
            n if n == T::Send as u8 => Self::Send(Send::read(body)?),
            n if n == T::Stored as u8 => Self::Stored(Stored::read(body)?),
            n if n == T::Ask as u8 => Self::Ask(cbor::decode(body)?),
            n if n == T::Approve as u8 => Self::Approve(cbor::decode(body)?),
            n if n == T::Refuse as u8 => Self::Refuse(cbor::decode(body)?),
            n if n == T::Block as u8 => Self::Block(handle(body)?),
            n if n == T::Unblock as u8 => Self::Unblock(handle(body)?),
            n if n == T::Remove as u8 => Self::Remove(handle(body)?),
            n if n == T::Fetched as u8 => Self::Fetched(Fetched::read(body)?),
            n if n == T::SetPresence as u8 => match body {
                [0] => Self::SetPresence(false),
                [1] => Self::SetPresence(true),
                _ => return Err(WireError::Malformed),
            },
            n if n == T::PasswordStart as u8 => Self::PasswordStart(cbor::decode(body)?),
            n if n == T::PasswordFinish as u8 => Self::PasswordFinish(cbor::decode(body)?),
            n if n == T::DeleteAccount as u8 => empty(body, Self::DeleteAccount)?,
            n if n == T::Redeem as u8 => Self::Redeem(cbor::decode(body)?),
            n if n == T::Await as u8 => Self::Await(Await::decode_body(body)?),
            _ => return Ok(None),
        }))
    }
}

impl ClientHello {
    fn decode_body(body: &[u8]) -> Result<Self, WireError> {
        let hello: Self = cbor::decode(body)?;
        if hello.versions.len() > MAX_VERSIONS { Err(WireError::TooLong) } else { Ok(hello) }
    }
}

impl Await {
    fn decode_body(body: &[u8]) -> Result<Self, WireError> {
        let named: Self = cbor::decode(body)?;
        if named.links.len() > MAX_CONTACT_LINKS { Err(WireError::TooLong) } else { Ok(named) }
    }
}

impl<'a> Send<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.handle.0);
        out.extend_from_slice(&self.ttl.to_be_bytes());
        out.extend_from_slice(&self.mark.to_bytes());
        out.extend_from_slice(self.envelope);
    }

    fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let (handle, rest) = body.split_first_chunk().ok_or(WireError::Malformed)?;
        let (ttl, rest) = rest.split_first_chunk().ok_or(WireError::Malformed)?;
        let (mark, envelope) = rest.split_first_chunk().ok_or(WireError::Malformed)?;
        Ok(Self {
            handle: Handle(*handle),
            ttl: u32::from_be_bytes(*ttl),
            mark: WorkMark::from_bytes(*mark),
            envelope: sized_envelope(envelope)?,
        })
    }
}

impl Fetched {
    fn read(body: &[u8]) -> Result<Self, WireError> {
        let (handle, approval) = body.split_first_chunk().ok_or(WireError::Malformed)?;
        let approval = ApprovalId::from_slice(approval).ok_or(WireError::Malformed)?;
        Ok(Self { handle: Handle(*handle), approval })
    }
}

impl Stored {
    fn read(body: &[u8]) -> Result<Self, WireError> {
        let (count, mark) = body.split_first_chunk().ok_or(WireError::Malformed)?;
        let mark = mark.try_into().map_err(|_| WireError::Malformed)?;
        Ok(Self { count: u64::from_be_bytes(*count), mark: WorkMark::from_bytes(mark) })
    }
}

/// An envelope has one of few sizes; another one is refused before it takes up any room.
pub(crate) fn sized_envelope(bytes: &[u8]) -> Result<&[u8], WireError> {
    if !(MIN_ENVELOPE..=MAX_ENVELOPE).contains(&bytes.len()) || !pad::is_envelope_size(bytes.len())
    {
        return Err(WireError::Malformed);
    }
    Ok(bytes)
}

pub(crate) fn empty<T>(body: &[u8], value: T) -> Result<T, WireError> {
    if body.is_empty() { Ok(value) } else { Err(WireError::Malformed) }
}

fn handle(body: &[u8]) -> Result<Handle, WireError> {
    Handle::from_slice(body).ok_or(WireError::Malformed)
}
