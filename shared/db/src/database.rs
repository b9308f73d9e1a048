//! A database that is open: where reading begins and transactions start.

use crate::address::{self, Address};
use crate::pools::Pools;
use crate::{Error, Row, Tx, Value};
use sqlx::SqlSafeStr;
use std::sync::Arc;
use std::time::Duration;

/// Which engine is behind, for the few who must know; a store need not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// A file of this machine.
    Sqlite,
    /// A server.
    Postgres,
}

/// How a database is to be opened; each has a default that works.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many connections may read at once. PostgreSQL's `max_connections` is shared by all
    /// processes that use the server.
    pub read_connections: u32,
    /// How many may write at once; on SQLite it is always one.
    pub write_connections: u32,
    /// How long to wait for a connection, for SQLite's lock, and for a server to be found.
    pub acquire_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long bringing the schema up to date may take, waiting for other replicas included.
    pub migrate_timeout: Duration,
    /// Whether what is missing is created: a database on a server, a file and its folder.
    pub create: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            read_connections: 8,
            write_connections: 8,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(15),
            migrate_timeout: Duration::from_secs(600),
            create: true,
        }
    }
}

/// A database that is open. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    pub(crate) pools: Arc<Pools>,
    pub(crate) options: Options,
}

impl Database {
    /// Opens the database at `url`, creating what is missing: a SQLite file and its folder, or
    /// a database on a PostgreSQL server.
    ///
    /// [`Error::Unavailable`] means that the server is not there yet, [`Error::Absent`] that the
    /// database is not and was not to be created: the caller may say so and try again. Any other
    /// error will not mend itself.
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::open_with(url, Options::default()).await
    }

    /// As [`Database::open`], with other options than the defaults.
    pub async fn open_with(url: &str, options: Options) -> Result<Self, Error> {
        let pools = match address::parse(url)? {
            Address::Sqlite(path) => Pools::sqlite(path, &options).await?,
            Address::Postgres(address) => Pools::postgres(*address, &options).await?,
        };
        Ok(Self {
            pools: Arc::new(pools),
            options,
        })
    }

    /// Which engine is behind.
    pub fn engine(&self) -> Engine {
        match *self.pools {
            Pools::Sqlite { .. } => Engine::Sqlite,
            Pools::Postgres { .. } => Engine::Postgres,
        }
    }

    /// All rows of a statement that only reads; the engine refuses one that writes.
    pub async fn fetch_all(
        &self,
        sql: impl SqlSafeStr,
        args: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        let mut conn = self.pools.acquire(false, &self.options).await?;
        conn.fetch_all(sql.into_sql_str(), args).await
    }

    /// The first row, if there is any.
    pub async fn fetch_optional(
        &self,
        sql: impl SqlSafeStr,
        args: &[Value<'_>],
    ) -> Result<Option<Row>, Error> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// The first row of a statement that always gives one.
    pub async fn fetch_one(&self, sql: impl SqlSafeStr, args: &[Value<'_>]) -> Result<Row, Error> {
        self.fetch_optional(sql, args).await?.ok_or(Error::NoRow)
    }

    /// Begins a transaction that may write: `BEGIN IMMEDIATE` on SQLite, whose later upgrade of
    /// a reader fails when another has written; READ COMMITTED on PostgreSQL.
    pub async fn begin_write(&self) -> Result<Tx, Error> {
        let conn = self.pools.acquire(true, &self.options).await?;
        Tx::begin(conn, true, "BEGIN IMMEDIATE", "BEGIN").await
    }

    /// Begins a transaction that reads one state of the database with several statements.
    pub async fn begin_read(&self) -> Result<Tx, Error> {
        let conn = self.pools.acquire(false, &self.options).await?;
        Tx::begin(
            conn,
            false,
            "BEGIN",
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        )
        .await
    }

    /// Closes all connections, waiting for those that are lent. Clones are closed too.
    pub async fn close(&self) {
        self.pools.close().await;
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("engine", &self.engine())
            .finish_non_exhaustive()
    }
}
