//! Every SQL statement of this service.

use crate::listing::Page;
use crate::model::{AuthorId, Change, Comment, CommentId, Draft, timestamp};
use larder::feed::Written;
use larder::{Loaded, load};
use larder_db::{AssertSqlSafe, Error as Db, Migrator, Row, args, migrator};
use larder_host::{Entity, Migrations};
use larder_journal::{Error, Journal, Labelled, Watch, Watches, Write};
use larder_proto::comments::v1 as wire;
use std::collections::HashMap;

/// The columns of a row, in the order that [`comment`] reads them.
macro_rules! columns {
    () => {
        "id, product_id, author_id, body, created_at, version"
    };
}

const ONE: &str = concat!("SELECT ", columns!(), " FROM comments WHERE id = $1");
const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM comments WHERE product_id = $1 AND (created_at, id) < ($2, $3) ",
    "ORDER BY created_at DESC, id DESC LIMIT $4"
);
/// The database tells the time: of all replicas it is the one clock.
const INSERT: &str = concat!(
    "INSERT INTO comments (id, product_id, author_id, body, version) ",
    "VALUES ($1, $2, $3, $4, 1 + (SELECT highest FROM comments_deleted)) ",
    "RETURNING ",
    columns!()
);
const UPDATE: &str = concat!(
    "UPDATE comments SET body = COALESCE($2, body), version = version + 1 ",
    "WHERE id = $1 AND ($3 IS NULL OR version = $3) ",
    "RETURNING ",
    columns!()
);
const DELETE: &str = concat!(
    "DELETE FROM comments WHERE id = $1 AND ($2 IS NULL OR version = $2) RETURNING ",
    columns!()
);
const VERSION: &str = "SELECT version FROM comments WHERE id = $1";

/// The history of the tables.
pub fn migrations() -> Migrations {
    let of = |sql| -> Migrator { migrator(&[(1, "comments", sql)]) };
    Migrations {
        sqlite: of(include_str!("../migrations/sqlite/1_comments.sql")),
        postgres: of(include_str!("../migrations/postgres/1_comments.sql")),
    }
}

/// The collection whose lines tell in words who has commented on what: `kettle/ada`. Nothing
/// cached depends on it; see `crowd.rs`.
pub const POSTED: &str = "comments.posted";

/// What a change of a row touches: the comment, and every page of its product's, also of the one
/// that it was about before. One line more says whose comment it is, and on what.
pub fn watches() -> Watches {
    let comments = Watch::table("comments")
        .row("comments", "id")
        .collection("comments.product", "product_id")
        .collection(POSTED, ["product_id", "author_id"])
        .keyspaces(&["comments", "comments.list"]);
    Watches::revision(2).watch(comments)
}

/// The rows. Clones are of the same table.
#[derive(Clone, Debug)]
pub struct Store {
    journal: Journal,
}

