//! Every SQL statement of this service.

pub mod launches;

use crate::catalogue::Names;
use crate::listing::{Listing, Order};
use crate::model::{Change, Draft, ProductId};
use larder::feed::Written;
use larder::{Loaded, load};
use larder_db::{AssertSqlSafe, Database, Error as Db, Migrator, Row, args, migrator};
use larder_host::load::{error, loaded, proof};
use larder_host::{Entity, Migrations, among};
use larder_journal::{Error, Journal, Labelled, Watch, Watches, Write};
use larder_proto::products::v1 as wire;
use std::collections::HashMap;

/// The columns of a row, in the order that [`entity`] reads them.
macro_rules! columns {
    () => {
        "id, title, description, category, price_cents, stock, version"
    };
}

const ONE: &str = concat!("SELECT ", columns!(), " FROM products WHERE id = $1");
/// A page of products, of those that `$filter` leaves: what comes after the product of price $1
/// and id $2, at most $3. The price alone bounds the part of the index that is read.
macro_rules! page {
    ($filter:literal, "cheapest") => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM products WHERE ",
            $filter,
            "(price_cents, id) > ($1, $2) ORDER BY price_cents, id LIMIT $3"
        )
    };
    ($filter:literal, "dearest") => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM products WHERE ",
            $filter,
            "price_cents <= $1 AND (price_cents < $1 OR id > $2) ",
            "ORDER BY price_cents DESC, id LIMIT $3"
        )
    };
}

const CHEAPEST: &str = page!("", "cheapest");
const DEAREST: &str = page!("", "dearest");
const CHEAPEST_OF: &str = page!("category = $4 AND ", "cheapest");
const DEAREST_OF: &str = page!("category = $4 AND ", "dearest");

/// The ids of a category's products, each with its price: what comes after the product of price
/// $2 and id $3, at most $4. The index alone answers it.
const IDS_OF: &str = "SELECT id, price_cents FROM products \
    WHERE category = $1 AND (price_cents, id) > ($2, $3) ORDER BY price_cents, id LIMIT $4";
/// Ids read by one statement.
const IDS: u32 = 1000;

/// The categories behind $1, at most $2. Each is one step into the index, however many products it
/// has, which neither engine does for a DISTINCT.
const CATEGORIES: &str = "WITH RECURSIVE named (category) AS ( \
    SELECT min(category) FROM products WHERE category > $1 \
    UNION ALL \
    SELECT (SELECT min(category) FROM products WHERE category > named.category) \
        FROM named WHERE named.category IS NOT NULL \
    ) SELECT category FROM named WHERE category IS NOT NULL LIMIT $2";
/// The ids behind $1, at most $2.
const ALL_IDS: &str = "SELECT id FROM products WHERE id > $1 ORDER BY id LIMIT $2";

const INSERT: &str = concat!(
    "INSERT INTO products (id, title, description, category, price_cents, stock, version) ",
    "VALUES ($1, $2, $3, $4, $5, $6, 1 + (SELECT highest FROM products_deleted)) ",
    "RETURNING ",
    columns!()
);
const UPDATE: &str = concat!(
    "UPDATE products SET title = COALESCE($2, title), ",
    "description = COALESCE($3, description), category = COALESCE($4, category), ",
    "price_cents = COALESCE($5, price_cents), stock = COALESCE($6, stock), ",
    "version = version + 1 WHERE id = $1 AND ($7 IS NULL OR version = $7) ",
    "RETURNING ",
    columns!()
);
const DELETE: &str = concat!(
    "DELETE FROM products WHERE id = $1 AND ($2 IS NULL OR version = $2) RETURNING ",
    columns!()
);
const VERSION: &str = "SELECT version FROM products WHERE id = $1";

/// The history of the tables.
pub fn migrations() -> Migrations {
    let of = |products, launches| -> Migrator {
        migrator(&[(1, "products", products), (2, "launches", launches)])
    };
    Migrations {
        sqlite: of(
            include_str!("../migrations/sqlite/1_products.sql"),
            include_str!("../migrations/sqlite/2_launches.sql"),
        ),
        postgres: of(
            include_str!("../migrations/postgres/1_products.sql"),
            include_str!("../migrations/postgres/2_launches.sql"),
        ),
    }
}

