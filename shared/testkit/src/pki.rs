//! Certificates for tests, in files.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// A CA that signs whatever it is asked to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// One that nobody knows yet.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        // A certificate that has its CA's name passes for one that has signed itself.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("CA {number} of test {}", std::process::id());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, pem })
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate of this name, as it goes over the wire.
    pub fn der(&self, name: &str) -> Result<Vec<u8>> {
        let params = CertificateParams::new([name.to_owned()])?;
        let certificate = params.signed_by(&KeyPair::generate()?, &self.issuer)?;
        Ok(certificate.der().to_vec())
    }

    /// Writes `cert`, `key` and `ca` into a folder: a certificate of this name, good for loopback.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        self.sign(folder, CertificateParams::new([name.to_owned()])?)
    }

    /// The same, of a certificate that was good for a while, years ago.
    pub fn write_expired(&self, folder: &Path, name: &str) -> Result<()> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(folder, params)
    }

    /// A folder of such files, for whoever has this name.
    pub fn folder(&self, name: &str) -> Result<TempDir> {
        let folder = tempfile::tempdir()?;
        self.write(folder.path(), name)?;
        Ok(folder)
    }

    fn sign(&self, folder: &Path, mut params: CertificateParams) -> Result<()> {
        let loopback = SanType::IpAddress(IpAddr::from([127, 0, 0, 1]));
        params.subject_alt_names.push(loopback);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        std::fs::write(folder.join("ca"), &self.pem)?;
        std::fs::write(folder.join("key"), key.serialize_pem())?;
        std::fs::write(folder.join("cert"), certificate.pem())?;
        Ok(())
    }
}
