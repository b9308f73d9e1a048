//! TLS of every link between processes: who this process is, and whom it believes.
//!
//! [`Tls`] holds what the files of [`Certificates`] say, and reads them anew when they change:
//! `material.rs` makes configurations of them, `identity.rs` says whose a certificate is.
//! [`Dial`] is the way out, [`Incoming`](crate::incoming::Incoming) the way in.
//!
//! Only TLS 1.3 is spoken: all ends are ours or recent, and there a client's certificate is not
//! shown to whoever listens. A configuration is taken for each handshake, so what was read last
//! counts for every connection made afterwards. No session is resumed: who is believed, and until
//! when a certificate holds, is asked each time.

mod dial;
mod identity;
mod material;

pub use dial::{Dial, Untrusted};
pub use identity::Identity;

use crate::config::Certificates;
use crate::exposition::{Metric, Page};
use crate::tasks::Tasks;
use material::Material;
use rustls::{ClientConfig, ServerConfig};
use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

const EXPIRY: Metric = Metric::gauge(
    "larder_certificate_expiry_timestamp_seconds",
    "When the certificates in use expire.",
);
const RELOADS: Metric = Metric::counter(
    "larder_certificate_reloads_total",
    "Changed certificates that are used.",
);
const RELOAD_FAILURES: Metric = Metric::counter(
    "larder_certificate_reload_failures_total",
    "Changed certificates that cannot be used.",
);
const HANDSHAKES: Metric =
    Metric::counter("larder_tls_handshakes_total", "Handshakes with callers.");

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate without its key, or a key without its certificate.
    #[error("{there} is set and {missing} is not")]
    Half {
        /// The setting that is there.
        there: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("{setting}: {path} cannot be read")]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What a file holds is not what it should.
    #[error("{setting}: {path} {why}")]
    Malformed {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The files cannot be used together, such as a key of another certificate.
    #[error("{setting} cannot be used")]
    Unusable {
        /// The settings.
        setting: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// Whether it is about the CA, and not about the certificate of this process.
    fn is_of_ca(&self) -> bool {
        let setting = match self {
            Self::Half { there, .. } => there,
            Self::Unreadable { setting, .. }
            | Self::Malformed { setting, .. }
            | Self::Unusable { setting, .. } => setting,
        };
        *setting == material::CA
    }
}

/// What certificates are for, in metrics: to be shown to others, and to know others by.
const PURPOSES: [&str; 2] = ["own", "ca"];

/// What a port that speaks TLS is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// gRPC: where there is a CA, a certificate of it is demanded.
    Calls,
    /// The admin port: a certificate is looked at where one is shown, and probes have none.
    Admin,
}

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handshake {
    Done,
    Failed,
    Late,
    Crowded,
}

/// The certificates of this process. Clones are of the same process.
#[derive(Clone)]
pub struct Tls(Arc<Held>);

struct Held {
    files: Certificates,
    material: RwLock<Arc<Material>>,
    reloads: AtomicU64,
    /// Of the own certificate, and of the CA.
    failures: [AtomicU64; 2],
    handshakes: [AtomicU64; 4],
}

impl Tls {
    /// Reads the files; `None` where none are named.
    pub fn open(files: &Certificates) -> Result<Option<Self>, Error> {
        let Some(contents) = material::read(files)? else {
            return Ok(None);
        };
        let material = Material::of(files, contents)?;
        material.announce("certificates were read");
        Ok(Some(Self(Arc::new(Held {
            files: files.clone(),
            material: RwLock::new(Arc::new(material)),
            reloads: AtomicU64::new(0),
            failures: Default::default(),
            handshakes: Default::default(),
        }))))
    }

    /// Looks at the files every few seconds, until the tasks are closed.
    pub fn watch(&self, tasks: &Tasks) {
        self.watch_every(LOOK_EVERY, tasks);
    }

