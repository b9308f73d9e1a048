//! Whose a certificate is.

use crate::config::Name;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Who showed a certificate that was found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    name: Option<Name>,
}

impl Identity {
    /// Somebody of this name.
    pub fn named(name: Name) -> Self {
        Self { name: Some(name) }
    }

    /// Whose a certificate is. One certificate has one name: the last part of its SPIFFE id's path,
    /// and where it has no such id, the first label of its first DNS name. That others follow
    /// makes it reachable by those, and nobody else's.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self {
            name: name(certificate),
        }
    }

    /// The name; `None` where the certificate says none that can be used.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }
}

fn name(certificate: &CertificateDer<'_>) -> Option<Name> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let names = || names.value.general_names.iter();
    let mut spiffe = names().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    });
    if let Some(id) = spiffe.next() {
        let (_, path) = id.split_once('/')?;
        // A second one would leave it to the order whose the certificate is.
        return match spiffe.next() {
            None => path.rsplit('/').next()?.parse().ok(),
            Some(_) => None,
        };
    }
    let mut hosts = names().filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host),
        _ => None,
    });
    hosts.next()?.split('.').next()?.parse().ok()
}

/// When a certificate expires, in seconds of Unix time.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    fn named(names: &[SanType]) -> Option<String> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let identity = Identity::of(certificate.der());
        identity.name().map(ToString::to_string)
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().expect("a name"))
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().expect("a name"))
    }

    #[test]
    fn one_certificate_has_one_name() {
        for (names, expected) in [
            (
                vec![dns("gateway.larder.svc"), dns("operator")],
                Some("gateway"),
            ),
            (vec![dns("comments")], Some("comments")),
            (
                vec![uri("spiffe://larder/ns/shop/sa/reports")],
                Some("reports"),
            ),
            (
                vec![dns("operator"), uri("spiffe://larder/gateway")],
                Some("gateway"),
            ),
            (
                vec![uri("https://operator/operator"), dns("gateway")],
                Some("gateway"),
            ),
            (
                vec![uri("spiffe://larder/a"), uri("spiffe://larder/b")],
                None,
            ),
            (vec![uri("spiffe://operator")], None),
            (vec![uri("spiffe://larder/"), dns("operator")], None),
            (vec![dns("*.larder.svc"), dns("operator")], None),
            (vec![], None),
        ] {
            assert_eq!(named(&names).as_deref(), expected, "{names:?}");
        }
    }
}
