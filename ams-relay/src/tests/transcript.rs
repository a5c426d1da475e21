//! What somebody sees of a relay, written down to be compared.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::Instant;

/// What alice sees: when, and what. Bytes that are random by construction are left out, their
/// number is not.
pub(super) type Transcript = Vec<(Duration, String)>;

/// A stream that writes down what comes over it, and when.
pub(super) struct Tap {
    pub(super) inner: DuplexStream,
    pub(super) began: Instant,
    pub(super) seen: Arc<Mutex<Transcript>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if read.is_ready() {
            let count = buffer.filled().len() - before;
            self.seen.lock().unwrap().push((self.began.elapsed(), format!("{count} bytes")));
        }
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// What came at one moment: the frames in their order, and how many bytes. How the bytes of one
/// moment were cut into reads is the test's own doing.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    at: Duration,
    frames: Vec<String>,
    bytes: usize,
}

fn moments(transcript: &Transcript) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    for (at, what) in transcript {
        if moments.last().is_none_or(|last| last.at != *at) {
            moments.push(Moment { at: *at, frames: Vec::new(), bytes: 0 });
        }
        let moment = moments.last_mut().unwrap();
        match what.strip_suffix(" bytes") {
            Some(count) => moment.bytes += count.parse::<usize>().unwrap(),
            None => moment.frames.push(what.clone()),
        }
    }
    moments
}

/// Where two transcripts differ first, if they do.
pub(super) fn difference(one: &Transcript, other: &Transcript) -> Option<String> {
    let (one, other) = (moments(one), moments(other));
    let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
    Some(format!("{:?}\n  instead of\n{:?}", other.get(at), one.get(at)))
}
