//! Forgetting old lines, in two steps.
//!
//! 1. Mark: `low_marked` rises above the old lines, and commits. All of them are below the
//!    current xmin, so whoever sees the mark in a round sees those lines too.
//! 2. Drop, later and in one transaction: `low_dropped := low_marked`, and the lines go.
//!
//! A feeder that finds `low_dropped` above the `low_marked` that it saw with its coverage may
//! have missed lines, and knows it. Test: `a_feeder_that_was_silent_sees_the_gap`.

use crate::{Error, Journal};
use larder::snapshot::Xid;
use larder_db::{Engine, Row, Tx, args};

/// What one call has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    /// The new mark, if it was raised.
    pub marked: Option<Xid>,
    /// How many lines were dropped.
    pub dropped: u64,
}

impl Journal {
    /// Drops what was marked long enough ago, or else marks what is old: one of the two per
    /// call, to be called each minute. Several processes may do so; who comes second finds
    /// nothing to do.
    pub async fn prune(&self) -> Result<Pruned, Error> {
        let mut tx = self.inner.db.begin_write().await?;
        let Some(state) = self.marks(&mut tx).await? else {
            return Ok(Pruned::default());
        };
        let (pending, settled): (bool, bool) = (state.get(0)?, state.get(1)?);
        let pruned = match (pending, settled) {
            (true, true) => Pruned {
                marked: None,
                dropped: drop_marked(&mut tx).await?,
            },
            (true, false) => Pruned::default(),
            (false, _) => Pruned {
                marked: self.mark(&mut tx).await?,
                dropped: 0,
            },
        };
        tx.commit().await?;
        Ok(pruned)
    }

    /// Whether a mark is waiting and whether it has waited long enough; `None` while another
    /// process prunes. Only the database's clock is asked.
    async fn marks(&self, tx: &mut Tx) -> Result<Option<Row>, Error> {
        let sql = match tx.engine() {
            Engine::Sqlite => {
                "SELECT low_marked > low_dropped, marked_at <= unixepoch() - $1 FROM journal_state"
            }
            Engine::Postgres => {
                "SELECT low_marked > low_dropped, \
                 marked_at <= clock_timestamp() - $1 * interval '1 second' \
                 FROM journal_state FOR UPDATE SKIP LOCKED"
            }
        };
        Ok(tx
            .fetch_optional(sql, args![seconds(self.inner.settings.settle)])
            .await?)
    }

    async fn mark(&self, tx: &mut Tx) -> Result<Option<Xid>, Error> {
        let settings = &self.inner.settings;
        let most = i64::try_from(settings.drop_at_most).unwrap_or(i64::MAX);
        let sql = match tx.engine() {
            Engine::Sqlite => MARK_SQLITE,
            Engine::Postgres => MARK_POSTGRES,
        };
        let row = tx
            .fetch_optional(sql, args![seconds(settings.keep), most])
            .await?;
        let marked = row.map(|row| row.get::<i64>(0)).transpose()?;
        Ok(marked.and_then(|xid| Xid::try_from(xid).ok()))
    }
}

/// The oldest $2 lines at most, so that a drop after a long pause fits into its time.
const MARK_SQLITE: &str = "UPDATE journal_state SET marked_at = unixepoch(), \
     low_marked = 1 + (SELECT max(id) FROM (SELECT id, at FROM journal ORDER BY id LIMIT $2) \
     WHERE at < unixepoch() - $1) \
     WHERE low_marked <= (SELECT max(id) FROM (SELECT id, at FROM journal ORDER BY id LIMIT $2) \
     WHERE at < unixepoch() - $1) \
     RETURNING low_marked";

/// `at` is when a transaction began, and a line that it writes late may be old at once: so the
/// mark must not pass the current xmin, below which every transaction has ended.
const MARK_POSTGRES: &str = "UPDATE journal_state SET marked_at = clock_timestamp(), \
     low_marked = old.next::text::xid8 FROM (\
     SELECT 1 + max(xid::text::int8) AS next FROM (\
     SELECT xid, at FROM journal WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) \
     ORDER BY xid LIMIT $2) oldest \
     WHERE at < clock_timestamp() - $1 * interval '1 second') old \
     WHERE low_marked < old.next::text::xid8 RETURNING low_marked::text::int8";

async fn drop_marked(tx: &mut Tx) -> Result<u64, Error> {
    tx.execute("UPDATE journal_state SET low_dropped = low_marked", args![])
        .await?;
    let sql = match tx.engine() {
        Engine::Sqlite => "DELETE FROM journal WHERE id < (SELECT low_dropped FROM journal_state)",
        Engine::Postgres => {
            "DELETE FROM journal WHERE xid < (SELECT low_dropped FROM journal_state)"
        }
    };
    Ok(tx.execute(sql, args![]).await?)
}

fn seconds(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
