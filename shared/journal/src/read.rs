//! Reading data and its label in one statement.

use crate::header::{Header, unusable};
use crate::sql::{postgres, sqlite};
use crate::{Error, Journal};
use larder::snapshot::Label;
use larder_db::{AssertSqlSafe, Engine, Row, SqlSafeStr, Tx, Value};

/// Rows, and the snapshot they were read under.
#[derive(Debug)]
pub struct Labelled {
    /// The label. `None` for what must not be cached: it may contain changes of the own
    /// transaction that are not committed, or comes from a standby that is between timelines.
    pub label: Option<Label>,
    /// Who answered.
    pub standing: Standing,
    /// The rows, in the order that the statement gave them.
    pub rows: Vec<Row>,
}

/// Who answered a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The primary: what was committed before the read is in it.
    Primary,
    /// A standby, which lags: the value is a claim, to be judged by its label.
    Standby,
}

impl Journal {
    /// Reads with one SELECT that returns the data and its label, also when there are no rows.
    /// Rows come in the order that the statement's own ORDER BY gives them.
    pub async fn read(&self, sql: impl SqlSafeStr, args: &[Value<'_>]) -> Result<Labelled, Error> {
        let db = &self.inner.db;
        let sql = labelled(sql, db.engine());
        take_apart(db.fetch_all(AssertSqlSafe(sql), args).await?)
    }

    /// As [`Journal::read`], inside of a transaction; one that has written gets no label, and
    /// on SQLite none that could write.
    pub async fn read_in(
        &self,
        tx: &mut Tx,
        sql: impl SqlSafeStr,
        args: &[Value<'_>],
    ) -> Result<Labelled, Error> {
        let sql = labelled(sql, tx.engine());
        let mut labelled = take_apart(tx.fetch_all(AssertSqlSafe(sql), args).await?)?;
        if tx.engine() == Engine::Sqlite && tx.may_write() {
            labelled.label = None;
        }
        Ok(labelled)
    }
}

/// The columns that stand before the data's: the label, and 1 where there is a row of data.
const OWN_COLUMNS: usize = 2;

/// Joins the label, which always has one row, to the data. The join is a nested loop over that
/// one row, so the data's order is kept; test: `rows_keep_the_order_of_the_statement`.
fn labelled(sql: impl SqlSafeStr, engine: Engine) -> String {
    let sql = sql.into_sql_str();
    let (label, limit) = match engine {
        // Without a LIMIT, SQLite leaves out the ORDER BY of a subquery that is joined.
        Engine::Sqlite => (sqlite::LABEL, " LIMIT -1"),
        Engine::Postgres => (postgres::LABEL, ""),
    };
    format!(
        "SELECT larder_l.larder_label, larder_d.* FROM (SELECT {label} AS larder_label) larder_l \
         LEFT JOIN (SELECT 1 AS larder_row, larder_q.* FROM ({}\n) larder_q{limit}) larder_d ON true",
        sql.as_str()
    )
}

fn take_apart(mut rows: Vec<Row>) -> Result<Labelled, Error> {
    let first = rows.first().ok_or_else(|| unusable("labelled row", ""))?;
    let header = Header::parse(first.get(0)?)?;
    if first.get::<Option<i64>>(1)?.is_none() {
        rows.clear();
    }
    let standing = if header.standby {
        Standing::Standby
    } else {
        Standing::Primary
    };
    let rows = rows.into_iter().map(|row| row.skip(OWN_COLUMNS)).collect();
    Ok(Labelled {
        label: header.label(),
        standing,
        rows,
    })
}
