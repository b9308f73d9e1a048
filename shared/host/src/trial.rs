//! What services test themselves with: a database of either engine for a test of its own, and
//! replicas on it that are reached through real ports, in this process and on one hub.

use crate::error::told;
use crate::host::Host;
use crate::parts::Parts;
use crate::service::Service;
use anyhow::{Context as _, Result, anyhow, ensure};
use larder::remote::Remote;
use larder_proto::cache::v1::cache_service_client::CacheServiceClient;
use larder_runtime::client::{self, Client};
use larder_runtime::config::Address;
use larder_testkit::postgres;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

/// How long a state is waited for.
pub const SOON: Duration = Duration::from_secs(15);

/// Runs each of these on a SQLite file and on a PostgreSQL server; each is an
/// `async fn(Home) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() -> anyhow::Result<()> {
                super::$test($crate::trial::Home::sqlite()?).await
            }
        )*}
        mod on_postgres {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() -> anyhow::Result<()> {
                super::$test($crate::trial::Home::postgres()?).await
            }
        )*}
    };
}

/// The suite's database of one test.
pub enum Home {
    /// A folder.
    Sqlite(TempDir),
    /// A server.
    Postgres(postgres::Database),
}

impl Home {
    /// An empty folder.
    pub fn sqlite() -> Result<Self> {
        Ok(Self::Sqlite(tempfile::tempdir()?))
    }

    /// A name of its own on the server that the tests of this process share.
    pub fn postgres() -> Result<Self> {
        Ok(Self::Postgres(postgres::fresh_database()?))
    }

    /// Its address.
    pub fn address(&self) -> Address {
        let text = match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().display()),
            Self::Postgres(database) => database.url(),
        };
        text.parse().expect("a URL")
    }

    /// Runs SQL in the database of a service, in a process that knows nothing of us.
    pub fn by_hand(&self, service: &str, sql: &str) -> Result<String> {
        match self {
            Self::Sqlite(folder) => {
                let output = Command::new("sqlite3")
                    .args(["-bail", "-cmd", ".timeout 10000"])
                    .arg(folder.path().join(format!("{service}.db")))
                    .arg(sql)
                    .output();
                let output = output.context("apt-get install sqlite3")?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(output.status.success(), "sqlite3: {said}");
                Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
            }
            Self::Postgres(database) => {
                let name = database.name();
                database.psql(&format!("\\connect {name}_{service}\n{sql}"))
            }
        }
    }

    /// Runs SQL while the table's triggers are missing, so that no journal tells of it, and puts
    /// them back as they were.
    pub fn behind_the_journal(&self, service: &str, table: &str, sql: &str) -> Result<()> {
        let script = match self {
            Self::Sqlite(_) => {
                let of =
                    format!("FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table}'");
                let drop = format!("SELECT 'DROP TRIGGER ' || name || ';' {of}");
                let create = format!("SELECT sql || ';' {of}");
                let (drop, create) = (
                    self.by_hand(service, &drop)?,
                    self.by_hand(service, &create)?,
                );
                format!("BEGIN IMMEDIATE; {drop}\n{sql};\n{create}\nCOMMIT;")
            }
            Self::Postgres(_) => {
                let each = |what: &str| {
                    format!(
                        "FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass \
                         AND NOT tgisinternal LOOP \
                         EXECUTE format('ALTER TABLE {table} {what} TRIGGER %I', t.tgname); END LOOP;"
                    )
                };
                let (off, on) = (each("DISABLE"), each("ENABLE ALWAYS"));
                format!("DO $$ DECLARE t record; BEGIN {off} {sql}; {on} END $$")
            }
        };
        self.by_hand(service, &script).map(drop)
    }

    /// What a service on this database is started with.
    pub fn parts(&self, remote: &Arc<impl Remote>) -> Parts {
        Parts::new(remote.clone(), self.address())
    }
}

/// A service that runs.
pub struct Replica {
    /// Where gRPC is.
    pub grpc: SocketAddr,
    /// Where the admin port is.
    pub admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), crate::Error>>,
}

impl Replica {
    /// Starts a service, and waits for nothing.
    pub async fn start<S: Service>(service: S, parts: Parts) -> Result<Self> {
        let host = Host::bind(service, parts).await?;
        let (grpc, admin) = (host.grpc_address()?, host.admin_address()?);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(host.serve(async {
            let _ = stopped.await;
        }));
        Ok(Self {
            grpc,
            admin,
            stop: Some(stop),
            running,
        })
    }

    /// Starts a service and waits until it is ready.
    pub async fn ready<S: Service>(service: S, parts: Parts) -> Result<Self> {
        let replica = Self::start(service, parts).await?;
        let ready = async || {
            replica
                .admin("/ready")
                .await
                .is_ok_and(|(status, _)| status == 200)
        };
        larder_testkit::wait_until("a replica that is ready", SOON, ready).await?;
        Ok(replica)
    }

    /// The way to it.
    pub fn client(&self) -> Client {
        let limits = client::Limits {
            call: SOON,
            ..client::Limits::default()
        };
        Client::new("test", &format!("http://{}", self.grpc), limits).expect("an address")
    }

    /// The way to its cache.
    pub fn operator(&self) -> CacheServiceClient<Client> {
        let limits = client::Limits {
            call: SOON,
            ..client::Limits::default()
        };
        let admin = format!("http://{}", self.admin);
        CacheServiceClient::new(Client::new("test", &admin, limits).expect("an address"))
    }

    /// What the admin port answers on a path: its status and its text.
    pub async fn admin(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let (_, text) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        Ok((status.context("no HTTP")?, text.to_owned()))
    }

    /// Asks it to end and waits for that.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.take();
        self.end().await
    }

    /// Waits until it ends by itself; the error says with all its causes why it did.
    pub async fn end(&mut self) -> Result<()> {
        let ended = tokio::time::timeout(SOON, &mut self.running).await;
        ended
            .context("it does not end")??
            .map_err(|error| anyhow!(told(&error)))
    }
}

/// A request with this metadata.
pub fn asking<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request
            .metadata_mut()
            .append(*name, value.parse().expect("ASCII"));
    }
    request
}

/// What an answer's metadata says.
pub fn said<'a>(metadata: &'a MetadataMap, name: &str) -> &'a str {
    metadata
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The reason in an error's `ErrorInfo`.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

/// The fields in an error's `BadRequest`.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| &bad.field_violations);
    violations
        .into_iter()
        .flatten()
        .map(|violation| violation.field.clone())
        .collect()
}

/// When an error's `RetryInfo` says to try again.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info()?.retry_delay
}
