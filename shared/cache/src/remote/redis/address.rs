//! Addresses of the remote tier. No error repeats an address: there may be a password in it.

use crate::remote::{Error, Trust};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use std::time::Duration;

/// What an address asks for.
pub(super) enum Address {
    Single(ConnectionInfo),
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        /// Settings for the primary; its address is not known yet.
        primary: ConnectionInfo,
    },
    Cluster {
        seeds: Vec<ConnectionInfo>,
        replica_reads: bool,
    },
}

const SINGLE: &str = "redis://[user:password@]host[:port][/db]";
const SENTINEL: &str = "redis-sentinel://[user:password@]host[:port],…/name[?db=0]";
const CLUSTER: &str = "redis-cluster://[user:password@]host[:port],…[?replica_reads=no]";

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        match scheme {
            "redis-sentinel" => sentinel("redis", rest),
            "rediss-sentinel" => sentinel("rediss", rest),
            "redis-cluster" => cluster("redis", rest),
            "rediss-cluster" => cluster("rediss", rest),
            _ => connection(url, SINGLE).map(Self::Single),
        }
        .map_err(|wrong| Error::Address(format!("{} was expected: {}", wrong.expected, wrong.why)))
    }

    /// The same, met with these certificates.
    pub(super) fn trusting(self, trust: &Trust) -> Result<Self, Error> {
        if trust.is_default() {
            return Ok(self);
        }
        let all = |infos: Vec<ConnectionInfo>| -> Result<Vec<ConnectionInfo>, Error> {
            infos.into_iter().map(|info| trust.applied(info)).collect()
        };
        Ok(match self {
            Self::Single(info) => Self::Single(trust.applied(info)?),
            Self::Sentinel {
                sentinels,
                master,
                primary,
            } => Self::Sentinel {
                sentinels: all(sentinels)?,
                master,
                primary: trust.applied(primary)?,
            },
            Self::Cluster {
                seeds,
                replica_reads,
            } => Self::Cluster {
                seeds: all(seeds)?,
                replica_reads,
            },
        })
    }

    /// For logs: hosts and ports, and neither user nor password.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Single(info) => match info.redis_settings().db() {
                0 => format!("{}://{}", scheme(info), info.addr()),
                db => format!("{}://{}/{db}", scheme(info), info.addr()),
            },
            Self::Sentinel {
                sentinels, master, ..
            } => listed("sentinel", sentinels) + "/" + master,
            Self::Cluster { seeds, .. } => listed("cluster", seeds),
        }
    }
}

/// The same way of connecting, to somewhere else.
pub(super) fn elsewhere(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn scheme(info: &ConnectionInfo) -> &'static str {
    match info.addr() {
        ConnectionAddr::TcpTls { .. } => "rediss",
        _ => "redis",
    }
}

fn listed(kind: &str, infos: &[ConnectionInfo]) -> String {
    let scheme = infos.first().map_or("redis", scheme);
    let hosts: Vec<_> = infos.iter().map(|info| info.addr().to_string()).collect();
    format!("{scheme}-{kind}://{}", hosts.join(","))
}

/// What was expected of an address, and what is wrong with it.
struct Wrong {
    expected: &'static str,
    why: String,
}

fn wrong(expected: &'static str, why: impl Into<String>) -> Wrong {
    let why = why.into();
    Wrong { expected, why }
}

fn sentinel(scheme: &str, rest: &str) -> Result<Address, Wrong> {
    let wrong = |why: &str| wrong(SENTINEL, why);
    let parts = Parts::of(rest, SENTINEL)?;
    let mut db = "0";
    let (mut user, mut password) = ("", "");
    for (option, value) in &parts.options {
        match *option {
            "db" => db = value,
            "sentinel_user" => user = value,
            "sentinel_password" => password = value,
            other => return Err(unknown(SENTINEL, other)),
        }
    }
    let master = match parts.path {
        "" => return Err(wrong("the name of the primary is missing")),
        name if name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) =>
        {
            name
        }
        _ => return Err(wrong("the name of the primary is none")),
    };
    if db.parse::<u32>().is_err() {
        return Err(wrong("db is no number"));
    }
    let login = match (user, password) {
        ("", "") => String::new(),
        (user, password) => format!("{user}:{password}@"),
    };
    let sentinels = parts
        .hosts(26379)
        .map(|host| connection(&format!("{scheme}://{login}{host}"), SENTINEL))
        .collect::<Result<_, _>>()?;
    // The address stands for one that sentinels will name.
    let primary = format!("{scheme}://{}any:6379/{db}", parts.login);
    Ok(Address::Sentinel {
        sentinels,
        master: master.to_owned(),
        primary: connection(&primary, SENTINEL)?,
    })
}

fn cluster(scheme: &str, rest: &str) -> Result<Address, Wrong> {
    let parts = Parts::of(rest, CLUSTER)?;
    let mut replica_reads = true;
    for (option, value) in &parts.options {
        replica_reads = match (*option, *value) {
            ("replica_reads", "yes") => true,
            ("replica_reads", "no") => false,
            ("replica_reads", _) => return Err(wrong(CLUSTER, "replica_reads is yes or no")),
            (other, _) => return Err(unknown(CLUSTER, other)),
        };
    }
    if !parts.path.is_empty() {
        return Err(wrong(CLUSTER, "a cluster has neither a name nor databases"));
    }
    let seeds = parts
        .hosts(6379)
        .map(|host| connection(&format!("{scheme}://{}{host}", parts.login), CLUSTER))
        .collect::<Result<_, _>>()?;
    Ok(Address::Cluster {
        seeds,
        replica_reads,
    })
}

