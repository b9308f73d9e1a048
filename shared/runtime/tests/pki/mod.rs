//! Certificates for tests, in files.

use larder_runtime::config::Certificates;
use larder_runtime::tls::Tls;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::Path;
use tempfile::TempDir;

/// A CA that signs whatever it is asked to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// Writes a certificate of this name, good for loopback, and the CA into a folder.
    pub fn write(&self, folder: &Path, name: &str, expired: bool) {
        let hosts = [name, "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(hosts).expect("names");
        let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
        params
            .subject_alt_names
            .push(rcgen::SanType::IpAddress(loopback));
        if expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(folder.join("ca"), &self.pem).expect("written");
        std::fs::write(folder.join("key"), key.serialize_pem()).expect("written");
        std::fs::write(folder.join("cert"), certificate.pem()).expect("written");
    }

    /// A folder of such files.
    pub fn folder(&self, name: &str) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        self.write(folder.path(), name, false);
        folder
    }

    pub fn tls(&self, name: &str) -> Tls {
        tls(self.folder(name).path())
    }
}

pub fn files(folder: &Path) -> Certificates {
    Certificates {
        tls_cert: Some(folder.join("cert")),
        tls_key: Some(folder.join("key")),
        tls_ca: Some(folder.join("ca")),
    }
}

pub fn tls(folder: &Path) -> Tls {
    let tls = Tls::open(&files(folder)).expect("usable");
    tls.expect("named")
}

/// Whoever believes this CA and has nothing to show.
pub fn nobody(authority: &Authority) -> Tls {
    let folder = authority.folder("nobody");
    let certificates = Certificates {
        tls_ca: Some(folder.path().join("ca")),
        ..Certificates::default()
    };
    let tls = Tls::open(&certificates).expect("usable");
    tls.expect("named")
}
