//! A journalled source of a test's own, of either engine.
#![allow(dead_code, reason = "each test file uses what it needs")]

use anyhow::{Context, Result, ensure};
use larder::feed::{Coverage, Feed as _, Round};
use larder::key::Tag;
use larder_db::{Database, Migrator, args, migrator};
use larder_journal::{Journal, Settings, Watch, Watches};
use larder_testkit::postgres;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Where the database is, and what keeps it alive.
pub enum Home {
    Sqlite(TempDir),
    Postgres(postgres::Database),
}

impl Home {
    pub fn sqlite() -> Result<Self> {
        Ok(Self::Sqlite(tempfile::tempdir()?))
    }

    pub fn postgres() -> Result<Self> {
        Ok(Self::Postgres(postgres::fresh_database()?))
    }

    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite://{}", self.file().display()),
            Self::Postgres(database) => database.url(),
        }
    }

    pub fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("test.db"),
            Self::Postgres(_) => PathBuf::new(),
        }
    }

    /// Runs SQL in a process that knows nothing of us.
    pub fn shell(&self, sql: &str) -> Result<String> {
        match self {
            Self::Sqlite(_) => {
                let output = Command::new("sqlite3")
                    .args(["-bail", "-cmd", ".timeout 10000"])
                    .arg(self.file())
                    .arg(sql)
                    .output();
                let output = output.context("apt-get install sqlite3")?;
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(output.status.success(), "sqlite3: {told}");
                Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
            }
            Self::Postgres(database) => database.psql(sql),
        }
    }
}

/// A journalled source with two tables: comments, and replies that go with their comment.
pub struct Source {
    pub home: Home,
    pub journal: Journal,
}

impl Source {
    pub async fn both() -> Result<[Self; 2]> {
        Ok([Self::sqlite().await?, Self::postgres().await?])
    }

    pub async fn sqlite() -> Result<Self> {
        Self::at(Home::sqlite()?, small()).await
    }

    pub async fn postgres() -> Result<Self> {
        Self::at(Home::postgres()?, small()).await
    }

    pub async fn at(home: Home, settings: Settings) -> Result<Self> {
        let db = open(&home.url()).await?;
        let journal = Journal::install_with(db, watches(), settings).await?;
        Ok(Self { home, journal })
    }

    pub fn db(&self) -> &Database {
        self.journal.database()
    }

    /// What is visible now; everything written later is in the round since.
    pub async fn coverage(&self) -> Result<Coverage> {
        Ok(coverage(&self.journal.round(None).await?))
    }

    /// The tags of the round since `since`.
    pub async fn tags_since(&self, since: &Coverage) -> Result<BTreeSet<Tag>> {
        Ok(tags(&self.journal.round(Some(since)).await?))
    }

    /// The tags of the round that a step brings about.
    pub async fn tags_of(
        &self,
        step: impl FnOnce(&Home) -> Result<String>,
    ) -> Result<BTreeSet<Tag>> {
        let before = self.coverage().await?;
        step(&self.home)?;
        self.tags_since(&before).await
    }

    /// Writes with one statement, as a service does.
    pub async fn write(&self, sql: &'static str) -> Result<Option<larder::feed::Written>> {
        let mut write = self.journal.begin().await?;
        write.execute(sql, args![]).await?;
        Ok(write.commit().await?)
    }
}

pub async fn open(url: &str) -> Result<Database> {
    let db = Database::open(url).await?;
    db.migrate(&tables(), &tables()).await?;
    Ok(db)
}

pub fn tables() -> Migrator {
    migrator(&[(
        1,
        "tables",
        "CREATE TABLE comments (id BIGINT PRIMARY KEY, product_id BIGINT, text TEXT NOT NULL); \
         CREATE TABLE replies (id BIGINT PRIMARY KEY, \
         comment_id BIGINT NOT NULL REFERENCES comments (id) ON DELETE CASCADE)",
    )])
}

pub fn watches() -> Watches {
    let comments = Watch::table("comments")
        .row("comments", "id")
        .collection("comments.product", "product_id")
        .constant("comments.all", Tag::WHOLE)
        .keyspaces(&["comments", "comments.list"]);
    let replies = Watch::table("replies")
        .row("replies", ["comment_id", "id"])
        .collection("replies.comment", "comment_id")
        .keyspaces(&["replies"]);
    Watches::revision(1).watch(comments).watch(replies)
}

/// Bounds that a test reaches, and nothing to wait for.
pub fn small() -> Settings {
    Settings {
        keep: Duration::ZERO,
        settle: Duration::ZERO,
        round_at_most: 50,
        whole_at_most: 80,
        ..Settings::default()
    }
}

pub fn coverage(round: &Round) -> Coverage {
    Coverage {
        epoch: round.epoch,
        snapshot: round.snapshot.clone(),
        low_marked: round.low_marked,
    }
}

pub fn tags(round: &Round) -> BTreeSet<Tag> {
    round.changes.iter().map(|change| change.tag).collect()
}

/// `"comments/1"`, as a set of tags.
pub fn named(names: &[&str]) -> BTreeSet<Tag> {
    let tag = |name: &&str| {
        let (collection, key) = name
            .split_once('/')
            .expect("a tag is written `collection/key`");
        Tag::of(collection, key)
    };
    names.iter().map(tag).collect()
}
