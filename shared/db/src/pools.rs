//! The connections of either engine: how each is set up before it is lent.

use crate::conn::Conn;
use crate::{Error, Options};
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgPool, SqlitePool,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reading and writing have connections of their own: writers who wait for each other's locks
/// take none from the readers, and a reader that tries to write is refused by the engine.
pub(crate) enum Pools {
    Sqlite {
        path: PathBuf,
        reads: SqlitePool,
        writes: SqlitePool,
    },
    Postgres {
        address: Box<PgConnectOptions>,
        reads: PgPool,
        writes: PgPool,
    },
}

/// A connection idle for longer is asked whether it still lives before it is lent; one that was
/// busy a moment ago is trusted, which spares each statement a trip to the server.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

impl Pools {
    pub(crate) async fn sqlite(path: PathBuf, options: &Options) -> Result<Self, Error> {
        match options.create {
            true => create_folder(&path)?,
            false if !path.exists() => return Err(Error::Absent),
            false => {}
        }
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(options.create)
            .journal_mode(SqliteJournalMode::Wal)
            // With NORMAL a power failure takes back commits that were acknowledged, and their
            // journal ids are then given to others: labels that name them would lie.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.acquire_timeout)
            .foreign_keys(true)
            // INSERT OR REPLACE fires delete triggers only so.
            .pragma("recursive_triggers", "ON")
            .disable_statement_logging();
        // One writer at a time is SQLite's rule. Waiting in our queue is fair, its lock is not.
        let writes = pool(options, 1).connect_lazy_with(connect.clone());
        let reads = pool(options, options.read_connections)
            .connect_lazy_with(connect.pragma("query_only", "ON"));
        let pools = Self::Sqlite {
            path,
            reads,
            writes,
        };
        pools.probe_sqlite(options).await?;
        Ok(pools)
    }

    /// Reads the schema, so that a file that is no database is found now and not on first use.
    ///
    /// Two connections that both turn a new file into one with a write-ahead log are in each
    /// other's way, and SQLite tells one of them so at once, however long it was told to wait.
    /// From the first success on the file has its log, and nobody has to turn it again.
    async fn probe_sqlite(&self, options: &Options) -> Result<(), Error> {
        let ends = tokio::time::Instant::now() + options.acquire_timeout;
        loop {
            match self.read_schema(options).await {
                Err(Error::Busy(_)) if tokio::time::Instant::now() < ends => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                read => return read,
            }
        }
    }

    async fn read_schema(&self, options: &Options) -> Result<(), Error> {
        let probe = "SELECT count(*) FROM sqlite_schema";
        for write in [true, false] {
            let mut conn = self.acquire(write, options).await?;
            conn.fetch_all(sqlx::SqlSafeStr::into_sql_str(probe), &[])
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn postgres(
        address: PgConnectOptions,
        options: &Options,
    ) -> Result<Self, Error> {
        let address = address
            .disable_statement_logging()
            .application_name("larder");
        within(
            options.acquire_timeout,
            reach_database(&address, options.create),
        )
        .await?;
        let timeout = options.statement_timeout.as_millis();
        let reads = format!(
            "{ATTENTION}; SELECT set_config('statement_timeout', '{timeout}', false), \
             set_config('default_transaction_read_only', 'on', false), {IDENTITY}"
        );
        let writes = format!(
            "{ATTENTION}; SELECT set_config('statement_timeout', '{timeout}', false), \
             set_config('idle_in_transaction_session_timeout', '{}', false), {IDENTITY}",
            2 * timeout
        );
        let open = |connections, setup: String| {
            pool::<sqlx::Postgres>(options, connections)
                .after_connect(move |conn, _| {
                    let setup = AssertSqlSafe(setup.clone());
                    Box::pin(async move { conn.execute(setup).await.map(drop) })
                })
                .connect_lazy_with(address.clone())
        };
        let reads = open(options.read_connections, reads);
        let writes = open(options.write_connections, writes);
        Ok(Self::Postgres {
            address: Box::new(address),
            reads,
            writes,
        })
    }

    pub(crate) async fn acquire(&self, write: bool, options: &Options) -> Result<Conn, Error> {
        let limit = options.statement_timeout + NETWORK;
        match self {
            Self::Sqlite {
                path,
                reads,
                writes,
            } => {
                let pool = if write { writes } else { reads };
                let conn = pool.acquire().await.map_err(|error| in_file(error, path))?;
                Ok(Conn::sqlite(conn, limit))
            }
            Self::Postgres { reads, writes, .. } => {
                let pool = if write { writes } else { reads };
                Ok(Conn::postgres(pool.acquire().await?, limit))
            }
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { reads, writes, .. } => {
                reads.close().await;
                writes.close().await;
            }
            Self::Postgres { reads, writes, .. } => {
                reads.close().await;
                writes.close().await;
            }
        }
    }
}

/// Notes once per connection which server it leads to: a session never moves to another, and
/// asking anew means that the server reads a file. `larder.system` is read by the journal, and
/// empty where the session is not ours.
const IDENTITY: &str = "set_config('larder.system', \
     (SELECT system_identifier::text FROM pg_control_system()), false)";

/// A statement whose caller has hung up is ended within a second, not by its timeout: the server
/// looks whether there is still somebody to answer. Where the operating system cannot tell it, or
/// the server is older than the setting, the timeout it is.
const ATTENTION: &str = "DO $$ BEGIN \
     PERFORM set_config('client_connection_check_interval', '1s', false); \
     EXCEPTION WHEN undefined_object OR invalid_parameter_value THEN NULL; END $$";

/// Between two attempts at a file that others are opening for the first time as well.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// What the network may take on top of what the server may.
const NETWORK: Duration = Duration::from_secs(2);

fn pool<DB: sqlx::Database>(options: &Options, connections: u32) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(Duration::from_secs(600))
        .max_lifetime(Duration::from_secs(3600))
        .test_before_acquire(false)
        .before_acquire(|conn: &mut DB::Connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_FOR {
                    return Ok(tokio::time::timeout(NETWORK, conn.ping())
                        .await
                        .is_ok_and(|pong| pong.is_ok()));
                }
                Ok(true)
            })
        })
}

fn create_folder(path: &Path) -> Result<(), Error> {
    let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|error| {
        Error::Address(format!(
            "the folder {} cannot be made: {error}",
            folder.display()
        ))
    })
}

/// Connects once, and creates the database if that is what is missing, and wanted.
async fn reach_database(address: &PgConnectOptions, create: bool) -> Result<(), Error> {
    match address.connect().await {
        Ok(conn) => return Ok(conn.close().await?),
        Err(error) if has_code(&error, "3D000") && create => {}
        Err(error) if has_code(&error, "3D000") => return Err(Error::Absent),
        Err(error) => return Err(error.into()),
    }
    let name = address
        .get_database()
        .unwrap_or_else(|| address.get_username())
        .to_owned();
    let mut server = address.clone().database("postgres").connect().await?;
    let create = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
    match server.execute(AssertSqlSafe(create)).await {
        Ok(_) => {}
        // Another replica was faster: the first says so after the fact, the second in the act.
        Err(error) if has_code(&error, "42P04") || has_code(&error, "23505") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(server.close().await?)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error
        .as_database_error()
        .and_then(|told| told.code())
        .is_some_and(|told| told == code)
}

fn in_file(error: sqlx::Error, path: &Path) -> Error {
    match Error::from(error) {
        Error::Corrupt { source, .. } => Error::Corrupt {
            path: Some(path.to_owned()),
            source,
        },
        other => other,
    }
}

/// Bounds work that is not one statement.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Unavailable("it took too long to connect".into())),
    }
}
