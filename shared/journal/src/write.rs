//! A transaction that knows what it changed.

use crate::header::{epoch, number, unusable};
use crate::sql::{WRITTEN_AT_MOST, postgres, sqlite};
use crate::{Error, Journal};
use larder::feed::Written;
use larder::key::Tag;
use larder_db::{Engine, Tx, args};
use std::ops::{Deref, DerefMut};

/// A transaction that reads its own lines back, last before it commits. It is a [`Tx`] in all
/// else; dropped without [`Write::commit`] it is rolled back.
#[derive(Debug)]
pub struct Write {
    tx: Tx,
    /// The highest line before this transaction; only SQLite needs it.
    mark: i64,
    /// Whether SQLite folds its lines.
    folds: bool,
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
        let folds = false;
        Ok(Write { tx, mark, folds })
    }

    /// Begins a transaction that writes many rows: those of tables that are watched as
    /// [`folded`](crate::Watch::folded) write each line once, on either engine.
    pub async fn begin_bulk(&self) -> Result<Write, Error> {
        let mut write = self.begin().await?;
        write.folds = write.engine() == Engine::Sqlite && self.inner.watches.folded();
        if write.folds {
            let mark = write.mark;
            write.tx.execute(sqlite::FOLD, args![mark]).await?;
        }
        Ok(write)
    }
}

impl Write {
    /// Commits. What it touched is `None` if that is nothing.
    ///
    /// An error of the database's kind `CommitUnknown` means that nobody knows whether it
    /// happened, so there is nothing to show for it; after any other it has not.
    pub async fn commit(mut self) -> Result<Option<Written>, Error> {
        let (row, committed) = match self.tx.engine() {
            Engine::Sqlite => {
                if self.folds {
                    self.tx.execute(sqlite::UNFOLD, args![]).await?;
                }
                let row = self
                    .tx
                    .fetch_optional(sqlite::FINISH, args![self.mark, WRITTEN_AT_MOST + 1])
                    .await?;
                (row, self.tx.commit().await)
            }
            Engine::Postgres => (
                self.tx
                    .commit_with(postgres::FINISH)
                    .await?
                    .into_iter()
                    .next(),
                Ok(()),
            ),
        };
        committed?;
        // By now it is committed: what cannot be read must pass neither for nothing written nor
        // for a failure.
        let unknown = |error: Error| larder_db::Error::CommitUnknown(Box::new(error));
        let Some(row) = row else { return Ok(None) };
        let text = |index| row.get::<Option<&str>>(index);
        let text = |index| text(index).map_err(|error| unknown(error.into()));
        let (lines, life) = (text(0)?, text(1)?);
        Ok(written(lines.unwrap_or("0|0|0|0"), life).map_err(unknown)?)
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

/// In no life: whoever shows a token of it is answered by the database.
const NO_LIFE: &str = "0";

/// Reads `server|xid|timeline|count`, and for each line a record separator, its tag, a unit
/// separator, its key. A tag or key may contain these characters, and then the count tells. Where
/// a life has ended and the next has not begun, `life` is `None`.
fn written(text: &str, life: Option<&str>) -> Result<Option<Written>, Error> {
    let mut records = text.split('\u{1e}');
    let mut head = records.next().unwrap_or_default().split('|');
    let mut field = || head.next().ok_or_else(|| unusable("commit", text));
    let (_server, xid, timeline) = (field()?, number(field()?)?, field()?);
    let epoch = epoch(life.unwrap_or(NO_LIFE), timeline)?;
    let count = number(field()?)?;
    if count == 0 {
        return Ok(None);
    }
    let tag = |record: &str| {
        let (tag, key) = record
            .split_once('\u{1f}')
            .filter(|(_, key)| !key.contains('\u{1f}'))?;
        Some(Tag::of(tag, key))
    };
    let tags: Option<Vec<_>> = records.map(tag).collect();
    let mut tags = tags
        .filter(|tags| tags.len() as u64 == count && count <= u64::from(WRITTEN_AT_MOST))
        .unwrap_or_else(|| vec![Tag::all()]);
    tags.sort_unstable();
    tags.dedup();
    Ok(Some(Written { epoch, xid, tags }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whatever_is_in_their_keys() {
        let tags = |text: &str| {
            written(text, Some("5"))
                .unwrap()
                .map(|written| written.tags)
        };
        let mut two = vec![Tag::of("a", "1|2"), Tag::of("b", "")];
        two.sort_unstable();
        assert_eq!(
            tags("5|7|00000001|2\u{1e}a\u{1f}1|2\u{1e}b\u{1f}"),
            Some(two)
        );
        assert_eq!(tags("5|7|00000001|0"), None);
        let forged = [
            "1\u{1e}a\u{1f}1\u{1e}b\u{1f}2",
            "1\u{1e}a\u{1f}1\u{1f}2",
            "1\u{1e}a\u{1f}1\u{1e}x",
        ];
        for forged in forged {
            assert_eq!(
                tags(&format!("5|7|00000001|{forged}")),
                Some(vec![Tag::all()]),
                "{forged:?}"
            );
        }
        assert!(written("5|7", None).is_err());
        let of_no_life = written("5|7|00000001|1\u{1e}a\u{1f}1", None).unwrap();
        assert_eq!(of_no_life.unwrap().epoch.system, 0);
    }
}
