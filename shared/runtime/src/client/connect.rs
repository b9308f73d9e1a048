//! A connection to one endpoint, and the word when it ends.

use super::peer::Peer;
use super::place::Origin;
use crate::connection::Connection;
use crate::tls::{Dial, Tls};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Connects to a process of this origin, over TLS where that says so. The caller bounds how long
/// that takes.
pub(super) async fn connect(
    origin: &Origin,
    address: SocketAddr,
    tls: Option<&Tls>,
) -> io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    // Without it calls are late, not wrong.
    _ = stream.set_nodelay(true);
    if !origin.tls {
        return Ok(Connection::plain(stream, address));
    }
    let uri = origin.uri().unwrap_or_default();
    let dial = Dial::to(&uri, tls).map_err(io::Error::other)?;
    dial.secure(stream).await
}

/// A connection whose endpoint hears of its end, even when no call is under way: the next call
/// then goes elsewhere at once.
pub(super) struct Noticed<S> {
    stream: S,
    peer: Weak<Peer>,
}

impl<S> Noticed<S> {
    pub(super) fn new(stream: S, peer: Weak<Peer>) -> Self {
        Self { stream, peer }
    }
}

impl<S> Drop for Noticed<S> {
    fn drop(&mut self) {
        if let Some(peer) = self.peer.upgrade() {
            peer.leave();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noticed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noticed<S> {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
