//! A transaction that knows what it changed.

use crate::header::{Header, number, unusable};
use crate::sql::{postgres, sqlite};
use crate::{Error, Journal};
use larder::feed::Written;
use larder::key::Tag;
use larder_db::{Engine, Row, Tx, args};
use std::ops::{Deref, DerefMut};

/// A transaction that reads its own lines back, last before it commits. It is a [`Tx`] in all
/// else; dropped without [`Write::commit`] it is rolled back.
#[derive(Debug)]
pub struct Write {
    tx: Tx,
    /// The highest line before this transaction; only SQLite needs it.
    mark: i64,
    at_most: u32,
}

impl Journal {
    /// Begins a transaction that writes.
    pub async fn begin(&self) -> Result<Write, Error> {
        let mut tx = self.inner.db.begin_write().await?;
        let mark = match tx.engine() {
            // Nobody else writes between here and the commit: what comes above is our own.
            Engine::Sqlite => tx.fetch_one(sqlite::LAST, args![]).await?.get(0)?,
            Engine::Postgres => 0,
        };
        Ok(Write { tx, mark, at_most: self.inner.settings.written_at_most })
    }
}

impl Write {
    /// Commits. What it touched is `None` if that is nothing.
    ///
    /// An error of the database's kind `CommitUnknown` means that nobody knows whether it
    /// happened, so there is nothing to show for it; after any other it has not.
    pub async fn commit(mut self) -> Result<Option<Written>, Error> {
        let most = self.at_most.saturating_add(1);
        let rows = match self.tx.engine() {
            Engine::Sqlite => self.tx.fetch_all(sqlite::FINISH, args![self.mark, most]).await?,
            Engine::Postgres => self.tx.fetch_all(postgres::FINISH, args![most]).await?,
        };
        let written = written(&rows, self.at_most)?;
        self.tx.commit().await?;
        Ok(written)
    }

    /// Rolls back and waits for it, which dropping does not.
    pub async fn rollback(self) -> Result<(), Error> {
        Ok(self.tx.rollback().await?)
    }
}

impl Deref for Write {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

/// The first row is the transaction's number with the header, each further one a line.
fn written(rows: &[Row], at_most: u32) -> Result<Option<Written>, Error> {
    let Some((first, lines)) = rows.split_first() else { return Ok(None) };
    if lines.is_empty() {
        return Ok(None);
    }
    let header = Header::parse(first.get(1)?)?;
    let epoch = header.epoch.ok_or_else(|| unusable("epoch", ""))?;
    let mut tags = vec![Tag::all()];
    if lines.len() <= at_most as usize {
        let tag = |row: &Row| Ok(Tag::of(row.get(0)?, row.get(1)?));
        tags = lines.iter().map(tag).collect::<Result<_, larder_db::Error>>()?;
        tags.sort_unstable();
        tags.dedup();
    }
    Ok(Some(Written { epoch, xid: number(first.get(0)?)?, tags }))
}
