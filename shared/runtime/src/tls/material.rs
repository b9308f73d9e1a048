//! What the files hold, and what TLS makes of it.

use super::{Error, identity};
use crate::config::Certificates;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

const CERT: &str = "--tls-cert (LARDER_TLS_CERT)";
const KEY: &str = "--tls-key (LARDER_TLS_KEY)";
pub(super) const CA: &str = "--tls-ca (LARDER_TLS_CA)";

/// No file of ours is longer.
const MOST_BYTES: u64 = 1 << 20;

/// The bytes of the files, as far as they are named.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    own: Option<Own>,
    ca: Option<Vec<u8>>,
}

#[derive(PartialEq, Eq)]
struct Own {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// The bytes of the files; `None` where none is named.
pub(super) fn read(files: &Certificates) -> Result<Option<Contents>, Error> {
    let half = |there, missing| Error::Half { there, missing };
    let own = match (&files.tls_cert, &files.tls_key) {
        (Some(cert), Some(key)) => Some(Own {
            cert: bytes(CERT, cert)?,
            key: bytes(KEY, key)?,
        }),
        (Some(_), None) => return Err(half(CERT, KEY)),
        (None, Some(_)) => return Err(half(KEY, CERT)),
        (None, None) => None,
    };
    let ca = files
        .tls_ca
        .as_deref()
        .map(|ca| bytes(CA, ca))
        .transpose()?;
    let named = own.is_some() || ca.is_some();
    Ok(named.then_some(Contents { own, ca }))
}

fn bytes(setting: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    match length <= MOST_BYTES {
        true => std::fs::read(path).map_err(unreadable),
        false => Err(malformed(setting, path, "is too long to be PEM of ours")),
    }
}

fn malformed(setting: &'static str, path: &Path, why: &'static str) -> Error {
    let path = path.to_owned();
    Error::Malformed { setting, path, why }
}

/// What handshakes are made with.
pub(super) struct Material {
    contents: Contents,
    /// Of callers, with certificates demanded where there is a CA.
    pub calls: Option<Arc<ServerConfig>>,
    /// Of callers, who need none.
    pub admin: Option<Arc<ServerConfig>>,
    /// With those called.
    pub client: Option<Arc<ClientConfig>>,
    /// When the first certificate of the own chain expires, in seconds of Unix time.
    pub expiry: Option<i64>,
    /// The same of the CAs: the last of them, for the first may be on its way out.
    pub ca_expiry: Option<i64>,
    identity: Option<identity::Identity>,
}

impl Material {
    pub fn of(files: &Certificates, contents: Contents) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let own = match (&contents.own, &files.tls_cert, &files.tls_key) {
            (Some(own), Some(cert), Some(key)) => {
                Some((chain(&own.cert, CERT, cert)?, secret(&own.key, key)?))
            }
            _ => None,
        };
        let ca = match (&contents.ca, &files.tls_ca) {
            (Some(ca), Some(path)) => Some(chain(ca, CA, path)?),
            _ => None,
        };
        let roots = ca.as_ref().map(|ca| roots(ca)).transpose()?;
        let own = own.as_ref();
        let server = |demand, protocols: &[&str]| {
            own.map(|own| server(&provider, own, roots.as_ref(), demand, protocols))
                .transpose()
        };
        Ok(Self {
            calls: server(true, &["h2"])?,
            admin: server(false, &["h2", "http/1.1"])?,
            client: match &roots {
                Some(roots) => Some(client(&provider, own, roots)?),
                None => None,
            },
            expiry: own.and_then(|(chain, _)| chain.iter().filter_map(identity::expiry).min()),
            ca_expiry: ca.iter().flatten().filter_map(identity::expiry).max(),
            identity: own.and_then(|(chain, _)| chain.first().map(identity::Identity::of)),
            contents,
        })
    }

    /// Whether it was made of these.
    pub fn is_of(&self, contents: &Contents) -> bool {
        self.contents == *contents
    }

    pub fn announce(&self, what: &'static str) {
        let name = self.identity.as_ref().and_then(identity::Identity::name);
        tracing::info!(
            tls.name = name.map(|name| name.as_str()),
            tls.expiry = self.expiry,
            tls.ca_expiry = self.ca_expiry,
            "{what}"
        );
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn chain(
    pem: &[u8],
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |why| malformed(setting, path, why);
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| wrong("is not PEM"))?;
    match chain.iter().all(|one| identity::expiry(one).is_some()) {
        true if !chain.is_empty() => Ok(chain),
        true => Err(wrong("holds no certificate")),
        false => Err(wrong("holds something else than certificates")),
    }
}

fn secret(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let wrong = |_| malformed(KEY, path, "holds no key in PEM");
    PrivateKeyDer::from_pem_slice(pem).map_err(wrong)
}

fn roots(ca: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for one in ca {
        roots
            .add(one.clone())
            .map_err(|source| unusable(CA, source))?;
    }
    Ok(Arc::new(roots))
}

fn server(
    provider: &Arc<CryptoProvider>,
    (chain, key): &Pair,
    roots: Option<&Arc<RootCertStore>>,
    demand: bool,
    protocols: &[&str],
) -> Result<Arc<ServerConfig>, Error> {
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| unusable(CERT, source))?;
    let config = match roots {
        None => config.with_no_client_auth(),
        Some(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
            let verifier = match demand {
                true => verifier.build(),
                false => verifier.allow_unauthenticated().build(),
            };
            config.with_client_cert_verifier(verifier.map_err(|source| unusable(CA, source))?)
        }
    };
    let config = config.with_single_cert(chain.clone(), key.clone_key());
    let mut config = config.map_err(|source| unusable(CERT, source))?;
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client(
    provider: &Arc<CryptoProvider>,
    own: Option<&Pair>,
    roots: &Arc<RootCertStore>,
) -> Result<Arc<ClientConfig>, Error> {
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| unusable(CA, source))?
        .with_root_certificates(roots.clone());
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some((chain, key)) => config
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|source| unusable(CERT, source))?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn unusable(
    setting: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    let source = Box::new(source);
    Error::Unusable { setting, source }
}
