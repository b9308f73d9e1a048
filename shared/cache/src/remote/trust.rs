//! Whom to believe to be the remote tier, and what to show it.

use super::Error;
use redis::{Client, ClientTlsConfig, ConnectionInfo, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Certificates of a link over TLS, in PEM. Without any, the other end is believed where one of the
/// CAs that this machine believes has signed its certificate.
#[derive(Clone, Default)]
pub struct Trust {
    /// Of the CAs that are believed, instead of the machine's.
    pub ca: Option<Vec<u8>>,
    /// What is shown to a server that demands it: a certificate, and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Trust {
    /// Whether nothing is said.
    pub(in crate::remote) fn is_default(&self) -> bool {
        self.ca.is_none() && self.own.is_none()
    }

    /// Fails where a CA is expected and there is none: nobody would be believed.
    pub(in crate::remote) fn check(&self) -> Result<(), Error> {
        let Some(ca) = &self.ca else {
            return Ok(());
        };
        match CertificateDer::pem_slice_iter(ca).next() {
            Some(Ok(_)) => Ok(()),
            _ => Err(Error::Address("the CA's file holds no certificate".into())),
        }
    }

    /// The same server, met with these certificates.
    pub(in crate::remote) fn applied(&self, info: ConnectionInfo) -> Result<ConnectionInfo, Error> {
        let own = self.own.as_ref();
        let certificates = TlsCertificates {
            client_tls: own.map(|(cert, key)| ClientTlsConfig {
                client_cert: cert.clone(),
                client_key: key.clone(),
            }),
            root_cert: self.ca.clone(),
        };
        let client = Client::build_with_tls(info, certificates).map_err(|error| {
            let why = error
                .detail()
                .map_or_else(|| error.to_string(), str::to_owned);
            Error::Address(format!("the certificates cannot be used: {why}"))
        })?;
        Ok(client.get_connection_info().clone())
    }
}

impl std::fmt::Debug for Trust {
    /// Says what is there, and no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust")
            .field("ca", &self.ca.is_some())
            .field("own", &self.own.is_some())
            .finish()
    }
}
