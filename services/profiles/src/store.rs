//! Every SQL statement of this service.

use crate::model::{Change, Draft, ProfileId};
use larder::feed::Written;
use larder::{Loaded, load};
use larder_db::{AssertSqlSafe, Database, Error as Db, Migrator, Row, args, migrator};
use larder_host::load::{error, loaded, proof};
use larder_host::{Entity, Migrations, among};
use larder_journal::{Error, Journal, Labelled, Watch, Watches, Write};
use larder_proto::profiles::v1 as wire;
use std::collections::HashMap;

/// The columns of a row, in the order that [`entity`] reads them.
macro_rules! columns {
    () => {
        "id, display_name, bio, avatar_url, followers, version"
    };
}

const ONE: &str = concat!("SELECT ", columns!(), " FROM profiles WHERE id = $1");
const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM profiles WHERE id > $1 ORDER BY id LIMIT $2"
);
const INSERT: &str = concat!(
    "INSERT INTO profiles (id, display_name, bio, avatar_url, followers, version) ",
    "VALUES ($1, $2, $3, $4, $5, 1 + (SELECT highest FROM profiles_deleted)) ",
    "RETURNING ",
    columns!()
);
const UPDATE: &str = concat!(
    "UPDATE profiles SET display_name = COALESCE($2, display_name), bio = COALESCE($3, bio), ",
    "avatar_url = COALESCE($4, avatar_url), followers = COALESCE($5, followers), ",
    "version = version + 1 WHERE id = $1 AND ($6 IS NULL OR version = $6) ",
    "RETURNING ",
    columns!()
);
const DELETE: &str = concat!(
    "DELETE FROM profiles WHERE id = $1 AND ($2 IS NULL OR version = $2) RETURNING ",
    columns!()
);
const VERSION: &str = "SELECT version FROM profiles WHERE id = $1";

/// The history of the tables.
pub fn migrations() -> Migrations {
    let of = |sql| -> Migrator { migrator(&[(1, "profiles", sql)]) };
    Migrations {
        sqlite: of(include_str!("../migrations/sqlite/1_profiles.sql")),
        postgres: of(include_str!("../migrations/postgres/1_profiles.sql")),
    }
}

/// What a change of a row touches: the profile, and every page of the list.
pub fn watches() -> Watches {
    let profiles = Watch::table("profiles")
        .row("profiles", "id")
        .constant("profiles.all", "id")
        .keyspaces(&["profiles", "profiles.list"]);
    Watches::revision(1).watch(profiles)
}

/// The rows. Clones are of the same table.
#[derive(Clone, Debug)]
pub struct Store {
    journal: Journal,
}

/// A row as written, and what to tell the cache of it.
pub type Done = (Entity, Option<Written>);

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The id is taken.
    #[error("there is such a profile already")]
    Exists,
    /// There is no such profile.
    #[error("there is no such profile")]
    Missing,
    /// The profile is of another version.
    #[error("the profile is of version {actual}, not {expected}")]
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

    /// The database that they are in.
    pub fn database(&self) -> &Database {
        self.journal.database()
    }

    /// Loads profiles, each or its absence.
    pub async fn load(&self, ids: &[ProfileId]) -> Result<Vec<Loaded<Entity>>, load::Error> {
        let read = self.find(ids).await.map_err(error)?;
        let found = read
            .rows
            .iter()
            .map(|row| Ok((row.get::<&str>(0)?, entity(row)?)));
        let found: Result<HashMap<_, _>, Db> = found.collect();
        let (mut found, proof) = (found.map_err(|broken| error(broken.into()))?, proof(&read));
        let ids = ids
            .iter()
            .map(|id| loaded(found.remove(id.as_str()), proof.clone()));
        Ok(ids.collect())
    }

    async fn find(&self, ids: &[ProfileId]) -> Result<Labelled, Error> {
        if let [id] = ids {
            return self.journal.read(ONE, args![id.as_str()]).await;
        }
        let (places, arguments) = among(ids.iter().map(ProfileId::as_str));
        let sql = format!(
            concat!("SELECT ", columns!(), " FROM profiles WHERE id IN ({})"),
            places
        );
        self.journal.read(AssertSqlSafe(sql), &arguments).await
    }

    /// The first `count` profiles whose ids come after this one, in the order of their ids.
    pub async fn list(&self, after: Option<&ProfileId>, count: u32) -> Result<Labelled, Error> {
        // Every id comes after the empty text.
        let after = after.map_or("", ProfileId::as_str);
        self.journal.read(PAGE, args![after, count]).await
    }

    /// Makes a profile.
    pub async fn create(&self, draft: &Draft) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let content = &draft.content;
        let arguments = args![
            draft.id.as_str(),
            &content.display_name,
            &content.bio,
            &content.avatar_url,
            content.followers,
        ];
        match write.fetch_one(INSERT, arguments).await {
            Ok(row) => finish(write, &row).await,
            Err(Db::Unique { .. }) => Err(Refused::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a profile.
    pub async fn update(&self, change: &Change) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let arguments = args![
            change.id.as_str(),
            change.display_name.as_deref(),
            change.bio.as_deref(),
            change.avatar_url.as_deref(),
            change.followers,
            expected(change.expected_version),
        ];
        match write.fetch_optional(UPDATE, arguments).await? {
            Some(row) => finish(write, &row).await,
            None => Err(why_not(write, &change.id, change.expected_version).await?),
        }
    }

    /// Deletes a profile; it is answered as it was.
    pub async fn delete(&self, id: &ProfileId, version: Option<u64>) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let arguments = args![id.as_str(), expected(version)];
        match write.fetch_optional(DELETE, arguments).await? {
            Some(row) => finish(write, &row).await,
            None => Err(why_not(write, id, version).await?),
        }
    }
}

/// A row as it goes to callers.
pub fn entity(row: &Row) -> Result<Entity, Db> {
    let version = u64::try_from(row.get::<i64>(5)?).unwrap_or_default();
    let profile = wire::Profile {
        id: row.get(0)?,
        display_name: row.get(1)?,
        bio: row.get(2)?,
        avatar_url: row.get(3)?,
        followers: row.get(4)?,
        version,
    };
    Ok(Entity::new(version, &profile))
}

/// A version that no row has stands for one that no row can have.
fn expected(version: Option<u64>) -> Option<i64> {
    version.map(|version| i64::try_from(version).unwrap_or(-1))
}

async fn finish(write: Write, row: &Row) -> Result<Done, Refused> {
    let entity = entity(row)?;
    Ok((entity, write.commit().await?))
}

/// Why a statement found no row to write.
async fn why_not(
    mut write: Write,
    id: &ProfileId,
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
