//! Frames in a record: `type u8 ‖ length u16 big-endian ‖ body`, one behind the other, then
//! padding. A type of 0 is padding: it and all that follows is zero.

use crate::limits::{FRAME_HEADER, MAX_FRAME_BODY};

/// What is wrong with bytes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A value is cut short, too long, out of its range, or followed by bytes.
    #[error("malformed bytes")]
    Malformed,
    /// A frame reaches over the end of its record.
    #[error("a frame reaches over the end of its record")]
    CutFrame,
    /// Something is larger than its bound in [`crate::limits`].
    #[error("larger than its bound")]
    TooLong,
}

/// Every frame type, in both directions. A number, once used, is never given to anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// Rest of the record.
    Padding = 0x00,
    /// First frame each way.
    Hello = 0x01,
    /// Asks for a `Pong`.
    Ping = 0x02,
    /// Answers a `Ping`.
    Pong = 0x03,
    /// The link ends on purpose.
    Bye = 0x04,

    /// Opens a registration.
    JoinStart = 0x10,
    /// Answers `JoinStart`.
    JoinResponse = 0x11,
    /// Ends a registration.
    JoinFinish = 0x12,
    /// Opens a login.
    LoginStart = 0x13,
    /// Answers `LoginStart`.
    LoginResponse = 0x14,
    /// Ends a login.
    LoginFinish = 0x15,
    /// This link's key is now the account's device.
    Enrolled = 0x16,
    /// The one answer to everything that failed before `Attach`.
    Refused = 0x17,

    /// An enrolled device asks to be online.
    Attach = 0x20,
    /// The device is online; its snapshot follows.
    Attached = 0x21,
    /// One contact row of the account.
    Row = 0x22,
    /// Somebody's introduction to this account.
    Request = 0x23,
    /// The snapshot after `Attached` is complete.
    SnapshotEnd = 0x24,
    /// The device's work mark is not the newest: an old copy or a clone.
    Cloned = 0x25,
    /// Somebody's sealed introduction by a contact link of this account.
    Redeemed = 0x26,

    /// An envelope to the relay.
    Send = 0x30,
    /// An envelope to its recipient.
    Deliver = 0x31,
    /// How many `Send`s of this link the relay took.
    Accepted = 0x32,
    /// How many `Deliver`s of this link the recipient handled.
    Stored = 0x33,
    /// The relay stopped trying.
    Failed = 0x34,

    /// Puts an introduction on a contact row.
    Ask = 0x40,
    /// Answers somebody's introduction.
    Approve = 0x41,
    /// Declines somebody's introduction, silently.
    Refuse = 0x42,
    /// Stops a row, silently.
    Block = 0x43,
    /// Lets a blocked row pass again.
    Unblock = 0x44,
    /// Deletes a row, silently.
    Remove = 0x45,
    /// An approval was fetched and is on disk.
    Fetched = 0x46,
    /// Shows or hides this account's presence.
    SetPresence = 0x47,
    /// Opens a change of password.
    PasswordStart = 0x48,
    /// Answers `PasswordStart`.
    PasswordResponse = 0x49,
    /// Ends a change of password.
    PasswordFinish = 0x4a,
    /// Deletes the account.
    DeleteAccount = 0x4b,
    /// Answers one control frame, in order.
    Done = 0x4c,
    /// Who is online.
    Presence = 0x4d,
    /// Puts a sealed introduction on a contact row, by a contact link.
    Redeem = 0x4e,
    /// Names the contact links that this account waits on.
    Await = 0x4f,

    /// An introduction, on a direct link.
    Introduce = 0x60,
    /// An introduction is kept.
    Noted = 0x61,
    /// An approval, on a direct link.
    Approval = 0x62,
    /// An approval is done with.
    Opened = 0x63,
    /// What each side owes is said; envelopes follow.
    Settled = 0x64,
    /// An envelope, on a direct link.
    Envelope = 0x65,
    /// How many `Envelope`s of this link were handled.
    Handled = 0x66,
}

/// Appends a frame whose body `write` appends.
///
/// # Errors
/// [`WireError::TooLong`] when the body is over [`MAX_FRAME_BODY`]; `out` is then as before.
pub(crate) fn write(
    out: &mut Vec<u8>,
    frame: FrameType,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[frame as u8, 0, 0]);
    write(out);
    let body = out.len().saturating_sub(start).saturating_sub(FRAME_HEADER);
    let length = u16::try_from(body).ok().filter(|_| body <= MAX_FRAME_BODY);
    let header = out.get_mut(start..).and_then(|frame| frame.get_mut(1..FRAME_HEADER));
    if let (Some(length), Some(header)) = (length, header) {
        header.copy_from_slice(&length.to_be_bytes());
        return Ok(());
    }
    out.truncate(start);
    Err(WireError::TooLong)
}

/// The frames of one record's plaintext, as (type, body). Ends at the padding, or with an error.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

/// Iterates over the frames of a record's plaintext.
pub fn frames(record: &[u8]) -> Frames<'_> {
    Frames { rest: record }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(u8, &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&number, rest) = self.rest.split_first()?;
        if number == FrameType::Padding as u8 {
            self.rest = &[];
            return None;
        }
        let frame = rest.split_first_chunk::<2>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        if let Some((body, rest)) = frame {
            self.rest = rest;
            return Some(Ok((number, body)));
        }
        self.rest = &[];
        Some(Err(WireError::CutFrame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_at_padding_and_at_the_record() {
        let record = [0x02, 0, 0, 0x30, 0, 2, 7, 8, 0, 0, 0];
        let all: Result<Vec<_>, _> = frames(&record).collect();
        assert_eq!(all, Ok(vec![(0x02, &[][..]), (0x30, &[7, 8][..])]));
        assert_eq!(frames(&record[..8]).count(), 2);
        for cut in [1, 2, 4, 5, 6, 7] {
            assert_eq!(frames(&record[..cut]).last(), Some(Err(WireError::CutFrame)), "{cut}");
        }
    }

    #[test]
    fn a_body_is_refused_above_its_bound_and_leaves_nothing() {
        let mut out = vec![9];
        let fits = vec![0; MAX_FRAME_BODY];
        assert_eq!(write(&mut out, FrameType::Ask, |o| o.extend_from_slice(&fits)), Ok(()));
        out.truncate(1);
        let over = vec![0; MAX_FRAME_BODY + 1];
        assert_eq!(
            write(&mut out, FrameType::Ask, |o| o.extend_from_slice(&over)),
            Err(WireError::TooLong)
        );
        assert_eq!(out, [9]);
    }
}
