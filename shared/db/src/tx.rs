//! A transaction of either engine.

use crate::conn::Conn;
use crate::{Engine, Error, Row, Value};
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// A transaction; dropped without [`Tx::commit`] it is rolled back.
///
/// Invariant: a failed statement ends it, on both engines: it is rolled back before the error is
/// returned, and everything asked afterwards is [`Error::Ended`]. (PostgreSQL would answer a
/// COMMIT after a failed statement with a rollback that looks like success.)
pub struct Tx {
    pub(crate) conn: Conn,
    ended: bool,
    may_write: bool,
}

const ROLLBACK: &str = "ROLLBACK";

impl Tx {
    pub(crate) async fn begin(
        mut conn: Conn,
        may_write: bool,
        sqlite: &'static str,
        postgres: &'static str,
    ) -> Result<Self, Error> {
        let begin = if conn.is_postgres() { postgres } else { sqlite };
        conn.fetch_script(begin.into_sql_str()).await?;
        Ok(Self {
            conn,
            ended: false,
            may_write,
        })
    }

    /// Which engine it runs on, for the rare statement that differs.
    pub fn engine(&self) -> Engine {
        if self.conn.is_postgres() {
            Engine::Postgres
        } else {
            Engine::Sqlite
        }
    }

    /// Whether it was begun to write.
    pub fn may_write(&self) -> bool {
        self.may_write
    }

    /// All rows of a statement.
    pub async fn fetch_all(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        self.alive()?;
        let fetched = self.conn.fetch_all(sql.into_sql_str(), args).await;
        self.unless_failed(fetched).await
    }

    /// The first row of a statement, if it gives any.
    pub async fn fetch_optional(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Value<'_>],
    ) -> Result<Option<Row>, Error> {
        Ok(self.fetch_all(sql, args).await?.into_iter().next())
    }

    /// The first row of a statement that always gives one.
    pub async fn fetch_one(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Value<'_>],
    ) -> Result<Row, Error> {
        self.fetch_optional(sql, args).await?.ok_or(Error::NoRow)
    }

    /// Runs a statement and says how many rows it changed.
    pub async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Value<'_>],
    ) -> Result<u64, Error> {
        self.alive()?;
        let executed = self.conn.execute(sql.into_sql_str(), args).await;
        self.unless_failed(executed).await
    }

    /// Runs several statements without arguments, separated by semicolons.
    pub async fn execute_script(&mut self, sql: impl SqlSafeStr) -> Result<(), Error> {
        self.alive()?;
        let executed = self.conn.fetch_script(sql.into_sql_str()).await;
        self.unless_failed(executed).await.map(drop)
    }

    /// Commits. [`Error::CommitUnknown`] when nobody can tell whether it happened; after any
    /// other error it has not.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.end("COMMIT".into_sql_str()).await.map(drop)
    }

    /// Runs one last query, without arguments, and commits: one trip to the server for both.
    /// Errors are those of [`Tx::commit`].
    pub async fn commit_with(mut self, sql: impl SqlSafeStr) -> Result<Vec<Row>, Error> {
        let both = format!("{}; COMMIT", sql.into_sql_str().as_str());
        self.end(AssertSqlSafe(both).into_sql_str()).await
    }

    async fn end(&mut self, commit: SqlStr) -> Result<Vec<Row>, Error> {
        self.alive()?;
        let committed = self.conn.commit(commit).await;
        if matches!(committed, Err(Error::CommitUnknown(_))) {
            self.ended = true;
        }
        // A refused COMMIT leaves SQLite's transaction open, and PostgreSQL's if what was asked
        // before it failed. A ROLLBACK that finds none does no harm.
        let rows = self.unless_failed(committed).await?;
        self.ended = true;
        Ok(rows)
    }

    /// Rolls back and waits for it, which dropping does not.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.alive()?;
        self.ended = true;
        self.conn
            .fetch_script(ROLLBACK.into_sql_str())
            .await
            .map(drop)
    }

    pub(crate) fn alive(&self) -> Result<(), Error> {
        if self.ended {
            Err(Error::Ended)
        } else {
            Ok(())
        }
    }

    pub(crate) async fn unless_failed<T>(&mut self, done: Result<T, Error>) -> Result<T, Error> {
        if done.is_err() && !self.ended {
            self.ended = true;
            match self.conn.fetch_script(ROLLBACK.into_sql_str()).await {
                Ok(_) => self.conn.hand_back(),
                Err(_) => self.conn.give_up(),
            }
        }
        done
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if !self.ended {
            self.conn.start_rollback();
        }
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
