//! One life of a database, and the beginning of the next.
//!
//! Rounds stand on it that a number which was seen is never given to another transaction. On
//! PostgreSQL that holds only for as long as nothing takes the server's memory from it:
//!
//! 1. A transaction is given up. A round sees its number, and that nothing will come of it.
//! 2. The server crashes before its log of this is on the disk, and recovers without it, on the
//!    same timeline.
//! 3. A write gets the number again, and the next round takes it for seen.
//!
//! Test: `a_number_that_a_crash_took_back_is_not_taken_for_seen`.
//!
//! So each life has a name of its own, made by chance, in `journal_life`, and a pulse: the same
//! name in `journal_pulse`, an UNLOGGED table, which PostgreSQL empties whenever it recovers: after a
//! crash, from a copy of its disk, as a standby that is promoted. A restart in peace keeps it. A dump
//! brings both tables along, but `journal_life` also notes its place (server, database and tables, by
//! their numbers), which is another after a restore.
//!
//! A round is one only where the pulse is there and the place is right, in its own snapshot. Who
//! finds otherwise begins the next life. Until then nothing is proven, by anybody: what is labelled
//! with the life that ended, and what its tokens vouch for, ages like anything else. Loads have
//! only the logged name in their labels, so that standbys can tell it. Writes look at the pulse, so that
//! none of them gets a token for a number that was seen before.

use crate::header::unusable;
use crate::sql::{postgres, sqlite};
use crate::{Error, Flaw, Journal};
use larder_db::{Engine, Tx, args};

impl Journal {
    /// Begins a new life in place of the one named `ended`; nothing happens if somebody else did.
    pub(crate) async fn begin_life(&self, ended: &str) -> Result<(), Error> {
        let mut tx = self.inner.db.begin_write().await?;
        match tx.engine() {
            Engine::Sqlite => {
                tx.execute(sqlite::NEW_EPOCH, args![ended]).await?;
            }
            Engine::Postgres => {
                tx.execute(postgres::LOCK, args![]).await?;
                let life = Life::of(&mut tx).await?;
                if life.name == ended {
                    if !life.at_home {
                        self.refuse_half_a_restore().await?;
                    }
                    life.end(&mut tx).await?;
                }
            }
        }
        Ok(tx.commit().await?)
    }

    /// While a dump is being restored, tables are filled that have no triggers yet; these come
    /// last. A life that began meanwhile would miss what is still to come.
    async fn refuse_half_a_restore(&self) -> Result<(), Error> {
        let problems = self.check().await?;
        match problems.iter().find(|p| p.flaw == Flaw::Missing) {
            Some(problem) => Err(Error::Unusable(format!(
                "a database that was restored has no trigger on `{}` yet",
                problem.table
            ))),
            None => Ok(()),
        }
    }
}

/// Sees to it that the database lives, as part of installing.
pub(crate) async fn ensure(tx: &mut Tx) -> Result<(), Error> {
    let life = Life::of(tx).await?;
    match life.at_home && life.beats {
        true => Ok(()),
        false => life.end(tx).await,
    }
}

/// What is known of the life that PostgreSQL is in.
struct Life {
    /// As labels have it.
    name: String,
    /// Whether it began here: not so what a dump has brought.
    at_home: bool,
    /// Whether nothing ended it since.
    beats: bool,
    /// Whether the journal's lines and marks are of numbers that mean nothing here.
    brought: bool,
}

impl Life {
    async fn of(tx: &mut Tx) -> Result<Self, Error> {
        tx.execute(postgres::PRIMARY, args![]).await?;
        let row = tx.fetch_optional(postgres::LIFE, args![]).await?;
        let row = row.ok_or_else(|| unusable("life", "no row in `journal_state`"))?;
        Ok(Self {
            name: row.get(0)?,
            at_home: row.get(1)?,
            beats: row.get(2)?,
            brought: row.get(3)?,
        })
    }

    /// The next one begins with the commit.
    async fn end(&self, tx: &mut Tx) -> Result<(), Error> {
        if self.brought {
            tx.execute_script(postgres::FORGET).await?;
        }
        Ok(tx.execute_script(postgres::BEGIN_LIFE).await?)
    }
}
