//! What reads the bytes of others, for those who throw any at it: see `fuzz/`. No promise to anybody
//! else.

use crate::deadline;
use crate::tls::Identity;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;

/// A certificate: a name in it is one that a policy can hold.
pub fn certificate(der: &[u8]) {
    let identity = Identity::of(&CertificateDer::from(der));
    if let Some(name) = identity.name() {
        let name = name.as_str();
        assert_eq!(name.parse().as_ref(), Ok(identity.name().expect("above")));
        assert!(!name.contains(['*', '/', ',', ' ']), "{name}");
    }
}

/// How long a caller waits.
pub fn timeout(value: &[u8]) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(HeaderName::from_static("grpc-timeout"), value);
        let _ = deadline::timeout(&headers);
    }
}
