//! The reading half: `u16 length ‖ record`, one behind the other.
//!
//! Bytes are read into the buffer of the thread. Complete records are opened straight into one new
//! allocation per read, of which every frame's body is a slice, so that an envelope can be passed on
//! without another copy. Only an incomplete record stays with the link.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ams_crypto::noise::Opener;
use ams_wire::frame;
use ams_wire::limits::FRAME_HEADER;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use crate::buffers;
use crate::stream::is_cut;

/// Bytes of a record's length.
const LENGTH: usize = 2;
/// Bytes of padding that are not worth a copy of the frames before it.
const SLACK: usize = 1024;

/// Reads frames.
#[derive(Debug)]
pub struct Receiver<R> {
    io: R,
    opener: Opener,
    /// The beginning of a record whose end did not come yet.
    partial: Vec<u8>,
    /// Longest record, and bytes read at once, while the other side is not known.
    bound: Option<NonZeroU16>,
}

/// Why nothing more comes.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The stream ended. After a `Bye` frame that was to be expected; otherwise it is a cut.
    #[error("the connection was cut")]
    Cut,
    /// A record does not open: somebody changed bytes. The link is dead.
    #[error("a record does not open")]
    Rejected,
    /// A frame reaches over the end of its record, or a stranger's record is too long. The link is
    /// dead.
    #[error("a malformed record")]
    Malformed,
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

/// One frame. `ToRelay::decode` and `FromRelay::decode` read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type, perhaps one that this version does not know.
    pub number: u8,
    /// A slice of the buffer that all frames of one read share: who keeps it for longer than the
    /// turn keeps up to 64 KiB, and should copy (`Bytes::copy_from_slice`).
    pub body: Bytes,
}

/// The frames of all records that one read completed; perhaps none.
#[derive(Debug)]
pub struct Batch {
    frames: Bytes,
    weight: Weight,
}

/// What reading records cost, whatever is in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Their bytes as they came: with lengths, headers and padding.
    pub bytes: u32,
    /// How many had no frame at all.
    pub empty_records: u32,
}

impl Batch {
    /// What its records cost; nothing when asked again.
    pub fn weigh(&mut self) -> Weight {
        std::mem::take(&mut self.weight)
    }
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    pub(crate) fn new(io: R, opener: Opener) -> Self {
        Self { io, opener, partial: Vec::new(), bound: None }
    }

    /// From now on a record of more than `most` bytes ends the link, and no more is read at once: as
    /// long as the other side is a stranger, it must not decide how much is kept for it.
    pub fn bound(&mut self, most: Option<usize>) {
        self.bound = most.and_then(|most| u16::try_from(most).ok()).and_then(NonZeroU16::new);
    }

