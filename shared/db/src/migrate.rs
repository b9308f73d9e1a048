//! Bringing a schema up to date, also when several replicas start at once.

use crate::pools::Pools;
use crate::{Database, Error};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqlSafeStr as _};

/// A migrator of files that were compiled in: each `(version, name, SQL)`. A file that was
/// applied anywhere must never change again.
pub fn migrator(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = files.iter().map(|&(version, name, sql)| {
        Migration::new(
            version,
            name.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

impl Database {
    /// Applies those of this engine's migrations that are missing. Of several processes that
    /// call this at once one does the work and the others wait for it.
    pub async fn migrate(&self, sqlite: &Migrator, postgres: &Migrator) -> Result<(), Error> {
        let limit = self.options.migrate_timeout;
        let migrated = tokio::time::timeout(limit, async {
            match &*self.pools {
                Pools::Sqlite { writes, .. } => on_sqlite(writes, sqlite).await,
                Pools::Postgres { address, .. } => on_postgres(address, postgres).await,
            }
        });
        migrated
            .await
            .unwrap_or_else(|_| Err(Error::elapsed("migrating")))
    }
}

/// The driver takes no lock on SQLite, so all is done inside of one `BEGIN IMMEDIATE`, and each
/// migration's own transaction becomes a savepoint of it.
async fn on_sqlite(pool: &sqlx::SqlitePool, migrator: &Migrator) -> Result<(), Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let migrated = migrator.run_direct(None, &mut *tx, false).await;
    migrated.map_err(|error| explain(error, migrator))?;
    Ok(tx.commit().await?)
}

/// A connection of its own: it may wait long for other replicas, and an advisory lock that a
/// failed migration leaves behind ends with it.
async fn on_postgres(
    address: &sqlx::postgres::PgConnectOptions,
    migrator: &Migrator,
) -> Result<(), Error> {
    let mut conn = address.connect().await?;
    conn.execute("SELECT set_config('statement_timeout', '0', false)")
        .await?;
    let migrated = migrator.run_direct(None, &mut conn, false).await;
    let closed = conn.close().await;
    migrated.map_err(|error| explain(error, migrator))?;
    Ok(closed?)
}

fn explain(error: MigrateError, migrator: &Migrator) -> Error {
    let newest = migrator
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    match error {
        MigrateError::VersionMissing(version) if version > newest => Error::NewerSchema { version },
        MigrateError::Execute(source) => match Error::from(source) {
            Error::Refused(source) => Error::Migration(source),
            other => other,
        },
        other => Error::Migration(Box::new(other)),
    }
}