/// A row as written, and what to tell the cache of it.
pub type Done = (Comment, Option<Written>);

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The id is taken.
    #[error("there is such a comment already")]
    Exists,
    /// There is no such comment.
    #[error("there is no such comment")]
    Missing,
    /// The comment is of another version.
    #[error("the comment is of version {actual}, not {expected}")]
    Version {
        /// The version that it should have been of.
        expected: u64,
        /// Its version.
        actual: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<Db> for Refused {
    fn from(error: Db) -> Self {
        Self::Database(error.into())
    }
}

impl Store {
    /// The rows in the database of this journal.
    pub fn new(journal: &Journal) -> Self {
        Self {
            journal: journal.clone(),
        }
    }

    /// Loads comments, each or its absence.
    pub async fn load(&self, ids: &[CommentId]) -> Result<Vec<Loaded<Comment>>, load::Error> {
        let read = self.find(ids).await.map_err(larder_host::load::error)?;
        let proof = larder_host::load::proof(&read);
        let mut found = HashMap::with_capacity(read.rows.len());
        for row in &read.rows {
            let broken = |error: Db| larder_host::load::error(error.into());
            found.insert(id(row).map_err(broken)?, comment(row).map_err(broken)?);
        }
        let loaded =
            |id: &CommentId| larder_host::load::loaded(found.remove(id.as_str()), proof.clone());
        Ok(ids.iter().map(loaded).collect())
    }

    async fn find(&self, ids: &[CommentId]) -> Result<Labelled, Error> {
        if let [id] = ids {
            return self.journal.read(ONE, args![id.as_str()]).await;
        }
        let (among, arguments) = larder_host::among(ids.iter().map(CommentId::as_str));
        let sql = format!(
            concat!("SELECT ", columns!(), " FROM comments WHERE id IN ({})"),
            among
        );
        self.journal.read(AssertSqlSafe(sql), &arguments).await
    }

    /// The newest `count` comments of this page's product that come after the page before.
    pub async fn list(&self, page: &Page, count: u32) -> Result<Labelled, Error> {
        // No row is of the last moment.
        let (created_at, id) = page
            .before
            .as_ref()
            .map_or((i64::MAX, ""), |(t, id)| (*t, id));
        let arguments = args![page.product.as_str(), created_at, id, count];
        self.journal.read(PAGE, arguments).await
    }

    /// Makes a comment, now.
    pub async fn create(&self, draft: &Draft) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let (id, product) = (draft.id.as_str(), draft.product.as_str());
        let arguments = args![id, product, draft.author.as_str(), &draft.body];
        match write.fetch_one(INSERT, arguments).await {
            Ok(row) => finish(write, &row).await,
            Err(Db::Unique { .. }) => Err(Refused::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a comment.
    pub async fn update(&self, change: &Change) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let expected_version = expected(change.expected_version);
        let arguments = args![change.id.as_str(), change.body.as_deref(), expected_version];
        match write.fetch_optional(UPDATE, arguments).await? {
            Some(row) => finish(write, &row).await,
            None => Err(why_not(write, &change.id, change.expected_version).await?),
        }
    }

    /// Deletes a comment; it is answered as it was.
    pub async fn delete(&self, id: &CommentId, version: Option<u64>) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let arguments = args![id.as_str(), expected(version)];
        match write.fetch_optional(DELETE, arguments).await? {
            Some(row) => finish(write, &row).await,
            None => Err(why_not(write, id, version).await?),
        }
    }
}

/// A row's id.
pub fn id(row: &Row) -> Result<&str, Db> {
    row.get(0)
}

/// When a row was made, in microseconds.
pub fn created_at(row: &Row) -> Result<i64, Db> {
    row.get(4)
}

/// A row as keyspaces hold it, and, but for the author's name, as it goes to callers.
pub fn comment(row: &Row) -> Result<Comment, Db> {
    let version = u64::try_from(row.get::<i64>(5)?).unwrap_or_default();
    let message = wire::Comment {
        id: row.get(0)?,
        product_id: row.get(1)?,
        author_id: row.get(2)?,
        body: row.get(3)?,
        created_at: Some(timestamp(created_at(row)?)),
        version,
        author_display_name: String::new(),
    };
    let broken = || Db::Refused("an author's id is none, though the table checks it".into());
    let author = AuthorId::read(&message.author_id).ok_or_else(broken)?;
    Ok(Comment {
        entity: Entity::new(version, &message),
        author,
    })
}

/// A version that no row has stands for one that no row can have.
fn expected(version: Option<u64>) -> Option<i64> {
    version.map(|version| i64::try_from(version).unwrap_or(-1))
}

async fn finish(write: Write, row: &Row) -> Result<Done, Refused> {
    let comment = comment(row)?;
    Ok((comment, write.commit().await?))
}

/// Why a statement found no row to write.
async fn why_not(
    mut write: Write,
    id: &CommentId,
    expected: Option<u64>,
) -> Result<Refused, Refused> {
    let row = write.fetch_optional(VERSION, args![id.as_str()]).await?;
    let actual = row.map(|row| row.get::<i64>(0)).transpose()?;
    write.rollback().await?;
    Ok(match (expected, actual) {
        (Some(expected), Some(actual)) => Refused::Version {
            expected,
            actual: u64::try_from(actual).unwrap_or_default(),
        },
        _ => Refused::Missing,
    })
}
