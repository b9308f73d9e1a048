//! Many rows in few statements, for loaders.

use crate::{Error, Tx, Value};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, SqlSafeStr as _};
use std::fmt::Write as _;

/// PostgreSQL takes a column as one array, so the number of rows is bounded by memory only.
const ROWS_AT_ONCE: usize = 5_000;
/// Below SQLite's limit of 32,766 arguments, and small enough to be parsed quickly.
const SQLITE_ARGUMENTS_AT_ONCE: usize = 2_000;

impl Tx {
    /// Inserts rows: `into` is a table with its columns, `notes (id, text)`; `on_conflict` is
    /// empty or an ON CONFLICT clause. Every row has the columns in that order, with values of
    /// the same types. Returns how many rows were inserted or changed.
    pub async fn insert_many<'a, R>(
        &mut self,
        into: &str,
        on_conflict: &str,
        rows: &[R],
    ) -> Result<u64, Error>
    where
        R: AsRef<[Value<'a>]>,
    {
        self.alive()?;
        let Some(columns) = rows.first().map(|row| row.as_ref().len()) else {
            return Ok(0);
        };
        if columns == 0 || rows.iter().any(|row| row.as_ref().len() != columns) {
            return Err(Error::Refused("rows to insert differ in length".into()));
        }
        let mut inserted = 0;
        if self.conn.is_postgres() {
            let sql = unnest(into, on_conflict, rows[0].as_ref());
            for rows in rows.chunks(ROWS_AT_ONCE) {
                let arrays = arrays(rows, columns)?;
                let sql = AssertSqlSafe(sql.clone()).into_sql_str();
                let done = self.conn.execute_arrays(sql, arrays).await;
                inserted += self.unless_failed(done).await?;
            }
        } else {
            for rows in rows.chunks((SQLITE_ARGUMENTS_AT_ONCE / columns).max(1)) {
                let sql = values(into, on_conflict, rows.len(), columns);
                let args: Vec<_> = rows.iter().flat_map(|row| row.as_ref()).copied().collect();
                let done = self
                    .conn
                    .execute(AssertSqlSafe(sql).into_sql_str(), &args)
                    .await;
                inserted += self.unless_failed(done).await?;
            }
        }
        Ok(inserted)
    }
}

fn unnest(into: &str, on_conflict: &str, first: &[Value<'_>]) -> String {
    let mut sql = format!("INSERT INTO {into} SELECT * FROM unnest(");
    for (index, value) in first.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let kind = match value {
            Value::Text(_) => "text",
            Value::Int(_) => "int8",
            Value::Bool(_) => "bool",
            Value::Bytes(_) => "bytea",
        };
        let _ = write!(sql, "{comma}${}::{kind}[]", index + 1);
    }
    let _ = write!(sql, ") {on_conflict}");
    sql
}

fn values(into: &str, on_conflict: &str, rows: usize, columns: usize) -> String {
    let mut sql = format!("INSERT INTO {into} VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}${}", row * columns + column + 1);
        }
        sql.push(')');
    }
    let _ = write!(sql, " {on_conflict}");
    sql
}

/// One array per column. The first row decides the column's type.
fn arrays<'a, R: AsRef<[Value<'a>]>>(rows: &[R], columns: usize) -> Result<PgArguments, Error> {
    /// The column's values, or an error where one is of another type.
    macro_rules! column {
        ($index:expr, $kind:ident) => {
            rows.iter()
                .map(|row| match row.as_ref()[$index] {
                    Value::$kind(value) => Ok(value),
                    _ => Err(Error::Refused(
                        "rows to insert differ in their types".into(),
                    )),
                })
                .collect::<Result<Vec<_>, _>>()?
        };
    }
    let mut arguments = PgArguments::default();
    for index in 0..columns {
        let added = match rows[0].as_ref()[index] {
            Value::Text(_) => arguments.add(column!(index, Text)),
            Value::Int(_) => arguments.add(column!(index, Int)),
            Value::Bool(_) => arguments.add(column!(index, Bool)),
            Value::Bytes(_) => arguments.add(column!(index, Bytes)),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
