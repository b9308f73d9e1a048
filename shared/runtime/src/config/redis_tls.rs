//! Whom a process believes to be Redis, and by what it is known there.

use super::Shown;
use clap::Args;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The files of TLS to Redis, in PEM. They are read once, at the start.
#[derive(Args, Clone, Default, Debug)]
pub struct RedisTls {
    /// Certificates of the CAs of which Redis, and its sentinels, must show one [default: those that
    /// this machine believes].
    #[arg(long, env = "REDIS_CA", value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,
    /// Certificate that is shown to Redis, where it demands one.
    #[arg(long, env = "REDIS_CERT", value_name = "FILE", requires = "redis_key")]
    pub redis_cert: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, env = "REDIS_KEY", value_name = "FILE", requires = "redis_cert")]
    pub redis_key: Option<PathBuf>,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {} cannot be read", path.display())]
pub struct Unreadable {
    /// The setting that names it.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// What the files hold.
#[derive(Default)]
pub struct RedisPem {
    /// Certificates of CAs.
    pub ca: Option<Vec<u8>>,
    /// An own certificate, and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

/// No file of ours is longer.
const MOST_BYTES: u64 = 1 << 20;

impl RedisTls {
    /// Reads the files.
    pub fn read(&self) -> Result<RedisPem, Unreadable> {
        let ca = self.redis_ca.as_deref();
        let own = match (&self.redis_cert, &self.redis_key) {
            (Some(cert), Some(key)) => Some((
                read("--redis-cert (REDIS_CERT)", cert)?,
                read("--redis-key (REDIS_KEY)", key)?,
            )),
            _ => None,
        };
        Ok(RedisPem {
            ca: ca.map(|ca| read("--redis-ca (REDIS_CA)", ca)).transpose()?,
            own,
        })
    }

    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let path = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map_or("none".to_owned(), |path| path.display().to_string())
        };
        shown
            .line("redis-ca", path(&self.redis_ca))
            .line("redis-cert", path(&self.redis_cert))
            .line("redis-key", path(&self.redis_key))
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(source) => Err(Unreadable {
            setting,
            path: path.to_owned(),
            source,
        }),
    }
}
