//! One borrowed connection, and the rule for when it may be lent again.

use crate::error::of_commit;
use crate::row::Inner;
use crate::{Error, Row, Value, value};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Database, Postgres, SqlSafeStr, SqlStr, Sqlite};
use sqlx_core::transaction::TransactionManager;
use std::time::Duration;

/// Invariant: a connection on which something was begun and not awaited to its end (timed out,
/// or its future dropped) is closed, never lent again.
pub(crate) struct Conn {
    /// `None` only in `drop` and after the connection was given up.
    link: Option<Link>,
    underway: bool,
    limit: Duration,
}

enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

type Sq = <Sqlite as Database>::TransactionManager;
type Pg = <Postgres as Database>::TransactionManager;

/// Runs one step on the connection: bounded, and marked as underway until it has ended.
macro_rules! step {
    ($self:ident, $doing:literal, $sqlite:ident => $on_sqlite:expr, $postgres:ident => $on_postgres:expr) => {{
        let link = $self.link.as_mut().ok_or(Error::Ended)?;
        $self.underway = true;
        let ended = tokio::time::timeout($self.limit, async {
            match link {
                Link::Sqlite($sqlite) => $on_sqlite,
                Link::Postgres($postgres) => $on_postgres,
            }
        })
        .await;
        match ended {
            Ok(ended) => {
                $self.underway = false;
                ended
            }
            Err(_) => {
                $self.give_up();
                return Err(Error::elapsed($doing));
            }
        }
    }};
}

impl Conn {
    pub(crate) fn sqlite(conn: PoolConnection<Sqlite>, limit: Duration) -> Self {
        Self { link: Some(Link::Sqlite(conn)), underway: false, limit }
    }

    pub(crate) fn postgres(conn: PoolConnection<Postgres>, limit: Duration) -> Self {
        Self { link: Some(Link::Postgres(conn)), underway: false, limit }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.link, Some(Link::Postgres(_)))
    }

    pub(crate) async fn fetch_all(
        &mut self,
        sql: SqlStr,
        args: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        step!(self, "reading",
            conn => {
                let args = value::for_sqlite(args).map_err(sqlx::Error::Encode)?;
                let rows = sqlx::query_with(sql, args).fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(|row| Row::new(Inner::Sqlite(row))).collect())
            },
            conn => {
                let args = value::for_postgres(args).map_err(sqlx::Error::Encode)?;
                let rows = sqlx::query_with(sql, args).fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(|row| Row::new(Inner::Postgres(row))).collect())
            }
        )
    }

    pub(crate) async fn execute(&mut self, sql: SqlStr, args: &[Value<'_>]) -> Result<u64, Error> {
        step!(self, "executing",
            conn => {
                let args = value::for_sqlite(args).map_err(sqlx::Error::Encode)?;
                Ok(sqlx::query_with(sql, args).execute(&mut **conn).await?.rows_affected())
            },
            conn => {
                let args = value::for_postgres(args).map_err(sqlx::Error::Encode)?;
                Ok(sqlx::query_with(sql, args).execute(&mut **conn).await?.rows_affected())
            }
        )
    }

    /// Runs statements that take no arguments and give no rows, separated by semicolons.
    pub(crate) async fn execute_script(&mut self, sql: SqlStr) -> Result<(), Error> {
        step!(self, "executing",
            conn => Ok(sqlx::raw_sql(sql).execute(&mut **conn).await.map(drop)?),
            conn => Ok(sqlx::raw_sql(sql).execute(&mut **conn).await.map(drop)?)
        )
    }

    pub(crate) async fn execute_arrays(
        &mut self,
        sql: SqlStr,
        arrays: sqlx::postgres::PgArguments,
    ) -> Result<u64, Error> {
        step!(self, "inserting",
            _conn => Err(Error::Refused("SQLite has no arrays".into())),
            conn => Ok(sqlx::query_with(sql, arrays).execute(&mut **conn).await?.rows_affected())
        )
    }

    pub(crate) async fn begin(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<(), Error> {
        step!(self, "beginning",
            conn => Ok(Sq::begin(conn, Some(sqlite.into_sql_str())).await?),
            conn => Ok(Pg::begin(conn, Some(postgres.into_sql_str())).await?)
        )
    }

    /// Commits; an error that leaves the outcome open is [`Error::CommitUnknown`].
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        let committed = self.try_commit().await;
        match committed {
            Err(Error::TimedOut(source)) => Err(Error::CommitUnknown(source)),
            Err(error) => {
                if matches!(error, Error::CommitUnknown(_)) {
                    self.give_up();
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Runs a last query without arguments and commits; on PostgreSQL with one trip for both.
    ///
    /// The driver must not know of a transaction afterwards, and takes only its own COMMIT for
    /// one. So the commit chains an empty transaction, which is rolled back on the way back to
    /// the pool, as any that is dropped.
    pub(crate) async fn commit_with(&mut self, sql: SqlStr) -> Result<Vec<Row>, Error> {
        if !self.is_postgres() {
            let rows = self.fetch_all(sql, &[]).await?;
            return self.commit().await.map(|()| rows);
        }
        let chained = AssertSqlSafe(format!("{}; COMMIT AND CHAIN", sql.as_str()));
        let rows = self.fetch_script(chained.into_sql_str()).await;
        rows.map_err(|error| match error {
            Error::Unavailable(source) | Error::TimedOut(source) => {
                self.give_up();
                Error::CommitUnknown(source)
            }
            definite => definite,
        })
    }

    async fn fetch_script(&mut self, sql: SqlStr) -> Result<Vec<Row>, Error> {
        step!(self, "committing",
            conn => {
                let rows = sqlx::raw_sql(sql).fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(|row| Row::new(Inner::Sqlite(row))).collect())
            },
            conn => {
                let rows = sqlx::raw_sql(sql).fetch_all(&mut **conn).await?;
                Ok(rows.into_iter().map(|row| Row::new(Inner::Postgres(row))).collect())
            }
        )
    }

    async fn try_commit(&mut self) -> Result<(), Error> {
        step!(self, "committing",
            conn => Sq::commit(conn).await.map_err(of_commit),
            conn => Pg::commit(conn).await.map_err(of_commit)
        )
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        step!(self, "rolling back",
            conn => Ok(Sq::rollback(conn).await?),
            conn => Ok(Pg::rollback(conn).await?)
        )
    }

    /// Asks for a rollback without waiting for it: for `Drop`.
    pub(crate) fn start_rollback(&mut self) {
        if self.underway {
            return self.give_up();
        }
        match &mut self.link {
            Some(Link::Sqlite(conn)) => Sq::start_rollback(conn),
            Some(Link::Postgres(conn)) => Pg::start_rollback(conn),
            None => {}
        }
    }

    /// Gives the connection back to its pool before the end of the loan.
    pub(crate) fn hand_back(&mut self) {
        self.link = None;
    }

    /// Takes the connection out of its pool and closes it. The server rolls back what was open.
    pub(crate) fn give_up(&mut self) {
        match self.link.take() {
            Some(Link::Sqlite(conn)) => drop(conn.detach()),
            Some(Link::Postgres(conn)) => drop(conn.detach()),
            None => {}
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if self.underway {
            self.give_up();
        }
    }
}
