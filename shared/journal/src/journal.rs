//! The journal of one source.

use crate::header::Header;
use crate::sql::{postgres, sqlite};
use crate::{Error, Watches, install};
use larder::snapshot::Epoch;
use larder_db::{Database, Engine, args};
use std::sync::Arc;
use std::time::Duration;

/// The journal of one source: its feed, its labelled reads, its writes. Clones are the same.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) db: Database,
    pub(crate) watches: Watches,
    pub(crate) settings: Settings,
}

/// How much is read at once and how long lines are kept; each has a default that works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long lines are kept: a process that hears nothing for longer starts anew.
    pub keep: Duration,
    /// How long a mark stands before what lies below it is dropped: long enough that every
    /// process which is alive has seen it.
    pub settle: Duration,
    /// At most this many lines are dropped at once.
    pub drop_at_most: u64,
    /// A round with more lines is one change of everything.
    pub round_at_most: u32,
    /// The whole journal with more lines that differ is one change of everything.
    pub whole_at_most: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(15 * 60),
            settle: Duration::from_secs(30),
            drop_at_most: 1_000_000,
            round_at_most: 10_000,
            whole_at_most: 100_000,
        }
    }
}

impl Journal {
    /// Opens the journal of a database whose tables exist, creating the journal's own and the
    /// triggers where they are missing or not as described. Of several processes that start at
    /// once one does it. Triggers that a later revision has installed stay: before anything is
    /// served, [`Journal::check`] says whether they do what is described here.
    ///
    /// Whatever it changes, it also touches everything: values that were cached while triggers
    /// were missing are not taken afterwards.
    pub async fn install(db: Database, watches: Watches) -> Result<Self, Error> {
        Self::install_with(db, watches, Settings::default()).await
    }

    /// As [`Journal::install`], with other settings than the defaults.
    pub async fn install_with(
        db: Database,
        watches: Watches,
        settings: Settings,
    ) -> Result<Self, Error> {
        let journal = Self::attach(db, watches, settings);
        install::install(&journal).await?;
        Ok(journal)
    }

    /// The journal of a database in which others install it: [`Error::NotInstalled`] as long as
    /// they have not. Changes nothing.
    pub async fn find(db: Database, watches: Watches, settings: Settings) -> Result<Self, Error> {
        let journal = Self::attach(db, watches, settings);
        install::find(&journal).await?;
        Ok(journal)
    }

    /// The journal of a database in which it was installed by others, as a standby's.
    pub fn attach(db: Database, watches: Watches, settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                db,
                watches,
                settings,
            }),
        }
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.inner.db
    }

    /// The life that the database is in.
    pub async fn epoch(&self) -> Result<Epoch, Error> {
        let epoch = self.header().await?.epoch;
        epoch.ok_or_else(|| Error::Unusable("it cannot tell which life it is in".to_owned()))
    }

    /// Begins a new life, after a database was replaced by an older copy: everything that was
    /// cached, labelled or promised before is worthless from here on. After a crash, a promotion
    /// or the restore of a dump PostgreSQL's next round does so by itself.
    pub async fn new_epoch(&self) -> Result<Epoch, Error> {
        self.begin_life(&self.header().await?.life).await?;
        self.epoch().await
    }

    async fn header(&self) -> Result<Header, Error> {
        let sql = match self.inner.db.engine() {
            Engine::Sqlite => format!("SELECT {}", sqlite::LABEL),
            Engine::Postgres => format!("SELECT {}", postgres::LABEL),
        };
        let db = &self.inner.db;
        let row = db.fetch_one(larder_db::AssertSqlSafe(sql), args![]).await?;
        Header::parse(row.get(0)?)
    }
}
