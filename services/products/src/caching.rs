//! Every keyspace of this service, its policy, and what moves its entries.
//!
//! | keyspace | holds | moved by a change of |
//! |---|---|---|
//! | `products` | a row, or its absence | that row |
//! | `products.list` | a page of a category, encoded | any row that is or was in the category |
//! | | a page of all products, encoded | any row |
//! | `products.categories` | a page of the categories' names, encoded | any row |
//! | `products.ids` | a page of the ids of all products, encoded | any row |
//!
//! What is filled when, and why:
//!
//! | what | is loaded | since |
//! |---|---|---|
//! | a page of the list | lazily, by who asks; a write evicts it | one write moves every page of its category and of the list of all, and few of them are asked for again |
//! | a product | lazily, by who asks first in the cluster | most are hardly ever asked for |
//! | a product that was written | eagerly, by its writer, into the remote tier (put) | who changes a product shows that others look at it |
//! | a product of a launch | ahead, into every replica's memory, and kept there (`launch/keeper.rs`) | a crowd comes at a time that is known |
//! | the same, when it is written | eagerly, behind its lock, and pushed with the hint into every replica's memory | the write that puts it on sale moves it just when the crowd is there |
//!
//! The triggers that `store::watches` describes are the only place that says what a change
//! touches. A page holds the content of its rows and needs no tags of theirs: every change of a
//! row touches the category that the row is in, so a page moves with each row that it shows.
//! Test: `a_random_history_leaves_every_page_as_the_database_has_it`.

use crate::catalogue::{self, Names};
use crate::listing::Listing;
use crate::model::ProductId;
use crate::store::{self, Store};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use larder::policy::{Invalid, OnWrite};
use larder::{Ask, Keyspace, Load, Loaded, Policy, Source, load};
use larder_api::page::Query;
use larder_db::Error as Db;
use larder_host::Entity;
use larder_host::load::{error, loaded, proof};
use larder_journal::Labelled;
use larder_proto::Raw;
use larder_proto::products::v1 as wire;
use prost::Message;

/// The keyspaces.
#[derive(Clone)]
pub struct Keyspaces {
    /// Products by id. A write puts: a product that somebody changes is one that others look at.
    pub products: Keyspace<ProductId, Entity>,
    /// Pages of ListProducts.
    pub list: Keyspace<Listing, Bytes>,
    /// Pages of ListCategories.
    pub categories: Keyspace<Names, Bytes>,
    /// Pages of ListProductIds.
    pub ids: Keyspace<Names, Bytes>,
}

impl Keyspaces {
    /// Opens them.
    pub fn open(source: &Source, store: &Store) -> Result<Self, Invalid> {
        let policy = |on_write| Policy {
            fail_safe: true,
            on_write,
            ..Policy::default()
        };
        let products = source.keyspace("products", Products(store.clone()));
        let list = source.keyspace("products.list", Pages(store.clone()));
        let categories = source.keyspace("products.categories", Categories(store.clone()));
        let ids = source.keyspace("products.ids", Ids(store.clone()));
        Ok(Self {
            products: products.policy(policy(OnWrite::Put)).open()?,
            list: list.policy(policy(OnWrite::Evict)).open()?,
            categories: categories.policy(policy(OnWrite::Evict)).open()?,
            ids: ids.policy(policy(OnWrite::Evict)).open()?,
        })
    }
}

struct Products(Store);

impl Load<ProductId, Entity> for Products {
    fn load<'a>(
        &'a self,
        keys: &'a [ProductId],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Entity>>, load::Error>> {
        self.0.load(keys).boxed()
    }
}

struct Pages(Store);

impl Load<Listing, Bytes> for Pages {
    fn load<'a>(
        &'a self,
        keys: &'a [Listing],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Bytes>>, load::Error>> {
        let pages = async move {
            let mut pages = Vec::with_capacity(keys.len());
            for page in keys {
                let read = self.0.list(page).await.map_err(error)?;
                let encoded = encode(page, &read).map_err(|broken| error(broken.into()))?;
                pages.push(loaded(Some(encoded), proof(&read)));
            }
            Ok(pages)
        };
        pages.boxed()
    }
}

/// `ListProductsResponse`, of rows that are encoded already.
#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(message, repeated, tag = "1")]
    products: Vec<Raw>,
    #[prost(string, tag = "2")]
    next_page_token: String,
}

/// The page, with the way to the next one if a row was read that has no room on it.
fn encode(page: &Listing, read: &Labelled) -> Result<Bytes, Db> {
    let shown = &read.rows[..read.rows.len().min(page.size as usize)];
    let products = shown.iter().map(|row| Ok(store::entity(row)?.raw()));
    let mut listed = Listed {
        products: products.collect::<Result<_, Db>>()?,
        ..Listed::default()
    };
    if let Some(last) = shown.last().filter(|_| read.rows.len() > shown.len()) {
        let (id, price) = store::place(last)?;
        listed.next_page_token = page.token_after(price, id);
    }
    Ok(listed.encode_to_vec().into())
}

struct Categories(Store);

impl Load<Names, Bytes> for Categories {
    fn load<'a>(
        &'a self,
        keys: &'a [Names],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Bytes>>, load::Error>> {
        let pages = async move {
            let mut pages = Vec::with_capacity(keys.len());
            for page in keys {
                let read = self.0.categories(page).await.map_err(error)?;
                let (categories, next_page_token) = names(page, &read, catalogue::categories())?;
                let encoded = wire::ListCategoriesResponse {
                    categories,
                    next_page_token,
                };
                let encoded = Bytes::from(encoded.encode_to_vec());
                pages.push(loaded(Some(encoded), proof(&read)));
            }
            Ok(pages)
        };
        pages.boxed()
    }
}

struct Ids(Store);

impl Load<Names, Bytes> for Ids {
    fn load<'a>(
        &'a self,
        keys: &'a [Names],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Bytes>>, load::Error>> {
        let pages = async move {
            let mut pages = Vec::with_capacity(keys.len());
            for page in keys {
                let read = self.0.ids(page).await.map_err(error)?;
                let (mut ids, next_page_token) = names(page, &read, catalogue::ids())?;
                // What was written by hand may have a name that nobody can ask for.
                ids.retain(|id| ProductId::read(id).is_some());
                let encoded = wire::ListProductIdsResponse {
                    ids,
                    next_page_token,
                };
                let encoded = Bytes::from(encoded.encode_to_vec());
                pages.push(loaded(Some(encoded), proof(&read)));
            }
            Ok(pages)
        };
        pages.boxed()
    }
}

/// The names of a page, and the token of the page behind it if there is one.
fn names(
    page: &Names,
    read: &Labelled,
    query: Query,
) -> Result<(Vec<String>, String), load::Error> {
    let shown = &read.rows[..read.rows.len().min(page.size as usize)];
    let names = shown.iter().map(|row| row.get::<String>(0));
    let names: Result<Vec<_>, Db> = names.collect();
    let names = names.map_err(|broken| error(broken.into()))?;
    let next = match names.last().filter(|_| read.rows.len() > shown.len()) {
        Some(last) => query.token(last.as_bytes()),
        None => String::new(),
    };
    Ok((names, next))
}
