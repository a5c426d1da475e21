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
use ams_wire::to_peer::ToPeer;
use ams_wire::to_relay::ToRelay;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::buffers;
use crate::stream::is_cut;

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

impl Outgoing for ToPeer<'_> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        ToPeer::encode(self, out)
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
        let encoded = frame.encode(&mut self.frames);
        if self.frames.is_empty() {
            buffers::put(&mut self.frames);
        }
        encoded
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
            self.seal()?;
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
    fn seal(&mut self) -> Result<(), SendError> {
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
            append(&mut self.sealer, &padded, &mut self.records)?;
            buffers::put(&mut padded);
            rest = after;
        }
        // The last record, mostly the only one, is padded where it lies.
        let start = self.frames.len().saturating_sub(rest.len());
        let size = pad::record_size(rest.len()).unwrap_or(rest.len());
        self.frames.resize(start.saturating_add(size), 0);
        let last = self.frames.get(start..).unwrap_or_default();
        append(&mut self.sealer, last, &mut self.records)?;
        self.frames.clear();
        Ok(())
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
fn append(sealer: &mut Sealer, plaintext: &[u8], records: &mut Vec<u8>) -> Result<(), SendError> {
    let start = records.len();
    let sealed = plaintext.len().saturating_add(RECORD_TAG);
    let length = u16::try_from(sealed).unwrap_or(u16::MAX);
    records.extend_from_slice(&length.to_be_bytes());
    records.resize(start.saturating_add(2).saturating_add(sealed), 0);
    let room = records.get_mut(start.saturating_add(2)..).unwrap_or_default();
    // Frames and sizes are bounded so that every record fits.
    let sealed = sealer.seal(plaintext, room);
    sealed.map(|_| ()).map_err(|_| SendError::Io(io::ErrorKind::InvalidInput.into()))
}

fn failed(error: io::Error) -> SendError {
    if is_cut(&error) { SendError::Cut } else { SendError::Io(error) }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use ams_crypto::dh::DhSecret;
    use ams_crypto::noise::{Opener, XkInitiator, XkResponder};
    use ams_wire::frame::FrameType;
    use ams_wire::limits::MAX_FRAME_BODY;
    use proptest::prelude::*;

    use super::*;

    /// A frame with a body of so many bytes.
    struct Body(usize);

    impl Outgoing for Body {
        fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
            let length = u16::try_from(self.0).map_err(|_| WireError::TooLong)?;
            if self.0 > MAX_FRAME_BODY {
                return Err(WireError::TooLong);
            }
            out.push(FrameType::Deliver as u8);
            out.extend_from_slice(&length.to_be_bytes());
            out.resize(out.len() + self.0, 0xdd);
            Ok(())
        }
    }

    fn keys() -> (Sealer, Opener) {
        let (client, relay) = (DhSecret::from_bytes(&[1; 32]), DhSecret::from_bytes(&[2; 32]));
        let (initiator, first) = XkInitiator::start(&client, &relay.public()).unwrap();
        let (responder, second) = XkResponder::start(&relay, &first).unwrap();
        let (there, third) = initiator.finish(&second).unwrap();
        (there.sealer, responder.finish(&third).unwrap().opener)
    }

    /// Sends frames with such bodies; gives the size of each record's plaintext and the bodies found
    /// in it.
    fn records(bodies: &[usize]) -> Vec<(usize, Vec<usize>)> {
        let (sealer, mut opener) = keys();
        let mut sender = Sender::new(Vec::new(), sealer);
        for &body in bodies {
            sender.push(&Body(body)).unwrap();
        }
        let waker = std::task::Waker::noop();
        assert!(sender.poll_flush(&mut Context::from_waker(waker)).is_ready());
        assert!(!sender.is_pending());
        let (mut sent, mut records) = (sender.io.as_slice(), Vec::new());
        while let Some((length, rest)) = sent.split_first_chunk::<2>() {
            let (record, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
            let mut plaintext = vec![0; record.len()];
            let length = opener.open(record, &mut plaintext).unwrap();
            let frames = frame::frames(&plaintext[..length]);
            records.push((length, frames.map(|frame| frame.unwrap().1.len()).collect()));
            sent = rest;
        }
        records
    }

    #[test]
    fn one_envelope_fills_one_record() {
        assert_eq!(records(&[509]), [(512, vec![509])]);
        assert_eq!(records(&[510]), [(1024, vec![510])]);
        assert_eq!(records(&[48 * 1024 - 3]), [(48 * 1024, vec![48 * 1024 - 3])]);
        assert_eq!(records(&[MAX_FRAME_BODY]), [(MAX_RECORD_PLAINTEXT, vec![MAX_FRAME_BODY])]);
        assert_eq!(records(&[0]), [(512, vec![0])]);
    }

    #[test]
    fn frames_share_a_record() {
        assert_eq!(records(&[0, 8, 24]), [(512, vec![0, 8, 24])]);
        assert_eq!(records(&[489; 4]), [(2048, vec![489; 4])]);
    }

    #[test]
    fn dear_padding_is_cut_off() {
        // 2,460 bytes: not 4 KiB, but 2 KiB and 512.
        assert_eq!(records(&[489; 5]), [(2048, vec![489; 4]), (512, vec![489])]);
        // 17 KiB in 32 would be half padding.
        let sizes: Vec<_> = records(&[489; 35]).iter().map(|record| record.0).collect();
        assert_eq!(sizes, [16_384, 1024]);
        // A large frame behind a small one that does not fit the smaller size with it.
        assert_eq!(records(&[10, 17_000]), [(512, vec![10]), (32_768, vec![17_000])]);
    }

    #[test]
    fn more_than_a_record_is_several() {
        let sizes: Vec<_> = records(&[489; 400]).iter().map(|record| record.0).collect();
        assert!(
            sizes.len() >= 3 && sizes.iter().sum::<usize>() < 400 * 492 * 105 / 100,
            "{sizes:?}"
        );
        let full = [MAX_FRAME_BODY; 3];
        assert_eq!(records(&full).len(), 3);
    }

    #[test]
    fn a_frame_that_is_too_long_leaves_nothing() {
        let (sealer, _) = keys();
        let mut sender = Sender::new(Vec::new(), sealer);
        assert_eq!(sender.push(&Body(MAX_FRAME_BODY + 1)), Err(WireError::TooLong));
        assert!(!sender.is_pending());
        assert_eq!(sender.frames.capacity(), 0);
        sender.push(&Body(5)).unwrap();
        assert_eq!(sender.push(&Body(MAX_FRAME_BODY + 1)), Err(WireError::TooLong));
        assert_eq!(sender.pending(), 8);
    }

    #[test]
    fn an_idle_link_owns_no_buffer() {
        let (sealer, _) = keys();
        let mut sender = Sender::new(Vec::new(), sealer);
        sender.push(&Body(5000)).unwrap();
        assert!(sender.poll_flush(&mut Context::from_waker(std::task::Waker::noop())).is_ready());
        assert_eq!((sender.frames.capacity(), sender.records.capacity()), (0, 0));
        assert!(size_of::<Sender<tokio::net::tcp::OwnedWriteHalf>>() <= 128);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_frames_arrive_in_order_in_padded_records(
            bodies in prop::collection::vec(prop_oneof![0_usize..600, 0_usize..=MAX_FRAME_BODY], 1..60)
        ) {
            let records = records(&bodies);
            prop_assert!(records.iter().all(|record| BUCKETS.contains(&record.0)));
            let found: Vec<_> = records.into_iter().flat_map(|record| record.1).collect();
            prop_assert_eq!(found, bodies);
        }
    }
}
