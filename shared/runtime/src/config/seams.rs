//! The two seams: the remote tier and the database.

use super::{Address, RedisTls};
use clap::{Args, ValueEnum};

/// Settings that contradict each other or what is there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// `--embedded deny`, and yet a seam is embedded.
    #[error("{setting} is {address}, which is embedded, and --embedded (LARDER_EMBEDDED) is deny")]
    Embedded {
        /// The setting of the seam.
        setting: &'static str,
        /// What it is.
        address: Address,
    },
}

/// What is behind the two seams, the remote tier and the database.
#[derive(Args, Clone, Debug)]
pub struct Seams {
    /// The shared tier: `hub:` inside this process, `redis://host`, `redis-sentinel://a,b,c/name`,
    /// or `redis-cluster://a,b,c`; with `rediss` for `redis` over TLS.
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        default_value = "hub:",
        hide_env_values = true
    )]
    pub remote: Address,
    /// Whom it believes to be Redis.
    #[command(flatten)]
    pub redis_tls: RedisTls,
    /// The database: `sqlite://folder`, `postgres://`; with `?sslmode=verify-full&sslrootcert=FILE`
    /// over TLS, to whoever has a certificate of its name and of that CA.
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite://larder-data",
        hide_env_values = true
    )]
    pub database: Address,
    /// Whether a seam may be embedded in this process; with `deny` the start fails if one is.
    #[arg(long, env = "LARDER_EMBEDDED", value_enum, default_value_t = Embedded::Allow)]
    pub embedded: Embedded,
}

/// Whether seams may be embedded.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Embedded {
    /// A laptop.
    Allow,
    /// Production.
    Deny,
}

impl Seams {
    /// Fails if a seam is embedded and must not be. To be called before anything is opened.
    pub fn check(&self) -> Result<(), Error> {
        let seams = [
            ("--remote (REDIS_URL)", &self.remote, "hub"),
            ("--database (DATABASE_URL)", &self.database, "sqlite"),
        ];
        let embedded = seams
            .into_iter()
            .find(|(_, address, own)| address.scheme() == *own);
        match (self.embedded, embedded) {
            (Embedded::Deny, Some((setting, address, _))) => Err(Error::Embedded {
                setting,
                address: address.clone(),
            }),
            _ => Ok(()),
        }
    }
}
