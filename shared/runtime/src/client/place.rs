//! What an address says: where one process is, or where many are found.

use super::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tonic::transport::Uri;

/// Where a service is called, whatever process answers: what a request's authority says, and what
/// a certificate has to be for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Origin {
    /// Whether it is called over TLS.
    pub(crate) tls: bool,
    /// The host as the setting has it, without brackets: a name stays a name.
    pub(crate) host: Box<str>,
    /// The port.
    pub(crate) port: u16,
}

/// One address of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// One process, here.
    Fixed(Arc<Origin>, SocketAddr),
    /// As many as the name has addresses.
    Named(Arc<Origin>),
    /// As many as the file has lines.
    Listed(PathBuf),
}

impl Place {
    /// Reads the addresses of a setting, which are separated by commas.
    pub(super) fn all(setting: &'static str, addresses: &str) -> Result<Vec<Self>, Error> {
        let texts = addresses
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty());
        let places: Vec<_> = texts
            .map(|text| {
                Self::parse(text).ok_or_else(|| Error::Malformed {
                    setting,
                    address: text.to_owned(),
                })
            })
            .collect::<Result<_, _>>()?;
        if places.is_empty() {
            return Err(Error::Empty { setting });
        }
        Ok(places)
    }

    /// Its endpoint, where it can have no other.
    pub(super) fn fixed(&self) -> Option<(Arc<Origin>, SocketAddr)> {
        match self {
            Self::Fixed(origin, address) => Some((origin.clone(), *address)),
            Self::Named(_) | Self::Listed(_) => None,
        }
    }

    /// Where it is called, if that is over TLS.
    pub(super) fn secure(&self) -> Option<&Arc<Origin>> {
        match self {
            Self::Fixed(origin, _) | Self::Named(origin) => Some(origin).filter(|at| at.tls),
            Self::Listed(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("file://") {
            return path.starts_with('/').then(|| Self::Listed(path.into()));
        }
        let text = match text.strip_prefix("dns:///") {
            Some(name) => format!("http://{name}"),
            None => text.to_owned(),
        };
        let uri: Uri = text.parse().ok()?;
        let (tls, usual) = match uri.scheme_str()? {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(usual);
        let origin = Arc::new(Origin {
            tls,
            host: host.into(),
            port,
        });
        Some(match host.parse::<IpAddr>() {
            Ok(ip) => Self::Fixed(origin, SocketAddr::new(ip, port)),
            Err(_) => Self::Named(origin),
        })
    }
}

impl Origin {
    /// Where a process at this address is called that has no name.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self {
            tls: false,
            host: address.ip().to_string().into(),
            port: address.port(),
        }
    }

    /// As a URL.
    pub(super) fn uri(&self) -> Option<Uri> {
        self.to_string().parse().ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(origin, _) | Self::Named(origin) => origin.fmt(f),
            Self::Listed(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Place {
        Place::parse(text).expect(text)
    }

    #[test]
    fn names_are_found_anew_and_numbers_are_not() {
        for (text, shown) in [
            ("http://profiles:7101", "http://profiles:7101"),
            (
                "dns:///profiles.shop.svc:7101",
                "http://profiles.shop.svc:7101",
            ),
            ("https://profiles", "https://profiles:443"),
        ] {
            let place = parsed(text);
            assert!(matches!(place, Place::Named(_)), "{text}");
            assert_eq!(place.to_string(), shown);
        }
        for text in ["http://127.0.0.2:7101", "https://[::1]:7101"] {
            let Place::Fixed(_, address) = parsed(text) else {
                panic!("{text} is one process");
            };
            assert!(text.ends_with(&address.to_string()));
        }
        assert_eq!(
            parsed("file:///run/peers"),
            Place::Listed("/run/peers".into())
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "host:1",
            "b c",
            "ftp://host:1",
            "file://peers",
            "dns:///",
            "http://",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }
}
