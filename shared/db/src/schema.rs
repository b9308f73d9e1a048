//! What was applied of a history, next to what this release knows of it.
//!
//! The rule by which releases live beside each other on one database: **a migration only adds**. What
//! a release wrote and read, the next one leaves in place, and takes it away no sooner than when no
//! replica of that release can come back. So a replica starts beside migrations that it does not
//! know, as it must where a rollout is rolled back or an old replica crashes in the midst of one.
//! It does not where what it knows was applied with other words, or where the histories have parted.

use crate::{Database, Engine, Error, args};
use sqlx::migrate::Migrator;

/// How a database's schema stands to what this release knows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Schema {
    /// The first migration of this release that is not applied.
    pub missing: Option<i64>,
    /// The newest migration that was applied by a later release.
    pub newer: Option<i64>,
}

/// A migration as the database remembers it.
struct Applied {
    version: i64,
    checksum: Vec<u8>,
    done: bool,
}

/// What is wrong with a history that this release cannot go on with.
#[derive(Debug, thiserror::Error)]
enum Parted {
    #[error("migration {0} was applied with other words than this release has for it")]
    Changed(i64),
    #[error("migration {0} was applied, and this release, which has later ones, does not know it")]
    Unknown(i64),
    #[error("migration {0} has begun and did not end")]
    Unfinished(i64),
}

impl Database {
    /// Looks, and changes nothing. An error where this release cannot live with what it finds.
    pub async fn schema(&self, sqlite: &Migrator, postgres: &Migrator) -> Result<Schema, Error> {
        match self.engine() {
            Engine::Sqlite => compare(sqlite, &self.applied().await?),
            Engine::Postgres => compare(postgres, &self.applied().await?),
        }
    }

    /// The same, where this release's migrations are all applied: by somebody else.
    pub async fn migrated(&self, sqlite: &Migrator, postgres: &Migrator) -> Result<Schema, Error> {
        let schema = self.schema(sqlite, postgres).await?;
        match schema.missing {
            Some(version) => Err(Error::Behind { version }),
            None => Ok(schema),
        }
    }

    async fn applied(&self) -> Result<Vec<Applied>, Error> {
        let known = match self.engine() {
            Engine::Sqlite => {
                "SELECT count(*) > 0 FROM sqlite_schema \
                 WHERE type = 'table' AND name = '_sqlx_migrations'"
            }
            Engine::Postgres => "SELECT to_regclass('_sqlx_migrations') IS NOT NULL",
        };
        if !self.fetch_one(known, args![]).await?.get::<bool>(0)? {
            return Ok(Vec::new());
        }
        let sql = "SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version";
        let rows = self.fetch_all(sql, args![]).await?;
        let applied = rows.iter().map(|row| {
            Ok(Applied {
                version: row.get(0)?,
                checksum: row.get::<&[u8]>(1)?.to_vec(),
                done: row.get(2)?,
            })
        });
        applied.collect()
    }
}

fn compare(known: &Migrator, applied: &[Applied]) -> Result<Schema, Error> {
    let newest = known.iter().map(|migration| migration.version).max();
    let mut newer = None;
    for one in applied {
        let own = known.iter().find(|own| own.version == one.version);
        let parted = match own {
            _ if !one.done => Parted::Unfinished(one.version),
            Some(own) if *own.checksum != *one.checksum => Parted::Changed(one.version),
            Some(_) => continue,
            None if newest.is_none_or(|newest| one.version > newest) => {
                newer = newer.max(Some(one.version));
                continue;
            }
            None => Parted::Unknown(one.version),
        };
        return Err(Error::Migration(Box::new(parted)));
    }
    let is_applied = |version| applied.iter().any(|one| one.version == version);
    let mut versions = known.iter().map(|migration| migration.version);
    let missing = versions.find(|version| !is_applied(*version));
    match (missing, newer) {
        // A later release applies what came before its own first.
        (Some(_), Some(version)) => Err(Error::NewerSchema { version }),
        _ => Ok(Schema { missing, newer }),
    }
}
