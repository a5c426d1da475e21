//! The writing half: gathers frames and writes them as few, padded records.
//!
//! 1. [`Sender::push`] encodes a frame behind those that wait.
//! 2. [`Sender::flush`] cuts what waits into records, seals them, and writes them with as few calls
//!    as the stream allows.
//!
//! While nothing waits, no buffer belongs to the link.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ams_crypto::noise::Sealer;
use ams_wire::frame::{self, WireError};
use ams_wire::from_relay::FromRelay;
use ams_wire::limits::{FRAME_HEADER, MAX_RECORD_PLAINTEXT, RECORD_TAG};
use ams_wire::pad::{self, BUCKETS};
use ams_wire::to_relay::ToRelay;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::buffers;

/// Waiting bytes from which on [`Sender::is_full`]: about one full record, so that gathering more
/// would save nothing.
const FULL: usize = 64 * 1024;
/// Padding that is not worth another record, which costs about as much as sealing so many bytes.
const CHEAP_PADDING: usize = 1024;

/// A frame that can be sent.
pub trait Outgoing {
    /// Appends it; on an error `out` is as before.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError>;
}

impl Outgoing for ToRelay<'_> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        ToRelay::encode(self, out)
    }
}

impl Outgoing for FromRelay<'_> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        FromRelay::encode(self, out)
    }
}

/// Writes frames.
#[derive(Debug)]
pub struct Sender<W> {
    io: W,
    sealer: Sealer,
    /// Frames that wait to be sealed.
    frames: Vec<u8>,
    /// Records that wait to be written, the first `written` bytes of which are.
    records: Vec<u8>,
    written: usize,
    stalled_since: Option<Instant>,
}

/// Why nothing more goes out.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The other side closed the stream.
    #[error("the connection was cut")]
    Cut,
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

impl<W: AsyncWrite + Unpin> Sender<W> {
    pub(crate) fn new(io: W, sealer: Sealer) -> Self {
        Self {
            io,
            sealer,
            frames: Vec::new(),
            records: Vec::new(),
            written: 0,
            stalled_since: None,
        }
    }

    /// Lets a frame wait for the next [`Sender::flush`].
    ///
    /// # Errors
    /// [`WireError::TooLong`]; nothing waits then that did not before.
    pub fn push(&mut self, frame: &impl Outgoing) -> Result<(), WireError> {
        if self.frames.capacity() == 0 {
            self.frames = buffers::take();
        }
        frame.encode(&mut self.frames)
    }

    /// Whether anything waits.
    pub fn is_pending(&self) -> bool {
        !self.frames.is_empty() || !self.records.is_empty()
    }

    /// Bytes that wait, sealed or not.
    pub fn pending(&self) -> usize {
        self.frames.len().saturating_add(self.records.len()).saturating_sub(self.written)
    }

    /// Whether so much waits that the owner should flush before it pushes more. [`Sender::push`]
    /// itself refuses nothing: control answers must always find room.
    pub fn is_full(&self) -> bool {
        self.pending() >= FULL
    }

    /// Since when the stream takes nothing although something waits. The owner closes a link that
    /// is stalled for too long.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Writes all that waits. Nothing is lost or doubled if the future is dropped: call it again.
    ///
    /// # Errors
    /// [`SendError`]; the link is over then.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// As [`Sender::flush`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            while let Some(rest) = self.records.get(self.written..).filter(|r| !r.is_empty()) {
                let Poll::Ready(wrote) = Pin::new(&mut self.io).poll_write(context, rest) else {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                };
                self.stalled_since = None;
                match wrote.map_err(failed)? {
                    0 => return Poll::Ready(Err(SendError::Cut)),
                    wrote => self.written = self.written.saturating_add(wrote),
                }
            }
            buffers::put(&mut self.records);
            self.written = 0;
            if self.frames.is_empty() {
                buffers::put(&mut self.frames);
                break;
            }
            self.seal();
        }
        ready!(Pin::new(&mut self.io).poll_flush(context)).map_err(failed)?;
        Poll::Ready(Ok(()))
    }

    /// Writes all that waits, then ends this direction of the stream.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn close(mut self) -> Result<(), SendError> {
        self.flush().await?;
        poll_fn(|context| Pin::new(&mut self.io).poll_shutdown(context)).await.map_err(failed)
    }

    /// Cuts the waiting frames into records and seals them.
    fn seal(&mut self) {
        self.records = buffers::take();
        let mut rest = self.frames.as_slice();
        loop {
            let (record, after) = rest.split_at_checked(cut(rest)).unwrap_or((rest, &[]));
            if after.is_empty() {
                break;
            }
            // Padding has to lie behind these frames, where the next ones are.
            let mut padded = buffers::take();
            padded.extend_from_slice(record);
            pad_record(&mut padded);
            append(&mut self.sealer, &padded, &mut self.records);
            buffers::put(&mut padded);
            rest = after;
        }
        // The last record, mostly the only one, is padded where it lies.
        let start = self.frames.len().saturating_sub(rest.len());
        let size = pad::record_size(rest.len()).unwrap_or(rest.len());
        self.frames.resize(start.saturating_add(size), 0);
        let last = self.frames.get(start..).unwrap_or_default();
        append(&mut self.sealer, last, &mut self.records);
        self.frames.clear();
    }
}

/// How many of the waiting bytes the next record takes: all, if they fit and padding them is cheap;
/// otherwise as many whole frames as fill the next smaller size.
fn cut(frames: &[u8]) -> usize {
    let size = pad::record_size(frames.len());
    if let Some(size) = size {
        let padding = size.saturating_sub(frames.len());
        if padding <= CHEAP_PADDING.max(size / 8) {
            return frames.len();
        }
    }
    let below = match size {
        Some(size) => BUCKETS.iter().copied().take_while(|&bucket| bucket < size).last(),
        // The full record is no size to aim at: 48 KiB first.
        None => Some(MAX_RECORD_PLAINTEXT),
    };
    let whole = below.map_or(0, |below| whole_frames(frames, below));
    // The first frame alone is larger than the smaller size: it gets the larger one.
    if whole == 0 { whole_frames(frames, size.unwrap_or(MAX_RECORD_PLAINTEXT)) } else { whole }
}

/// Bytes of the whole frames among the first `most` bytes.
fn whole_frames(frames: &[u8], most: usize) -> usize {
    let mut end = 0_usize;
    for (_, body) in frame::frames(frames).map_while(Result::ok) {
        let next = end.saturating_add(FRAME_HEADER).saturating_add(body.len());
        if next > most {
            break;
        }
        end = next;
    }
    end
}

fn pad_record(record: &mut Vec<u8>) {
    let size = pad::record_size(record.len()).unwrap_or(record.len());
    record.resize(size, 0);
}

/// Appends the sealed record with its length.
fn append(sealer: &mut Sealer, plaintext: &[u8], records: &mut Vec<u8>) {
    let start = records.len();
    let sealed = plaintext.len().saturating_add(RECORD_TAG);
    let length = u16::try_from(sealed).unwrap_or(u16::MAX);
    records.extend_from_slice(&length.to_be_bytes());
    records.resize(start.saturating_add(2).saturating_add(sealed), 0);
    let room = records.get_mut(start.saturating_add(2)..).unwrap_or_default();
    // Frames and buckets are bounded so that every record fits; one that did not would be dropped
    // here and noticed by the other side, whose next record then does not open.
    if sealer.seal(plaintext, room).is_err() {
        records.truncate(start);
    }
}

fn failed(error: io::Error) -> SendError {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => SendError::Cut,
        _ => SendError::Io(error),
    }
}
