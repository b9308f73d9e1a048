//! The way to those who are called: TLS where the address says https, plain TCP where it says
//! http.

use super::Tls;
use crate::connection::Connection;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

/// An address that asks for TLS where nobody can be believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{address} is https, and --tls-ca (LARDER_TLS_CA) names nobody to believe")]
pub struct Untrusted {
    /// The address.
    pub address: String,
}

/// A channel to an endpoint, which connects when it is first needed: over TLS where its address
/// is https.
pub fn channel(endpoint: Endpoint, tls: Option<&Tls>) -> Result<Channel, Untrusted> {
    let address = endpoint.uri().clone();
    if address.scheme() != Some(&Scheme::HTTPS) {
        return Ok(endpoint.connect_lazy());
    }
    Ok(endpoint.connect_with_connector_lazy(Dial::to(&address, tls)?))
}

/// Connects over TLS, for the transport. What the certificates say when it does so counts.
#[derive(Clone, Debug)]
pub struct Dial {
    tls: Tls,
    name: ServerName<'static>,
}

impl Dial {
    /// To whoever has a certificate for the host of this address.
    pub fn to(address: &Uri, tls: Option<&Tls>) -> Result<Self, Untrusted> {
        let untrusted = || Untrusted {
            address: address.to_string(),
        };
        let tls = tls
            .filter(|tls| tls.client().is_some())
            .ok_or_else(untrusted)?;
        let name = ServerName::try_from(host(address).to_owned()).map_err(|_| untrusted())?;
        Ok(Self {
            tls: tls.clone(),
            name,
        })
    }

    /// Makes a connection that exists one over TLS.
    pub async fn secure(&self, stream: TcpStream) -> io::Result<Connection> {
        let config = self.tls.client();
        let config = config.ok_or_else(|| io::Error::other("there is no CA to believe"))?;
        let connector = TlsConnector::from(config);
        let stream = connector.connect(self.name.clone(), stream).await;
        let stream = stream.inspect_err(|error| {
            tracing::debug!(server.name = ?self.name, error = %error, "no TLS with a server");
        })?;
        Ok(Connection::dialled(stream))
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Connection>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The address says where to connect; whose certificate is good for it was said before.
    fn call(&mut self, address: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let port = address.port_u16().unwrap_or(443);
            let stream = TcpStream::connect((host(&address), port)).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(dial.secure(stream).await?))
        })
    }
}

/// The host of an address, without the brackets of IPv6.
fn host(address: &Uri) -> &str {
    let host = address.host().unwrap_or_default();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}
