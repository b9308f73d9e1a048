//! Many replies of a connection leave in one system call.
//!
//! HTTP/2 writes frame by frame, and for small replies the system calls cost more than all the
//! rest. [`Coalesced`] gathers what is written and lets it go the next time its connection's
//! task runs, which the flush itself brings about: by then the other tasks that were ready have
//! run, and their replies go along.
//!
//! A caller alone on its connection would wait for that turn and gain nothing. So a stream begins
//! by letting everything pass, gathers once more flushes than one reply needs come between two
//! reads, and stops when gathering has long brought nothing.
//!
//! Invariant: as long as bytes are kept, either the task that flushed them has been woken, or
//! the stream below has its waker and calls when it takes more. Whoever is woken polls one of
//! reading, flushing or shutting down, as every HTTP connection does, and thereby lets go of
//! what is kept.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// More than this is never kept: four frames of the largest size that clients usually allow.
pub const LIMIT: usize = 64 * 1024;

/// One reply is flushed up to so many times.
const FLUSHES: u32 = 3;
/// When gathering so often brought no more than one reply, it is given up.
const LONE: u32 = 32;

/// A stream that gathers writes.
#[derive(Debug)]
pub struct Coalesced<T: AsyncWrite + Unpin> {
    stream: T,
    /// Written to us, and not yet below from `sent` on. Never longer than [`LIMIT`].
    kept: Vec<u8>,
    sent: usize,
    /// The stream below took no more when last asked, and calls when it does.
    blocked: bool,
    /// Writes wait for company.
    gathers: bool,
    /// Something was written since the last flush, and ever.
    unflushed: bool,
    begun: bool,
    /// Flushes of something since something was last read, or, where writes are gathered, last
    /// handed down.
    flushes: u32,
    /// Times in a row that gathering brought nothing.
    lone: u32,
    /// What went wrong where it could not be said, because nobody was writing.
    failed: Option<io::Error>,
}

impl<T: AsyncWrite + Unpin> Coalesced<T> {
    /// Gathers what is written to `stream`.
    pub fn new(stream: T) -> Self {
        Self {
            stream,
            kept: Vec::new(),
            sent: 0,
            blocked: false,
            gathers: false,
            unflushed: false,
            begun: false,
            flushes: 0,
            lone: 0,
            failed: None,
        }
    }

    fn is_clear(&self) -> bool {
        self.kept.is_empty() && !self.blocked
    }

    /// Counts a flush, if there is something to flush.
    fn flushed(&mut self) {
        if std::mem::take(&mut self.unflushed) {
            self.flushes += 1;
            if !self.gathers && self.flushes > FLUSHES {
                (self.gathers, self.lone) = (true, 0);
            }
        }
    }

    /// What was gathered is written.
    fn gathered(&mut self) {
        let lone = self.gathers && self.flushes <= FLUSHES;
        self.lone = if lone { self.lone + 1 } else { 0 };
        self.gathers &= self.lone < LONE;
        self.flushes = 0;
    }

    fn failure(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Hands down all that is kept. After a failure nothing is kept any more.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_clear() {
            return Poll::Ready(Ok(()));
        }
        let outcome = self.poll_hand_down(cx);
        self.blocked = outcome.is_pending();
        if outcome.is_ready() {
            self.kept.clear();
            self.sent = 0;
        }
        outcome
    }

    fn poll_hand_down(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.kept.len() {
            let rest = &self.kept[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Coalesced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gathers && !self.kept.is_empty() {
            self.gathered();
        }
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            self.failed = Some(error);
        }
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.gathers && buf.filled().len() > before {
            self.flushes = 0;
        }
        // A peer that takes nothing may have sent something before: first that, then the error.
        // It must be said here when nothing comes, for there may be nobody who writes.
        match (outcome, self.failed.take()) {
            (Poll::Pending, Some(error)) => Poll::Ready(Err(error)),
            (outcome, failed) => {
                self.failed = failed;
                outcome
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Coalesced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.failure()?;
        (self.unflushed, self.begun) = (true, true);
        if !self.gathers || self.kept.len() + bytes.len() > LIMIT {
            ready!(self.poll_drain(cx))?;
        }
        if !self.gathers || bytes.len() > LIMIT {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        self.kept.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Promises to flush: see the module's invariant.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.failure()?;
        self.flushed();
        if self.kept.is_empty() || self.blocked || !self.gathers {
            // Also the stream's own flush, of what went past us.
            ready!(self.poll_drain(cx))?;
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        // To wake a task that is awake already is a check of one flag, and so not worth
        // remembering; a wake that was remembered wrongly would be a reply that never leaves.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.failure()?;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gathers {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[][..], |slice| slice));
        }
        self.failure()?;
        (self.unflushed, self.begun) = (true, true);
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    /// Where writes are gathered, one piece is as good as many. HTTP/2 asks once at the beginning,
    /// too, and would then write every frame from 256 bytes alone; it is told no, and puts smaller
    /// replies together itself.
    fn is_write_vectored(&self) -> bool {
        self.begun && !self.gathers && self.stream.is_write_vectored()
    }
}

impl<T: AsyncWrite + Unpin> Drop for Coalesced<T> {
    /// A connection that ends in an error is dropped without a shutdown. What was promised to it
    /// is offered to the stream once more; nobody can wait for it here.
    fn drop(&mut self) {
        _ = self.poll_drain(&mut Context::from_waker(Waker::noop()));
    }
}

impl<T: Connected + AsyncWrite + Unpin> Connected for Coalesced<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> T::ConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