/// `user:password@host,host/path?option=value&…`, taken apart.
struct Parts<'a> {
    /// With its `@`; empty when there is none.
    login: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str, expected: &'static str) -> Result<Self, Wrong> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = authority.rfind('@').map_or(0, |at| at + 1);
        let (login, hosts) = authority.split_at(hosts);
        if hosts.is_empty() {
            return Err(wrong(expected, "there is no host"));
        }
        if query.contains('@') {
            // Most likely the rest of a password: it is not looked at, and not shown.
            return Err(wrong(expected, "a ? or & in a password must be encoded"));
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Ok(Self {
            login,
            hosts: hosts.split(',').collect(),
            path: path.trim_end_matches('/'),
            options: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .collect(),
        })
    }

    fn hosts(&self, port: u16) -> impl Iterator<Item = String> {
        self.hosts.iter().map(move |host| {
            // The last part of an IPv6 address without a port looks like one.
            let is_whole = host.ends_with(']') || !host.contains(':');
            match is_whole && !host.is_empty() {
                true => format!("{host}:{port}"),
                false => (*host).to_owned(),
            }
        })
    }
}

fn unknown(expected: &'static str, option: &str) -> Wrong {
    wrong(expected, format!("there is no option {option:?}"))
}

/// What one address says, with our own settings of the connection.
fn connection(url: &str, expected: &'static str) -> Result<ConnectionInfo, Wrong> {
    let info = url
        .into_connection_info()
        .map_err(|error| wrong(expected, error.detail().unwrap_or("it cannot be read")))?;
    // TLS needs a provider of cryptography, and nobody may have chosen one yet. If somebody has,
    // theirs stays.
    if url.starts_with("rediss:") {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(2))
        .with_interval(Duration::from_secs(1));
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(Duration::from_secs(3));
    // The older protocol: every server and every proxy speaks it, and nothing here needs more.
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP2);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn error(url: &str) -> String {
        match Address::parse(url) {
            Ok(address) => panic!("{url} was understood as {}", address.name()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_has_hosts_and_ports_and_no_secrets() {
        for (url, name) in [
            ("redis://:hush@a", "redis://a:6379"),
            ("rediss://ada:hush@a:1/2", "rediss://a:1/2"),
            (
                "redis-sentinel://ada:hush@a,b:1/main?db=2&sentinel_password=hush",
                "redis-sentinel://a:26379,b:1/main",
            ),
            (
                "rediss-sentinel://a/main/",
                "rediss-sentinel://a:26379/main",
            ),
            ("redis-cluster://:hush@a,b:1", "redis-cluster://a:6379,b:1"),
            (
                "redis-cluster://[::1],[::1]:1",
                "redis-cluster://::1:6379,::1:1",
            ),
            (
                "rediss-cluster://a/?replica_reads=no",
                "rediss-cluster://a:6379",
            ),
        ] {
            assert_eq!(parse(url).name(), name);
        }
    }

    #[test]
    fn a_sentinel_has_a_login_of_its_own() {
        let url =
            "redis-sentinel://ada:h%40sh@a,b/main?db=2&sentinel_user=s&sentinel_password=p%3F";
        let Address::Sentinel {
            sentinels, primary, ..
        } = parse(url)
        else {
            panic!("no sentinel")
        };
        for sentinel in sentinels {
            let settings = sentinel.redis_settings();
            assert_eq!(settings.username(), Some("s"));
            assert_eq!(settings.password(), Some("p?"));
            assert_eq!(settings.db(), 0);
        }
        let settings = primary.redis_settings();
        assert_eq!(settings.username(), Some("ada"));
        assert_eq!(settings.password(), Some("h@sh"));
        assert_eq!(settings.db(), 2);
    }

    #[test]
    fn each_node_of_a_cluster_has_the_login_and_the_encryption() {
        let Address::Cluster {
            seeds,
            replica_reads,
        } = parse("rediss-cluster://:hush@a,b:1?replica_reads=yes")
        else {
            panic!("no cluster")
        };
        assert!(replica_reads);
        for seed in seeds {
            assert_eq!(seed.redis_settings().password(), Some("hush"));
            let other = elsewhere(seed.addr(), "c".to_owned(), 2);
            assert!(
                matches!(other, ConnectionAddr::TcpTls { ref host, port: 2, .. } if host == "c")
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, why) in [
            ("redis-sentinel:///main", "there is no host"),
            ("redis-sentinel://a", "the name of the primary is missing"),
            (
                "redis-sentinel://a/main?dbb=1",
                "there is no option \"dbb\"",
            ),
            ("redis-sentinel://a/main?db=one", "db is no number"),
            ("redis-cluster://", "there is no host"),
            ("redis-cluster://a/main", "neither a name nor databases"),
            ("redis-cluster://a?db=1", "there is no option \"db\""),
            (
                "redis-cluster://a?replica_reads=1",
                "replica_reads is yes or no",
            ),
            ("redis-cluster://:hu?sh@a", "must be encoded"),
        ] {
            let error = error(url);
            assert!(error.contains(why), "{url}: {error}");
            assert!(error.contains("was expected"), "{url}: {error}");
        }
    }
}