/// What a change of a row touches: the product, every page of the category that it is in or was
/// in before, and every page of the list of all.
pub fn watches() -> Watches {
    let products = Watch::table("products")
        .row("products", "id")
        .collection("products.category", "category")
        .constant("products.all", "price")
        .keyspaces(&[
            "products",
            "products.list",
            "products.categories",
            "products.ids",
        ]);
    Watches::revision(2).watch(products)
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
    #[error("there is such a product already")]
    Exists,
    /// There is no such product.
    #[error("there is no such product")]
    Missing,
    /// The product is of another version.
    #[error("the product is of version {actual}, not {expected}")]
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

    /// Loads products, each or its absence.
    pub async fn load(&self, ids: &[ProductId]) -> Result<Vec<Loaded<Entity>>, load::Error> {
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

    async fn find(&self, ids: &[ProductId]) -> Result<Labelled, Error> {
        if let [id] = ids {
            return self.journal.read(ONE, args![id.as_str()]).await;
        }
        let (places, arguments) = among(ids.iter().map(ProductId::as_str));
        let sql = format!(
            concat!("SELECT ", columns!(), " FROM products WHERE id IN ({})"),
            places
        );
        self.journal.read(AssertSqlSafe(sql), &arguments).await
    }

    /// The products of a page, and one more where there is a page behind it.
    pub async fn list(&self, page: &Listing) -> Result<Labelled, Error> {
        // No product is cheaper or dearer than these, and every id comes after the empty text.
        let (price, id) = match (&page.after, page.order) {
            (Some((price, id)), _) => (*price, id.as_str()),
            (None, Order::Cheapest) => (i64::MIN, ""),
            (None, Order::Dearest) => (i64::MAX, ""),
        };
        let (journal, count) = (&self.journal, page.size + 1);
        match (page.order, page.category.as_deref()) {
            (Order::Cheapest, None) => journal.read(CHEAPEST, args![price, id, count]).await,
            (Order::Dearest, None) => journal.read(DEAREST, args![price, id, count]).await,
            (Order::Cheapest, Some(category)) => {
                journal
                    .read(CHEAPEST_OF, args![price, id, count, category])
                    .await
            }
            (Order::Dearest, Some(category)) => {
                journal
                    .read(DEAREST_OF, args![price, id, count, category])
                    .await
            }
        }
    }

    /// The ids of the products of a category, as of one moment, read page by page; the reading
    /// ends at the page that makes them more than `most`.
    pub async fn ids_of(&self, category: &str, most: usize) -> Result<Vec<ProductId>, Db> {
        let mut read = self.database().begin_read().await?;
        let mut ids = Vec::new();
        let mut after = (i64::MIN, String::new());
        while ids.len() <= most {
            let arguments = args![category, after.0, &after.1, IDS];
            let page = read.fetch_all(IDS_OF, arguments).await?;
            for row in &page {
                // What was written by hand may have a name that nobody can ask for.
                ids.extend(ProductId::read(row.get(0)?));
            }
            match page.last() {
                Some(last) if page.len() == IDS as usize => after = (last.get(1)?, last.get(0)?),
                _ => break,
            }
        }
        read.rollback().await?;
        Ok(ids)
    }

    /// The categories of a page, and one more where there is a page behind it.
    pub async fn categories(&self, page: &Names) -> Result<Labelled, Error> {
        let arguments = args![page.after.as_str(), page.size + 1];
        self.journal.read(CATEGORIES, arguments).await
    }

    /// The ids of a page, and one more where there is a page behind it.
    pub async fn ids(&self, page: &Names) -> Result<Labelled, Error> {
        let arguments = args![page.after.as_str(), page.size + 1];
        self.journal.read(ALL_IDS, arguments).await
    }

    /// Makes a product.
    pub async fn create(&self, draft: &Draft) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let content = &draft.content;
        let arguments = args![
            draft.id.as_str(),
            &content.title,
            &content.description,
            &content.category,
            content.price_cents,
            content.stock,
        ];
        match write.fetch_one(INSERT, arguments).await {
            Ok(row) => finish(write, &row).await,
            Err(Db::Unique { .. }) => Err(Refused::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a product.
    pub async fn update(&self, change: &Change) -> Result<Done, Refused> {
        let mut write = self.journal.begin().await?;
        let arguments = args![
            change.id.as_str(),
            change.title.as_deref(),
            change.description.as_deref(),
            change.category.as_deref(),
            change.price_cents,
            change.stock,
            expected(change.expected_version),
        ];
        match write.fetch_optional(UPDATE, arguments).await? {
            Some(row) => finish(write, &row).await,
            None => Err(why_not(write, &change.id, change.expected_version).await?),
        }
    }

    /// Deletes a product; it is answered as it was.
    pub async fn delete(&self, id: &ProductId, version: Option<u64>) -> Result<Done, Refused> {
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
    let version = u64::try_from(row.get::<i64>(6)?).unwrap_or_default();
    let product = wire::Product {
        id: row.get(0)?,
        title: row.get(1)?,
        description: row.get(2)?,
        category: row.get(3)?,
        price_cents: row.get(4)?,
        stock: row.get(5)?,
        version,
    };
    Ok(Entity::new(version, &product))
}

/// A row's id, and its price: its place in every list.
pub fn place(row: &Row) -> Result<(&str, i64), Db> {
    Ok((row.get(0)?, row.get(4)?))
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
    id: &ProductId,
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