    /// Waits until at least one record is complete. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`ReceiveError`]; the link is over then.
    pub async fn receive(&mut self) -> Result<Batch, ReceiveError> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// As [`Receiver::receive`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch, ReceiveError>> {
        buffers::with_scratch(|scratch| {
            loop {
                let most = self.most().saturating_add(LENGTH);
                let mut buffer = ReadBuf::new(scratch.get_mut(..most).unwrap_or_default());
                ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer)).map_err(failed)?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Err(ReceiveError::Cut));
                }
                if let Some(batch) = self.take(buffer.filled())? {
                    return Poll::Ready(Ok(batch));
                }
            }
        })
    }

    /// Opens what `input` completes and keeps the rest; `None` if it completes nothing.
    fn take(&mut self, mut input: &[u8]) -> Result<Option<Batch>, ReceiveError> {
        let mut frames = BytesMut::new();
        let mut weight = Weight::default();
        let mut complete = false;
        if !self.partial.is_empty() {
            input = self.fill_partial(input)?;
            let Some((record, [])) = split_record(&self.partial) else {
                return Ok(None);
            };
            frames.reserve(record.len().saturating_add(input.len()));
            open(&mut self.opener, record, &mut frames, &mut weight)?;
            self.partial = Vec::new();
            complete = true;
        }
        frames.reserve(if complete { 0 } else { input.len() });
        while let Some((record, rest)) = split_record(input) {
            open(&mut self.opener, record, &mut frames, &mut weight)?;
            input = rest;
            complete = true;
        }
        if !input.is_empty() {
            self.partial.reserve_exact(self.whole(input)?);
            self.partial.extend_from_slice(input);
        }
        Ok(complete.then(|| Batch { frames: tight(frames), weight }))
    }

    /// Moves what the incomplete record lacks from the front of `input`; gives the rest.
    fn fill_partial<'a>(&mut self, mut input: &'a [u8]) -> Result<&'a [u8], ReceiveError> {
        while let Some(&byte) = input.first().filter(|_| self.partial.len() < LENGTH) {
            self.partial.push(byte);
            input = input.get(1..).unwrap_or_default();
        }
        let whole = self.whole(&self.partial)?;
        let lacking = whole.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at_checked(lacking).unwrap_or((input, &[]));
        self.partial.reserve_exact(lacking);
        self.partial.extend_from_slice(taken);
        Ok(rest)
    }

    fn most(&self) -> usize {
        self.bound.map_or(usize::from(u16::MAX), |most| usize::from(most.get()))
    }

    /// Bytes of an incomplete record with its length, as far as that is known.
    fn whole(&self, begun: &[u8]) -> Result<usize, ReceiveError> {
        let whole = record_len(begun).unwrap_or(LENGTH);
        if whole > self.most().saturating_add(LENGTH) {
            return Err(ReceiveError::Malformed);
        }
        Ok(whole)
    }
}

/// Length of the first record with its length field, once that is there.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<LENGTH>()?;
    Some(usize::from(u16::from_be_bytes(*length)).saturating_add(LENGTH))
}

/// The first record, if all of it is there, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (record, rest) = bytes.split_at_checked(record_len(bytes)?)?;
    Some((record.get(LENGTH..)?, rest))
}

/// The frames in an allocation that is not mostly padding: a short body that somebody keeps would
/// keep all of it.
fn tight(frames: BytesMut) -> Bytes {
    let much = frames.len().saturating_mul(2).saturating_add(SLACK);
    if frames.capacity() > much { Bytes::copy_from_slice(&frames) } else { frames.freeze() }
}

/// Appends the frames of a record, without its padding.
fn open(
    opener: &mut Opener,
    record: &[u8],
    frames: &mut BytesMut,
    weight: &mut Weight,
) -> Result<(), ReceiveError> {
    let start = frames.len();
    frames.resize(start.saturating_add(record.len()), 0);
    let room = frames.get_mut(start..).unwrap_or_default();
    let length = opener.open(record, room).map_err(|_| ReceiveError::Rejected)?;
    let plaintext = room.get(..length).unwrap_or_default();
    let used = used_len(plaintext)?;
    let bytes = u32::try_from(record.len().saturating_add(LENGTH)).unwrap_or(u32::MAX);
    weight.bytes = weight.bytes.saturating_add(bytes);
    weight.empty_records = weight.empty_records.saturating_add(u32::from(used == 0));
    frames.truncate(start.saturating_add(used));
    Ok(())
}

/// Bytes of the frames at the front of a record's plaintext; padding follows.
fn used_len(plaintext: &[u8]) -> Result<usize, ReceiveError> {
    frame::frames(plaintext).try_fold(0_usize, |used, frame| {
        let (_, body) = frame.map_err(|_| ReceiveError::Malformed)?;
        Ok(used.saturating_add(FRAME_HEADER).saturating_add(body.len()))
    })
}

impl Iterator for Batch {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let (&[number, high, low], _) = self.frames.split_first_chunk::<FRAME_HEADER>()?;
        self.frames.advance(FRAME_HEADER);
        let length = usize::from(u16::from_be_bytes([high, low]));
        // `used_len` has seen all of it.
        let body = self.frames.split_to(length.min(self.frames.len()));
        Some(Frame { number, body })
    }
}

fn failed(error: io::Error) -> ReceiveError {
    if is_cut(&error) { ReceiveError::Cut } else { ReceiveError::Io(error) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests;
