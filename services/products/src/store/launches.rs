//! The launches that are written down, and how far each replica has come with them.

use super::Store;
use crate::launch::What;
use crate::model::ProductId;
use larder_db::{Error, Row, args};

/// Not those whose time was at or before $1.
const OPEN: &str = "SELECT count(*) FROM launches WHERE launch_at > $1";
const ADD: &str = "INSERT INTO launches (id, category, ids, launch_at) VALUES ($1, $2, $3, $4)";
const CURRENT: &str = "SELECT id, category, ids, launch_at FROM launches WHERE launch_at > $1 \
    ORDER BY launch_at, id LIMIT $2";
const FORGET: &str = "DELETE FROM launches WHERE launch_at <= $1";
const SAY: &str = "INSERT INTO launch_replicas (launch_id, replica, loaded, missing, total) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (launch_id, replica) DO UPDATE \
    SET loaded = excluded.loaded, missing = excluded.missing, total = excluded.total";
const SAID: &str = "SELECT loaded, missing, total FROM launch_replicas WHERE launch_id = $1";

/// A launch that is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    /// Which.
    pub id: String,
    /// What goes on sale.
    pub what: What,
    /// When, in microseconds since 1970.
    pub at: i64,
}

/// How far a replica is with a launch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Said {
    /// Products that it holds.
    pub loaded: u64,
    /// Those that do not exist.
    pub missing: u64,
    /// All of them.
    pub total: u64,
}

impl Said {
    /// Whether it holds all that there are.
    pub fn is_whole(&self) -> bool {
        self.loaded + self.missing == self.total
    }
}

impl Store {
    /// Writes a launch down, unless there are `most` already whose time was after `over`. Those
    /// whose time was before `old` are forgotten.
    pub async fn add_launch(
        &self,
        launch: &Launch,
        (most, over, old): (i64, i64, i64),
    ) -> Result<bool, Error> {
        let mut tx = self.database().begin_write().await?;
        tx.execute(FORGET, args![old]).await?;
        let open: i64 = tx.fetch_one(OPEN, args![over]).await?.get(0)?;
        if open >= most {
            tx.rollback().await?;
            return Ok(false);
        }
        let (category, ids) = match &launch.what {
            What::Category(category) => (category.as_str(), String::new()),
            What::Ids(ids) => {
                let ids: Vec<&str> = ids.iter().map(ProductId::as_str).collect();
                ("", ids.join("\n"))
            }
        };
        tx.execute(ADD, args![&launch.id, category, &ids, launch.at])
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The launches whose time was not before `over`, at most so many, the next ones first.
    pub async fn launches(&self, over: i64, most: i64) -> Result<Vec<Launch>, Error> {
        let rows = self
            .database()
            .fetch_all(CURRENT, args![over, most])
            .await?;
        rows.iter().map(launch).collect()
    }

    /// Notes how far a replica is.
    pub async fn say(&self, launch: &str, replica: &str, said: Said) -> Result<(), Error> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (loaded, missing) = (number(said.loaded), number(said.missing));
        let arguments = args![launch, replica, loaded, missing, number(said.total)];
        let mut tx = self.database().begin_write().await?;
        tx.execute(SAY, arguments).await?;
        tx.commit().await
    }

    /// How far all replicas are that take part.
    pub async fn said(&self, launch: &str) -> Result<Vec<Said>, Error> {
        let rows = self.database().fetch_all(SAID, args![launch]).await?;
        let said = |row: &Row| {
            let number =
                |at| Ok::<_, Error>(u64::try_from(row.get::<i64>(at)?).unwrap_or_default());
            Ok(Said {
                loaded: number(0)?,
                missing: number(1)?,
                total: number(2)?,
            })
        };
        rows.iter().map(said).collect()
    }
}

fn launch(row: &Row) -> Result<Launch, Error> {
    let (category, ids): (&str, &str) = (row.get(1)?, row.get(2)?);
    let what = match category {
        "" => What::Ids(ids.lines().filter_map(ProductId::read).collect()),
        category => What::Category(category.to_owned()),
    };
    Ok(Launch {
        id: row.get::<&str>(0)?.to_owned(),
        what,
        at: row.get(3)?,
    })
}
