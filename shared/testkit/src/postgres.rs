//! Private PostgreSQL servers, and one that the tests of a process share.

mod template;

use crate::port::Port;
use crate::process::{Process, Program, Signal};
use crate::{program, wait_blocking};
use anyhow::{Context, Result, bail};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;

/// Starts a server of its own.
pub fn start() -> Result<Postgres> {
    Setup::default().start()
}

/// A new, empty database on the server that the tests of this process share. The server starts
/// with the first and ends with the last of them.
pub fn fresh_database() -> Result<Database> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let server = {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.upgrade() {
            Some(server) => Postgres(server),
            None => {
                let started = start()?;
                *shared = Arc::downgrade(&started.0);
                started
            }
        }
    };
    server.fresh_database()
}

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    settings: Vec<(String, String)>,
    durable: bool,
    certificates: Option<PathBuf>,
}

impl Setup {
    /// Adds a setting, as in `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits for the disk as a real server does. Otherwise it does not: commits survive the end
    /// of the server, however it comes, but not that of the machine.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Speaks TLS, also, with the files `cert` and `key` of this folder: see
    /// [`Authority`](crate::pki::Authority).
    pub fn certificates(mut self, folder: &Path) -> Self {
        self.certificates = Some(folder.to_owned());
        self.setting("ssl", "on")
    }

    /// Starts it and waits until it takes connections.
    pub fn start(self) -> Result<Postgres> {
        let certificates = self.certificates.clone();
        let server = Server::reserve(self)?;
        template::copy_to(&server.data())?;
        if let Some(folder) = certificates {
            for (file, name) in [("cert", "server.crt"), ("key", "server.key")] {
                let own = server.data().join(name);
                std::fs::copy(folder.join(file), &own)?;
                std::fs::set_permissions(&own, Permissions::from_mode(0o600))?;
                template::give_away(&own)?;
            }
        }
        server.run()?;
        Ok(Postgres(Arc::new(server)))
    }
}

/// A server on a loopback port of its own; it ends with the last clone and the last [`Database`].
#[derive(Clone, Debug)]
pub struct Postgres(Arc<Server>);

impl Postgres {
    /// The address of its own database, `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of the database `name`.
    pub fn url_of(&self, name: &str) -> String {
        url(self.address(), name)
    }

    /// The loopback address it listens at, also while it is stopped.
    pub fn address(&self) -> SocketAddr {
        self.0.port.address()
    }

    /// A new, empty database. It stays until the server ends.
    pub fn fresh_database(&self) -> Result<Database> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.psql(&format!("CREATE DATABASE {name}"))?;
        Ok(Database {
            server: self.clone(),
            name,
        })
    }

    /// Runs SQL in the database `postgres`, as [`Database::psql`] does.
    pub fn psql(&self, sql: &str) -> Result<String> {
        psql(&self.url(), sql)
    }

    /// Ends it and all its sessions at once, without a checkpoint: the next start recovers as
    /// after a crash.
    pub fn stop(&self) -> Result<()> {
        // SIGKILL would leave the sessions running for a moment, and in the next start's way.
        match self.0.running().take() {
            Some(process) => process
                .signal(Signal::QUIT)
                .and_then(|()| process.end())
                .map(drop),
            None => Ok(()),
        }
    }

    /// Stops it if it runs, and starts it with its data on the same port.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.0.run()
    }

    /// SIGSTOP: it accepts connections and answers none of them. Sessions that exist go on.
    pub fn pause(&self) -> Result<()> {
        self.0.running().as_ref().context("it is stopped")?.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.0.running().as_ref().context("it is stopped")?.resume()
    }

    /// A standby that follows this server, read-only until [`Postgres::promote`].
    pub fn standby(&self) -> Result<Postgres> {
        let standby = Server::reserve(self.0.setup.clone())?;
        Program::new(program::find(&["pg_basebackup"], INSTALL)?)
            .user(template::user())
            .args([
                "--write-recovery-conf",
                "--wal-method=stream",
                "--checkpoint=fast",
            ])
            .args(["--no-sync", "--dbname", &self.url(), "--pgdata"])
            .arg(standby.data())
            .run()?;
        standby.run()?;
        Ok(Postgres(Arc::new(standby)))
    }

    /// Makes a standby a primary, and waits until it is one.
    pub fn promote(&self) -> Result<()> {
        self.psql("SELECT pg_promote()").map(drop)
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        self.0
            .running()
            .as_ref()
            .map(Process::log)
            .unwrap_or_default()
    }
}

