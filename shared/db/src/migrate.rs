//! Bringing a schema up to date, also when several replicas start at once.

use crate::pools::Pools;
use crate::{Database, Error, Schema};
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
    /// Applies those of this engine's migrations that are missing, and tells how the schema stands.
    /// Of several processes that call this at once one does the work and the others wait for it;
    /// where nothing is missing, nobody waits for anybody. What a later release has applied stays:
    /// see [`Schema`].
    pub async fn migrate(&self, sqlite: &Migrator, postgres: &Migrator) -> Result<Schema, Error> {
        let schema = self.schema(sqlite, postgres).await?;
        if schema.missing.is_none() {
            return Ok(schema);
        }
        let limit = self.options.migrate_timeout;
        let migrated = tokio::time::timeout(limit, async {
            match &*self.pools {
                Pools::Sqlite { writes, .. } => on_sqlite(writes, &beside_newer(sqlite)).await,
                Pools::Postgres { address, .. } => {
                    on_postgres(address, &beside_newer(postgres)).await
                }
            }
        });
        match migrated.await {
            Ok(migrated) => migrated?,
            Err(_) => return Err(Error::elapsed("migrating")),
        }
        self.migrated(sqlite, postgres).await
    }
}

/// The same, not disturbed by what a later release applies in the same moment. What is there was
/// compared before.
fn beside_newer(migrator: &Migrator) -> Migrator {
    let mut same = Migrator::with_migrations(migrator.iter().cloned().collect());
    same.set_ignore_missing(true);
    same
}

/// The driver takes no lock on SQLite, so all is done inside of one `BEGIN IMMEDIATE`, and each
/// migration's own transaction becomes a savepoint of it.
async fn on_sqlite(pool: &sqlx::SqlitePool, migrator: &Migrator) -> Result<(), Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let migrated = migrator.run_direct(None, &mut *tx, false).await;
    migrated.map_err(explain)?;
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
    migrated.map_err(explain)?;
    Ok(closed?)
}

fn explain(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(source) => match Error::from(source) {
            Error::Refused(source) => Error::Migration(source),
            other => other,
        },
        other => Error::Migration(Box::new(other)),
    }
}
