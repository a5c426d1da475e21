//! What of one connection was read and not looked at, and what is still to be written.

use std::io;

use interprocess::local_socket::tokio::Stream;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::request::MAX_LINE;

/// Pieces are read in about this size; buffers that grew beyond it are given back when empty.
pub(crate) const PIECE: usize = 16 * 1024;
/// Once so much was written of the output, what is left moves to its front.
const COMPACT: usize = 256 * 1024;

/// What was read and not looked at yet.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no `\n` after `start`.
    searched: usize,
    /// Nothing more will be read.
    pub(crate) ended: bool,
    /// Because a line was too long.
    pub(crate) refused: bool,
}

impl Input {
    /// Reads a piece. Called only when every complete line was taken, so that what stays is one
    /// line that is not too long yet.
    pub(crate) async fn read_from(&mut self, mut stream: &Stream) -> io::Result<()> {
        self.bytes.drain(..self.start.min(self.bytes.len()));
        self.searched = self.searched.saturating_sub(self.start);
        self.start = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(PIECE);
        }
        self.bytes.reserve(PIECE);
        let read = stream.read_buf(&mut self.bytes).await;
        if !matches!(read, Ok(1..)) {
            self.ended = true;
            // A last line may lack its `\n`.
            if !self.bytes.is_empty() {
                self.bytes.push(b'\n');
            }
        }
        read.map(|_| ())
    }

    pub(crate) fn next_line(&mut self) -> Option<Vec<u8>> {
        let unsearched = self.bytes.get(self.searched..)?;
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched.saturating_add(at);
        let line = self.bytes.get(self.start..end)?.to_vec();
        self.start = end.saturating_add(1);
        self.searched = self.start;
        Some(line)
    }

    /// The line that is not complete is too long already.
    pub(crate) fn is_too_long(&self) -> bool {
        self.bytes.len().saturating_sub(self.start) > MAX_LINE && self.searched == self.bytes.len()
    }

    pub(crate) fn end(&mut self) {
        *self = Self { ended: true, refused: self.refused, ..Self::default() };
    }

    pub(crate) fn refuse(&mut self) {
        self.end();
        self.refused = true;
    }
}

/// What is still to be written.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.written)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push(&mut self, json: &RawValue) {
        self.bytes.extend_from_slice(json.get().as_bytes());
        self.bytes.push(b'\n');
    }

    pub(crate) async fn write_to(&mut self, mut stream: &Stream) -> io::Result<()> {
        let rest = self.bytes.get(self.written..).unwrap_or_default();
        let wrote = stream.write(rest).await?;
        if wrote == 0 && !rest.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written = self.written.saturating_add(wrote);
        if self.is_empty() {
            self.written = 0;
            self.bytes.clear();
            self.bytes.shrink_to(PIECE);
        } else if self.written > COMPACT {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}