/// A database of a test's own. Its server lives at least as long.
#[derive(Clone, Debug)]
pub struct Database {
    server: Postgres,
    name: String,
}

impl Database {
    /// Its address.
    pub fn url(&self) -> String {
        self.server.url_of(&self.name)
    }

    /// Its address for clients that come through a proxy at `address`.
    pub fn url_through(&self, address: SocketAddr) -> String {
        url(address, &self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// Runs SQL through `psql`, as a person at a terminal would: each statement commits by
    /// itself. Rows stand on lines, their columns between `|`; the first error ends it.
    pub fn psql(&self, sql: &str) -> Result<String> {
        psql(&self.url(), sql)
    }
}

fn url(address: SocketAddr, name: &str) -> String {
    format!("postgres://postgres@{address}/{name}")
}

fn psql(url: &str, sql: &str) -> Result<String> {
    let input = tempfile::NamedTempFile::new()?;
    std::fs::write(input.path(), sql)?;
    let printed = Program::new(program::find(&["psql"], INSTALL)?)
        .args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            url,
            "-f",
        ])
        .arg(input.path())
        .run()?;
    Ok(printed.trim_end().to_owned())
}

const INSTALL: &str = "apt-get install postgresql, or brew install postgresql";

#[derive(Debug)]
struct Server {
    setup: Setup,
    // Before the folder and the port, which must outlive it.
    running: Mutex<Option<Process>>,
    folder: TempDir,
    port: Port,
}

impl Server {
    fn reserve(setup: Setup) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("larder-postgres-")
            .tempdir()?;
        template::give_away(folder.path())?;
        Ok(Self {
            setup,
            running: Mutex::new(None),
            folder,
            port: Port::reserve()?,
        })
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn run(&self) -> Result<()> {
        let data = self.data();
        let mut program = Program::new(program::find(&["postgres"], INSTALL)?)
            .user(template::user())
            .arg("-D")
            .arg(&data)
            .folder(&data)
            .log(self.folder.path().join("log"))
            .farewell(Signal::INT, Duration::from_secs(10))
            .orphaned("QUIT");
        for (name, value) in self.settings() {
            program = program.arg("-c").arg(format!("{name}={value}"));
        }
        let process = program.spawn()?;
        wait_blocking("connections to postgres", Duration::from_secs(30), || {
            if !process.is_alive() {
                bail!("postgres has ended; its log:\n{}", process.log());
            }
            // The eighth line is what pg_ctl looks at too.
            let status = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let ready = status
                .lines()
                .nth(7)
                .is_some_and(|l| matches!(l.trim(), "ready"));
            Ok(ready && status.starts_with(&format!("{}\n", process.id())))
        })?;
        *self.running() = Some(process);
        Ok(())
    }

    fn settings(&self) -> Vec<(String, String)> {
        let port = self.port.number().to_string();
        let mut settings = vec![
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            // In the data folder, so that nothing is left in /dev/shm after a SIGKILL.
            ("dynamic_shared_memory_type", "mmap"),
            ("max_connections", "200"),
            ("shared_buffers", "64MB"),
        ];
        if !self.setup.durable {
            settings.extend([("fsync", "off"), ("full_page_writes", "off")]);
        }
        let settings = settings
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()));
        settings
            .chain(self.setup.settings.iter().cloned())
            .collect()
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
