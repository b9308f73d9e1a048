//! One borrowed connection, and the rule for when it may be lent again.

use crate::row::Inner;
use crate::{Error, Row, Value, trace, value};
use futures_util::FutureExt as _;
use sqlx::pool::PoolConnection;
use sqlx::{Postgres, SqlStr, Sqlite};
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

/// Runs one step on the connection: bounded, and marked as underway until it has ended.
macro_rules! step {
    ($self:ident, $sql:ident, $doing:literal, $sqlite:ident => $on_sqlite:expr, $postgres:ident => $on_postgres:expr) => {{
        let span = trace::statement($self.is_postgres(), $sql.as_str());
        let link = $self.link.as_mut().ok_or(Error::Ended)?;
        $self.underway = true;
        let step = async {
            match link {
                Link::Sqlite($sqlite) => $on_sqlite,
                Link::Postgres($postgres) => $on_postgres,
            }
        };
        let step = trace::watched(step, span);
        let ended = tokio::time::timeout($self.limit, step).await;
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
        Self {
            link: Some(Link::Sqlite(conn)),
            underway: false,
            limit,
        }
    }

    pub(crate) fn postgres(conn: PoolConnection<Postgres>, limit: Duration) -> Self {
        Self {
            link: Some(Link::Postgres(conn)),
            underway: false,
            limit,
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.link, Some(Link::Postgres(_)))
    }

    pub(crate) async fn fetch_all(
        &mut self,
        sql: SqlStr,
        args: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        step!(self, sql, "reading",
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
        step!(self, sql, "executing",
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

    pub(crate) async fn execute_arrays(
        &mut self,
        sql: SqlStr,
        arrays: sqlx::postgres::PgArguments,
    ) -> Result<u64, Error> {
        step!(self, sql, "inserting",
            _conn => Err(Error::Refused("SQLite has no arrays".into())),
            conn => Ok(sqlx::query_with(sql, arrays).execute(&mut **conn).await?.rows_affected())
        )
    }

    /// Runs statements that take no arguments, with one trip to the server, and gives the rows of
    /// all of them.
    pub(crate) async fn fetch_script(&mut self, sql: SqlStr) -> Result<Vec<Row>, Error> {
        step!(self, sql, "executing",
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

    /// Runs what ends with COMMIT. An error that the server reported and survived is a rollback;
    /// any other leaves the outcome open.
    pub(crate) async fn commit(&mut self, sql: SqlStr) -> Result<Vec<Row>, Error> {
        self.fetch_script(sql).await.map_err(|error| match error {
            Error::Unavailable(source) | Error::TimedOut(source) => {
                self.give_up();
                Error::CommitUnknown(source)
            }
            definite => definite,
        })
    }

    /// Asks for a rollback without waiting for it, in `Drop`: the request is sent, and its answer
    /// is awaited on the connection's way back to the pool.
    pub(crate) fn start_rollback(&mut self) {
        if self.underway {
            return self.give_up();
        }
        let rollback = sqlx::raw_sql("ROLLBACK");
        match &mut self.link {
            Some(Link::Sqlite(conn)) => drop(rollback.execute(&mut **conn).now_or_never()),
            Some(Link::Postgres(conn)) => drop(rollback.execute(&mut **conn).now_or_never()),
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
