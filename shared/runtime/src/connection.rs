//! A connection, plain or over TLS, and who is at its other end.

use crate::tls::Identity;
use rustls::pki_types::CertificateDer;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

/// Who is at the other end of a connection: an extension of each of its requests.
#[derive(Clone, Default, Debug)]
pub struct Peer {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Who it is, where it has shown a certificate that was found good.
    pub identity: Option<Arc<Identity>>,
}

/// A connection.
pub struct Connection {
    stream: Stream,
    peer: Peer,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// One without TLS.
    pub(crate) fn plain(stream: TcpStream, address: SocketAddr) -> Self {
        let peer = Peer {
            address: Some(address),
            identity: None,
        };
        Self {
            stream: Stream::Plain(stream),
            peer,
        }
    }

    /// One whose handshake with a caller is done.
    pub(crate) fn taken(
        stream: tokio_rustls::server::TlsStream<TcpStream>,
        address: SocketAddr,
    ) -> Self {
        let shown = stream.get_ref().1.peer_certificates();
        let identity = identity(shown.unwrap_or_default());
        let peer = Peer {
            address: Some(address),
            identity,
        };
        let stream = Stream::Tls(Box::new(stream.into()));
        Self { stream, peer }
    }

    /// One whose handshake with somebody called is done.
    pub(crate) fn dialled(stream: tokio_rustls::client::TlsStream<TcpStream>) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream.into())),
            peer: Peer::default(),
        }
    }

    /// Who is at its other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

fn identity(shown: &[CertificateDer<'_>]) -> Option<Arc<Identity>> {
    shown.first().map(|own| Arc::new(Identity::of(own)))
}

/// Hands a call on to the stream.
macro_rules! stream {
    ($connection:expr, $stream:ident => $call:expr) => {
        match &mut $connection.get_mut().stream {
            Stream::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        stream!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        stream!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}