    /// The same, as often as this.
    pub fn watch_every(&self, interval: Duration, tasks: &Tasks) {
        let (tls, stopping) = (self.clone(), tasks.stopping().clone());
        tasks.spawn("certificates", async move {
            let mut seen = Seen::default();
            let pause = || tokio::time::sleep(interval);
            while stopping.run_until_cancelled(pause()).await.is_some() {
                tls.look(&mut seen);
            }
        });
    }

    /// Whether this process can be called over TLS.
    pub fn serves(&self) -> bool {
        self.0.files.tls_cert.is_some()
    }

    /// Whether it knows its callers by their certificates.
    pub fn knows_callers(&self) -> bool {
        self.serves() && self.0.files.tls_ca.is_some()
    }

    /// Whether it shows a certificate to those it calls.
    pub fn shows_itself(&self) -> bool {
        self.serves()
    }

    /// For a handshake with a caller; `None` without a certificate of one's own.
    pub(crate) fn server(&self, purpose: Purpose) -> Option<Arc<ServerConfig>> {
        let material = self.material();
        match purpose {
            Purpose::Calls => material.calls.clone(),
            Purpose::Admin => material.admin.clone(),
        }
    }

    /// For a handshake with somebody called; `None` without a CA.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.material().client.clone()
    }

    pub(crate) fn count(&self, handshake: Handshake) {
        self.0.handshakes[handshake as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How things are, for `/metrics`.
    pub fn measure(&self, page: &mut Page) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let material = self.material();
        page.metric(EXPIRY);
        let expiries = [material.expiry, material.ca_expiry];
        for (purpose, at) in PURPOSES.iter().zip(expiries) {
            if let Some(at) = at {
                page.add(EXPIRY, &[("purpose", purpose)], at as f64);
            }
        }
        for (purpose, failures) in PURPOSES.iter().zip(&self.0.failures) {
            page.count(RELOAD_FAILURES, &[("purpose", purpose)], count(failures));
        }
        page.count(RELOADS, &[], count(&self.0.reloads));
        let outcomes = ["done", "failed", "late", "crowded"];
        for (outcome, counter) in outcomes.iter().zip(&self.0.handshakes) {
            page.count(HANDSHAKES, &[("outcome", outcome)], count(counter));
        }
    }

    fn material(&self) -> Arc<Material> {
        let material = self.0.material.read();
        material.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what the files say now. What cannot be used is said once, and what was used before
    /// is used on: a certificate and its key are seldom replaced at one stroke.
    fn look(&self, seen: &mut Seen) {
        let (files, before) = (&self.0.files, self.material());
        let read = material::read(files);
        if let Ok(Some(contents)) = &read
            && before.is_of(contents)
        {
            *seen = Seen::default();
            return;
        }
        let made = read.and_then(|contents| {
            contents
                .map(|contents| Material::of(files, contents))
                .transpose()
        });
        match made {
            Ok(Some(material)) => {
                *seen = Seen::default();
                self.0.reloads.fetch_add(1, Ordering::Relaxed);
                material.announce("certificates have changed");
                let mut held = self
                    .0
                    .material
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *held = Arc::new(material);
            }
            Ok(None) => {}
            Err(error) => self.failed(&error, seen),
        }
    }

    fn failed(&self, error: &Error, seen: &mut Seen) {
        let cause = error.source().map(ToString::to_string);
        let why = format!("{error} {}", cause.unwrap_or_default());
        match std::mem::replace(seen, Seen(Some(why.clone()))) {
            // It was so a moment ago already, and is no matter of a file half written.
            Seen(Some(before)) if before == why => {}
            _ => {
                let purpose = usize::from(error.is_of_ca());
                self.0.failures[purpose].fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    error = error as &dyn StdError,
                    "changed certificates cannot be used; those from before are used on"
                );
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

/// What was wrong with the files when they were last looked at, so that it is said once.
#[derive(Default)]
struct Seen(Option<String>);
