//! A connection, plain or over TLS, and who is at its other end.

use crate::bounds::Bounds;
use crate::places::{Place, Places};
use crate::stall::Stall;
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
    /// Of a caller: ends it when nothing comes or goes.
    stall: Option<Stall>,
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
            stall: None,
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
        Self {
            stream: Stream::Tls(Box::new(stream.into())),
            peer,
            stall: None,
        }
    }

    /// One whose handshake with somebody called is done.
    pub(crate) fn dialled(stream: tokio_rustls::client::TlsStream<TcpStream>) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream.into())),
            peer: Peer::default(),
            stall: None,
        }
    }

    /// The same, with a place among the connections of its port, which it has until it is dropped.
    pub(crate) fn placed(self, place: Place, bounds: &Bounds) -> Self {
        let stall = Some(Stall::new(place, bounds));
        Self { stall, ..self }
    }

    /// The places that it has one of.
    pub(crate) fn places(&self) -> Option<Places> {
        self.stall.as_ref().map(Stall::places)
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
        match &mut $connection.stream {
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

impl Connection {
    /// The outcome of a write, or an error where the peer has taken nothing for too long.
    fn taken_in_time<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match &mut self.stall {
            None => outcome,
            Some(stall) => stall.written(outcome, cx),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let outcome = stream!(this, stream => stream.poll_read(cx, buf));
        match &mut this.stall {
            None => outcome,
            Some(stall) => stall.read(outcome, buf.filled().len() - before, cx),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = stream!(self, stream => stream.poll_write(cx, bytes));
        self.taken_in_time(outcome, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = stream!(self, stream => stream.poll_flush(cx));
        self.taken_in_time(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = stream!(self, stream => stream.poll_shutdown(cx));
        self.taken_in_time(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = stream!(self, stream => stream.poll_write_vectored(cx, slices));
        self.taken_in_time(outcome, cx)
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
