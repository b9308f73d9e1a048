//! One face for SQLite and PostgreSQL, chosen by an address.
//!
//! It owns the connections: how they are opened, bounded, lent and given up, and what an error
//! of either engine means. It never names a table; every statement is its caller's, written once
//! in the SQL that both engines speak, with `$1` placeholders.
//!
//! In reading order: [`Database`] (opening, reading), [`Tx`] (writing), [`Value`] and [`Row`]
//! (what goes in and comes out), [`Error`] (what may happen), [`migrator`] (a schema's history).
//!
//! ```no_run
//! # async fn example() -> Result<(), larder_db::Error> {
//! use larder_db::{Database, args};
//!
//! let db = Database::open("sqlite://data/notes.db").await?;
//! let rows = db.fetch_all("SELECT text FROM notes WHERE id > $1", args![10]).await?;
//! let texts = rows.iter().map(|row| row.get::<String>(0)).collect::<Result<Vec<_>, _>>()?;
//!
//! let mut tx = db.begin_write().await?;
//! tx.execute("UPDATE notes SET text = $2 WHERE id = $1", args![11, "later"]).await?;
//! tx.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What holds on both engines:
//!
//! - every wait has a bound, and a connection that was given up on is closed, never lent again;
//! - an acknowledged commit is on disk;
//! - a failed statement ends its transaction: it is rolled back before the error is returned;
//! - reading outside of a transaction cannot write.

mod address;
mod batch;
mod conn;
mod database;
mod error;
mod migrate;
mod pools;
mod row;
mod schema;
mod trace;
mod tx;
mod value;

pub use database::{Database, Engine, Options};
pub use error::Error;
pub use migrate::migrator;
pub use row::{Column, Row};
pub use schema::Schema;
pub use sqlx::migrate::Migrator;
pub use sqlx::{AssertSqlSafe, SqlSafeStr};
pub use tx::Tx;
pub use value::Value;
