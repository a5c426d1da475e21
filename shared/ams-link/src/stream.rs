//! What a link runs over.

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A byte stream that can be read and written at the same time.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Its reading half.
    type Read: AsyncRead + Send + Unpin + 'static;
    /// Its writing half.
    type Write: AsyncWrite + Send + Unpin + 'static;

    /// Takes it apart.
    fn split(self) -> (Self::Read, Self::Write);
}

/// The caller has set `TCP_NODELAY`: records are gathered here already.
impl Stream for TcpStream {
    type Read = OwnedReadHalf;
    type Write = OwnedWriteHalf;

    fn split(self) -> (Self::Read, Self::Write) {
        self.into_split()
    }
}

/// For tests and simulation.
impl Stream for DuplexStream {
    type Read = ReadHalf<Self>;
    type Write = WriteHalf<Self>;

    fn split(self) -> (Self::Read, Self::Write) {
        tokio::io::split(self)
    }
}

/// Any stream, where the kind is decided at run time.
pub type BoxedStream = Box<dyn Duplex>;

/// Both directions of a boxed stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

impl Stream for BoxedStream {
    type Read = ReadHalf<Self>;
    type Write = WriteHalf<Self>;

    fn split(self) -> (Self::Read, Self::Write) {
        tokio::io::split(self)
    }
}
