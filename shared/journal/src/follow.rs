//! Following one collection: the keys of its new lines, in words.
//!
//! A round says which tags moved, and a tag is a hash, which is all that a cache has to know. Who
//! wants to *do* something about what happened (warm what a new row will make people ask for)
//! needs its key as it was written. What is new is known as in a round: it is visible now and was
//! not in the snapshot before. There is no cursor over numbers, which would pass over a
//! transaction that commits after a later one.
//!
//! ```no_run
//! # async fn example(journal: larder_journal::Journal) -> Result<(), larder_journal::Error> {
//! let mut follower = journal.follow("notes.author", 100);
//! // The first look is where it begins: nothing that was written before is new.
//! assert!(follower.look().await?.keys.is_empty());
//! for author in follower.look().await?.keys {
//!     println!("{author} wrote, changed or deleted a note");
//! }
//! # Ok(())
//! # }
//! ```

use crate::header::{Header, unusable};
use crate::sql::{postgres, sqlite};
use crate::{Error, Journal};
use larder::feed::{Coverage, Round};
use larder_db::{Engine, Row, args};
use std::collections::HashSet;

/// See the module's documentation. It is this process's own: what it saw is nobody's but its, and
/// gone with it.
#[derive(Debug)]
pub struct Follower {
    journal: Journal,
    collection: String,
    most: u32,
    /// What was seen; `None` before the first look.
    seen: Option<Coverage>,
}

/// What one look found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct News {
    /// The keys, each once, the newest first.
    pub keys: Vec<String>,
    /// There were older ones too, which no look will find: they were more than asked for.
    pub cut: bool,
    /// What was new could not be told from what was not, after a restore, a failover, or a pause
    /// longer than lines are kept: the next look begins from here.
    pub gap: bool,
}

impl Journal {
    /// Follows a collection from its first look on; a look finds the newest `most` lines.
    pub fn follow(&self, collection: &str, most: u32) -> Follower {
        Follower {
            journal: self.clone(),
            collection: collection.to_owned(),
            most,
            seen: None,
        }
    }
}

impl Follower {
    /// What is new since the last look. One that fails, or is dropped before its end, has seen
    /// nothing, and the next finds what it would have found.
    pub async fn look(&mut self) -> Result<News, Error> {
        let Some(seen) = &self.seen else {
            // Any snapshot will do where no line is asked for.
            let rows = self.read("1:1:", i64::MAX, 0).await?;
            self.seen = Some(header(&rows)?.1);
            return Ok(News::default());
        };
        let first = i64::try_from(seen.snapshot.xmin()).unwrap_or(i64::MAX);
        let most = self.most.saturating_add(1);
        let rows = self.read(&seen.snapshot.to_string(), first, most).await?;
        let (round, now) = header(&rows)?;
        let gap = round.epoch != seen.epoch || round.low_dropped > seen.low_marked;
        let news = match gap {
            true => News {
                gap,
                ..News::default()
            },
            false => self.news(&rows)?,
        };
        self.seen = Some(now);
        Ok(news)
    }

    /// What is new in `snapshot`'s eyes on PostgreSQL, and from the line `first` on SQLite.
    async fn read(&self, snapshot: &str, first: i64, most: u32) -> Result<Vec<Row>, Error> {
        let (db, collection) = (&self.journal.inner.db, &self.collection);
        Ok(match db.engine() {
            Engine::Sqlite => {
                let arguments = args![first, most, collection];
                db.fetch_all(sqlite::FOLLOW, arguments).await?
            }
            Engine::Postgres => {
                let arguments = args![snapshot, most, collection];
                db.fetch_all(postgres::FOLLOW, arguments).await?
            }
        })
    }

    fn news(&self, rows: &[Row]) -> Result<News, Error> {
        let lines = rows.iter().filter(|row| !is_header(row));
        let keys: Vec<&str> = lines
            .map(|row| row.get(1))
            .collect::<Result<_, larder_db::Error>>()?;
        let most = self.most as usize;
        let cut = keys.len() > most;
        let mut known = HashSet::new();
        let newest = keys.into_iter().take(most);
        Ok(News {
            keys: newest
                .filter(|key| known.insert(*key))
                .map(str::to_owned)
                .collect(),
            cut,
            gap: false,
        })
    }
}

fn is_header(row: &Row) -> bool {
    matches!(row.get::<Option<&str>>(0), Ok(None))
}

fn header(rows: &[Row]) -> Result<(Round, Coverage), Error> {
    let row = rows.iter().find(|row| is_header(row));
    let row = row.ok_or_else(|| unusable("look", "no header"))?;
    let round = Header::parse(row.get(1)?)?.round()?;
    let coverage = Coverage {
        epoch: round.epoch,
        snapshot: round.snapshot.clone(),
        low_marked: round.low_marked,
    };
    Ok((round, coverage))
}
