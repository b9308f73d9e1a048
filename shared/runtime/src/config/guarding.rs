//! By what a process is known, whom it believes, and who may call it.

use super::{Shown, listen_address};
use clap::Args;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The files of TLS, in PEM. They are read again when they change.
#[derive(Args, Clone, Default, Debug)]
pub struct Certificates {
    /// Certificate of this process, and behind it the certificates that lead to its CA. With it and
    /// its key all gRPC ports and the admin port speak TLS, and it is shown to whoever is called.
    #[arg(long, env = "LARDER_TLS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, env = "LARDER_TLS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,
    /// Certificates of the CAs that are believed. Whoever is called over https must show a certificate
    /// of theirs, and so must whoever calls a port that speaks TLS.
    #[arg(long, env = "LARDER_TLS_CA", value_name = "FILE", global = true)]
    pub tls_ca: Option<PathBuf>,
}

impl Certificates {
    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        shown
            .line("tls-cert", path(self.tls_cert.as_deref()))
            .line("tls-key", path(self.tls_key.as_deref()))
            .line("tls-ca", path(self.tls_ca.as_deref()))
    }
}

/// Who may look into a process and change what it has cached.
#[derive(Args, Clone, Default, Debug)]
pub struct Operators {
    /// Who may call the cache service of the admin port: names from client certificates, separated
    /// by commas [default: nobody where certificates are checked].
    #[arg(
        long,
        env = "LARDER_ADMIN_CALLERS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub admin_callers: Vec<Name>,
    /// The file of a token that opens the admin port's cache service to whoever shows it as
    /// `authorization: Bearer`; at least 16 bytes.
    #[arg(long, env = "LARDER_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

impl Operators {
    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        shown
            .line("admin-callers", listed(&self.admin_callers))
            .line("admin-token-file", path(self.admin_token_file.as_deref()))
    }
}

/// Who may call a service.
#[derive(Args, Clone, Default, Debug)]
pub struct Guarding {
    /// Who may call: names from client certificates, separated by commas [default: nobody where
    /// certificates are checked, everybody elsewhere].
    #[arg(
        long,
        env = "LARDER_CALLERS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub callers: Vec<Name>,
    /// Address of a port without TLS that answers gRPC health checks and nothing else, for probes
    /// that have no certificate [default: none].
    #[arg(long, env = "LARDER_HEALTH_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub health_addr: Option<SocketAddr>,
}

impl Guarding {
    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let health = self.health_addr;
        let health = health.map_or("none".to_owned(), |address| address.to_string());
        shown
            .line("callers", listed(&self.callers))
            .line("health-addr", health)
    }
}

/// By what a certificate's owner is known: the first label of a DNS name, or the last part of a
/// SPIFFE id's path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(String);

/// Why a text is no name of a caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a name of letters, digits, `-`, `_` and `.`")]
pub struct NotName;

/// No name is longer.
const LONGEST: usize = 253;

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotName;

    fn from_str(text: &str) -> Result<Self, NotName> {
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(proper);
        fits.then(|| Self(text.to_owned())).ok_or(NotName)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn listed(names: &[Name]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.iter().map(Name::as_str).collect::<Vec<_>>().join(","),
    }
}

fn path(path: Option<&Path>) -> String {
    path.map_or("none".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_nothing_that_a_pattern_or_a_list_could_be_made_of() {
        for name in ["gateway", "sa-1", "a_b", "svc.local"] {
            assert_eq!(name.parse::<Name>().expect(name).as_str(), name);
        }
        for wrong in ["", "*", "a b", "a/b", "a,b", &"a".repeat(254)] {
            assert_eq!(wrong.parse::<Name>(), Err(NotName), "{wrong}");
        }
    }
}
