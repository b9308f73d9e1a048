//! Rounds: what is visible now and was not in a snapshot before.

use crate::header::{Header, number, unusable};
use crate::sql::{postgres, sqlite};
use crate::{Error, Journal};
use futures_util::future::BoxFuture;
use larder::feed::{self, Change, Coverage, Feed, Line, Round, Written};
use larder::key::Tag;
use larder_db::{Engine, Row, Value, args};
use std::collections::HashMap;

impl Feed for Journal {
    fn round<'a>(
        &'a self,
        since: Option<&'a Coverage>,
    ) -> BoxFuture<'a, Result<Round, feed::Error>> {
        Box::pin(async move { Ok(self.find_round(since, since).await?) })
    }

    fn round_for<'a>(
        &'a self,
        since: Option<&'a Coverage>,
    ) -> BoxFuture<'a, Result<Round, feed::Error>> {
        Box::pin(async move { Ok(self.find_round(since, None).await?) })
    }

    fn touch<'a>(&'a self, lines: &'a [Line]) -> BoxFuture<'a, Result<Written, feed::Error>> {
        Box::pin(async move { Ok(self.insert_lines(lines).await?) })
    }
}

impl Journal {
    /// The round since `since`. Should the database be behind what is `known` of it, it has gone back.
    async fn find_round(
        &self,
        since: Option<&Coverage>,
        known: Option<&Coverage>,
    ) -> Result<Round, Error> {
        let rows = match since {
            Some(since) => self.since(since).await?,
            None => self.whole().await?,
        };
        let header = header_of(&rows.0)?;
        if header.has_ended(known) {
            self.begin_life(&header.life).await?;
        } else if since.is_none_or(|since| header.epoch == Some(since.epoch)) {
            return gather(header, rows);
        }
        // Numbers of another life say nothing here: that statement's answer is thrown away, and
        // all of the new one comes from the next.
        let rows = self.whole().await?;
        gather(header_of(&rows.0)?, rows)
    }

    async fn since(&self, since: &Coverage) -> Result<Found, Error> {
        let db = &self.inner.db;
        let most = self.inner.settings.round_at_most;
        let rows = match db.engine() {
            Engine::Sqlite => {
                let first = i64::try_from(since.snapshot.xmin()).unwrap_or(i64::MAX);
                db.fetch_all(sqlite::ROUND, args![first, most.saturating_add(1)])
                    .await?
            }
            Engine::Postgres => {
                let snapshot = since.snapshot.to_string();
                db.fetch_all(postgres::ROUND, args![&snapshot, most.saturating_add(1)])
                    .await?
            }
        };
        Ok((rows, most))
    }

    async fn whole(&self) -> Result<Found, Error> {
        let db = &self.inner.db;
        let most = self.inner.settings.whole_at_most;
        let rows = match db.engine() {
            Engine::Sqlite => {
                db.fetch_all(sqlite::ROUND, args![0_i64, most.saturating_add(1)])
                    .await?
            }
            Engine::Postgres => db.fetch_all(postgres::WHOLE, args![most]).await?,
        };
        Ok((rows, most))
    }

    async fn insert_lines(&self, lines: &[Line]) -> Result<Written, Error> {
        let rows: Vec<[Value<'_>; 2]> = lines
            .iter()
            .map(|line| [(&line.collection).into(), (&line.key).into()])
            .collect();
        let mut write = self.begin().await?;
        write.insert_many("journal (tag, key)", "", &rows).await?;
        let written = write.commit().await?;
        written.ok_or_else(|| Error::Unusable("no lines were given".to_owned()))
    }
}

/// The rows of a round, and how many lines there may be.
type Found = (Vec<Row>, u32);

/// The header has no tag, and comes wherever the engine puts it.
fn header_of(rows: &[Row]) -> Result<Header, Error> {
    let is_header = |row: &&Row| matches!(row.get::<Option<&str>>(0), Ok(None));
    let row = rows.iter().find(is_header);
    Header::parse(row.ok_or_else(|| unusable("round", "no header"))?.get(1)?)
}

fn gather(header: Header, (rows, most): Found) -> Result<Round, Error> {
    let mut round = header.round()?;
    let mut highest = 0;
    let mut everything = rows.len() > most as usize + 1;
    let mut changes: HashMap<Tag, u64> = HashMap::with_capacity(rows.len().saturating_sub(1));
    for row in &rows {
        let key: &str = row.get(1)?;
        let Some(tag) = row.get::<Option<&str>>(0)? else {
            continue;
        };
        let xid = number(row.get(2)?)?;
        highest = highest.max(xid);
        everything |= tag.is_empty();
        let known = changes.entry(Tag::of(tag, key)).or_insert(xid);
        *known = xid.max(*known);
    }
    round.changes = match everything {
        true => vec![Change {
            tag: Tag::all(),
            xid: highest,
        }],
        false => changes
            .into_iter()
            .map(|(tag, xid)| Change { tag, xid })
            .collect(),
    };
    Ok(round)
}
