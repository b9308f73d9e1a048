//! The way to those who are called over TLS.

use super::Tls;
use crate::connection::Connection;
use http::Uri;
use rustls::pki_types::ServerName;
use std::io;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An address that asks for TLS where nobody can be believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{address} is https, and --tls-ca (LARDER_TLS_CA) names nobody to believe")]
pub struct Untrusted {
    /// The address.
    pub address: String,
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

/// The host of an address, without the brackets of IPv6.
fn host(address: &Uri) -> &str {
    let host = address.host().unwrap_or_default();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}
