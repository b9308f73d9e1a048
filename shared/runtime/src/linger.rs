//! A connection that ends lets its peer read to the end.
//!
//! A server that closes a connection while something comes in that it does not read any more has
//! the kernel reset it, and a reset throws away what the peer has not read yet: answers, and the
//! GOAWAY that says which calls nobody began to work on. Those calls would end without a word of
//! what became of them, and a write that nobody began could not be made elsewhere:
//!
//! 1. a call and the acknowledgement of a first GOAWAY are on their way, the call behind;
//! 2. the server hears of the acknowledgement, says which call was its last, and closes;
//! 3. the call arrives at a closed connection, which is reset, and the peer never reads (2).
//!
//! So a [`Lingering`] connection says that it is at its end, and then reads until its peer closes,
//! for a bounded time. Test: `connections_that_end_by_age_fail_no_call`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// How long a peer may take to close after us.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much is read at once, to be thrown away.
const CHUNK: usize = 4096;

/// A stream that reads to the end once it is shut down.
#[derive(Debug)]
pub struct Lingering<T> {
    stream: T,
    /// Since our end was said.
    ending: Option<Pin<Box<Sleep>>>,
}

impl<T> Lingering<T> {
    /// Lingers when `stream` is shut down.
    pub fn new(stream: T) -> Self {
        Self {
            stream,
            ending: None,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ending.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let patience = || Box::pin(tokio::time::sleep(PATIENCE));
        let over = this.ending.get_or_insert_with(patience);
        loop {
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; CHUNK];
            let mut buf = ReadBuf::new(&mut chunk);
            // A peer that is gone has read what it wanted.
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<T: Connected> Connected for Lingering<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> T::ConnectInfo {
        self.stream.connect_info()
    }
}
