//! Processes, and the lists of those that should be called.

use anyhow::{Context as _, Result};
use larder_testkit::port::Port;
use larder_testkit::process::{Process, Program, Signal};
use larder_testkit::{postgres, redis};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a replica may take to be ready on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// Longer than any drain.
const GRACE: Duration = Duration::from_secs(40);

/// What a process is a replica of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// Who people are.
    Profiles,
    /// What is for sale.
    Products,
    /// What people say about it.
    Comments,
    /// What was sold.
    Reports,
    /// HTTP.
    Gateway,
}

impl Part {
    /// All of them, in the order in which they can be started.
    pub const ALL: [Self; 5] = [
        Self::Profiles,
        Self::Products,
        Self::Comments,
        Self::Reports,
        Self::Gateway,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Profiles => "profiles",
            Self::Products => "products",
            Self::Comments => "comments",
            Self::Reports => "reports",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How processes are started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) binary: PathBuf,
    /// Further settings of every process.
    pub(crate) args: Vec<String>,
    /// Further settings of all but the gateway.
    pub(crate) of_services: Vec<String>,
}

/// A process, and where it is.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) part: Part,
    port: Port,
    admin: Port,
    process: Process,
}

impl Replica {
    /// SIGTERM, and waits for its end: how long that took.
    pub(crate) async fn drain(self: Arc<Self>) -> Result<Duration> {
        let begun = Instant::now();
        let ended = tokio::task::spawn_blocking(move || self.process.end()).await??;
        anyhow::ensure!(ended.success(), "a replica ended with {ended}");
        Ok(begun.elapsed())
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) -> Result<()> {
        self.process.kill().map(drop)
    }
}

/// All processes, their servers, and the lists.
pub(crate) struct Fleet {
    // Processes end before their servers.
    replicas: Mutex<Vec<Arc<Replica>>>,
    start: Start,
    folder: TempDir,
    redis: redis::Redis,
    pub(crate) postgres: postgres::Postgres,
}

impl Fleet {
    /// The servers, and nobody in any list.
    pub(crate) fn new(start: Start) -> Result<Self> {
        let fleet = Self {
            replicas: Mutex::default(),
            start,
            folder: tempfile::Builder::new()
                .prefix("larder-rolling-")
                .tempdir()?,
            redis: redis::start()?,
            postgres: postgres::start()?,
        };
        Part::ALL
            .into_iter()
            .try_for_each(|part| fleet.tell(part))?;
        Ok(fleet)
    }

    /// Starts a replica, and lists it once it is ready.
    pub(crate) async fn add(&self, part: Part) -> Result<Arc<Replica>> {
        let replica = Arc::new(self.launch(part)?);
        let ready = replica.process.wait_ready(replica.admin.address(), READY);
        ready.await?;
        self.lock().push(replica.clone());
        self.tell(part)?;
        Ok(replica)
    }

    /// Takes a replica off its list.
    pub(crate) fn remove(&self, replica: &Arc<Replica>) -> Result<()> {
        self.lock().retain(|other| !Arc::ptr_eq(other, replica));
        self.tell(replica.part)
    }

    /// Those that are listed.
    pub(crate) fn of(&self, part: Part) -> Vec<Arc<Replica>> {
        let all = self.lock();
        all.iter().filter(|one| one.part == part).cloned().collect()
    }

    /// Where those are that are listed.
    pub(crate) fn addresses(&self, part: Part) -> Vec<SocketAddr> {
        let all = self.of(part);
        all.iter().map(|one| one.port.address()).collect()
    }

    /// The list of a service, as an address for whoever calls it.
    pub(crate) fn way_to(&self, part: Part) -> String {
        format!("file://{}", self.list(part, "").display())
    }

    fn launch(&self, part: Part) -> Result<Replica> {
        let (port, admin) = (Port::reserve()?, Port::reserve()?);
        let mut args = vec!["serve".to_owned(), part.name().to_owned()];
        let mut set = |flag: &str, value: String| args.push(format!("{flag}={value}"));
        set("--embedded", "deny".to_owned());
        set("--remote", self.redis.url());
        set("--admin-addr", admin.address().to_string());
        match part {
            Part::Gateway => {
                set("--http-addr", port.address().to_string());
                for of in Part::ALL.into_iter().filter(|of| *of != Part::Gateway) {
                    set(&format!("--{of}"), self.way_to(of));
                    let admin = format!("file://{}", self.list(of, "-admin").display());
                    set(&format!("--{of}-admin"), admin);
                }
            }
            _ => {
                set("--grpc-addr", port.address().to_string());
                // Without a name, so that each service has a database of its own.
                let at = self.postgres.address();
                set("--database", format!("postgres://postgres@{at}/"));
            }
        }
        match part {
            Part::Comments => set("--profiles", self.way_to(Part::Profiles)),
            Part::Reports => set("--products", self.way_to(Part::Products)),
            _ => {}
        }
        let own = match part {
            // It caches nothing that could be warm.
            Part::Gateway => &[][..],
            _ => &self.start.of_services,
        };
        let program = Program::new(&self.start.binary).args(args);
        let program = program.args(&self.start.args).args(own);
        let process = program.farewell(Signal::TERM, GRACE).spawn()?;
        Ok(Replica {
            part,
            port,
            admin,
            process,
        })
    }

    fn list(&self, part: Part, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("{part}{suffix}"))
    }

    /// Writes the lists of a service anew.
    fn tell(&self, part: Part) -> Result<()> {
        let all = self.of(part);
        let lines = |address: fn(&Replica) -> SocketAddr| -> String {
            all.iter()
                .map(|one| format!("{}\n", address(one)))
                .collect()
        };
        replace(&self.list(part, ""), &lines(|one| one.port.address()))?;
        replace(
            &self.list(part, "-admin"),
            &lines(|one| one.admin.address()),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Replica>>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file so that whoever reads it sees the old one or the new one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("writing {}", path.display()))
}
