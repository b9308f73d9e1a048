//! A database of a test's own, of either engine.
#![allow(dead_code, reason = "each test file uses what it needs")]

use anyhow::Result;
use larder_db::{Database, Migrator, Options, migrator};
use larder_testkit::postgres;
use tempfile::TempDir;

/// What keeps the database alive for as long as a test runs.
pub enum Source {
    Sqlite(TempDir),
    Postgres(postgres::Database),
}

impl Source {
    pub fn sqlite() -> Result<Self> {
        Ok(Self::Sqlite(tempfile::tempdir()?))
    }

    pub fn postgres() -> Result<Self> {
        Ok(Self::Postgres(postgres::fresh_database()?))
    }

    pub fn both() -> Result<[Self; 2]> {
        Ok([Self::sqlite()?, Self::postgres()?])
    }

    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}/deep/test.db", folder.path().display()),
            Self::Postgres(database) => database.url(),
        }
    }

    pub async fn open(&self) -> Result<Database> {
        Ok(Database::open(&self.url()).await?)
    }

    /// Opened, with one table `notes`.
    pub async fn notes(&self) -> Result<Database> {
        let db = self.open().await?;
        db.migrate(&history(1), &history(1)).await?;
        Ok(db)
    }
}

pub const NOTES: &str = "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT, \
    done BOOLEAN NOT NULL DEFAULT FALSE, parent BIGINT REFERENCES notes (id), \
    CHECK (text <> 'forbidden'))";

/// The first `releases` migrations.
pub fn history(releases: usize) -> Migrator {
    let all = [
        (1, "notes", NOTES),
        (2, "colour", "ALTER TABLE notes ADD COLUMN colour TEXT"),
        (3, "size", "ALTER TABLE notes ADD COLUMN size BIGINT"),
    ];
    migrator(&all[..releases])
}

pub fn impatient() -> Options {
    Options {
        acquire_timeout: std::time::Duration::from_millis(500),
        ..Options::default()
    }
}
