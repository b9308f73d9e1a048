//! Every keyspace of this service, its policy, and what moves its entries.
//!
//! | keyspace | holds | moved by a change of |
//! |---|---|---|
//! | `reports.sales` | a sales report, encoded | an order that is or was in one of its months and regions |
//! | `reports.top-products` | a ranking: ids and numbers, no titles | the same |
//! | `reports.customer-value` | a ranking of the best customers, of which pages are cut | the same |
//! | `products` | a product, or its absence: see `upstream.rs` | that product, in the products' database |
//!
//! The triggers that `store::watches` describes are the only place that says what an order touches,
//! and [`Scope::tags`](crate::scope::Scope::tags) what a report depends on. A report is moved by an
//! order of its month on a day that it does not cover, too: that costs a load and is never wrong.
//!
//! Reports take long to compute, and that shapes their policy. One replica computes for all, and
//! the others wait for it as long as it may take; what was begun is finished although its callers
//! may have left; and few are computed at once, so that polls and writes go on beside them.

use crate::model::timestamp;
use crate::report::{CustomerValue, Sales, TopProducts};
use crate::sales;
use crate::store::Store;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use larder::feed;
use larder::policy::Invalid;
use larder::{Ask, Keyspace, Load, Loaded, Policy, Source, Token, Value, load};
use larder_db::{Error as Db, Row};
use larder_host::load::{error, loaded, proof};
use larder_journal::{Error, Labelled};
use larder_proto::reports::v1 as wire;
use prost::Message;
use std::time::Duration;

/// How long computing a report may take, and any statement of it.
pub const COMPUTING: Duration = Duration::from_secs(60);
/// Δ. What a report says took seconds to find out, and it is refused only while the database cannot
/// be asked whether something has changed, every 100 ms. To compute it anew after one second of that
/// would be to answer a busy database with more work. A caller may ask for less.
const MAX_STALENESS: Duration = Duration::from_secs(10);
/// How long a report waits until others have been computed.
const TURN: Duration = Duration::from_secs(30);
/// The keyspaces' names.
const SALES: &str = "reports.sales";
const TOP_PRODUCTS: &str = "reports.top-products";
const CUSTOMER_VALUE: &str = "reports.customer-value";

/// The policy of reports.
pub fn policy() -> Policy {
    Policy {
        max_staleness: MAX_STALENESS,
        soft_ttl: Duration::from_secs(30 * 60),
        hard_ttl: Duration::from_secs(60 * 60),
        load_deadline: COMPUTING,
        turn_wait: TURN,
        // Whoever holds the lock may have to wait for its turn, too.
        lock_wait: TURN + COMPUTING,
        finish_loads: true,
        sampled: false,
        fail_safe: true,
        ..Policy::default()
    }
}

/// The keyspaces.
#[derive(Clone)]
pub struct Keyspaces {
    /// Sales reports.
    pub sales: Keyspace<Sales, Bytes>,
    /// Reports of top products.
    pub top_products: Keyspace<TopProducts, Whole<wire::GetTopProductsResponse>>,
    /// Reports of customer value.
    pub customer_value: Keyspace<CustomerValue, Whole<wire::GetCustomerValueResponse>>,
}

impl Keyspaces {
    /// Opens them.
    pub fn open(source: &Source, store: &Store) -> Result<Self, Invalid> {
        let compute = || Compute(store.clone());
        let sales = source.keyspace(SALES, compute());
        let top_products = source.keyspace(TOP_PRODUCTS, compute());
        let customer_value = source.keyspace(CUSTOMER_VALUE, compute());
        Ok(Self {
            sales: sales.policy(policy()).open()?,
            top_products: top_products.policy(policy()).open()?,
            customer_value: customer_value.policy(policy()).open()?,
        })
    }

    /// Drops all reports.
    pub async fn drop_all(&self) -> Result<Option<Token>, feed::Error> {
        let whole = |keyspace: &str| feed::Line {
            collection: keyspace.to_owned(),
            key: larder::Tag::WHOLE.to_owned(),
        };
        let lines = [SALES, TOP_PRODUCTS, CUSTOMER_VALUE].map(whole);
        self.sales.source().invalidate(&lines).await
    }
}

/// A report that answers are cut from: the contract's message with everything in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Whole<M> {
    /// The message.
    pub message: M,
    encoded_bytes: usize,
}

impl<M: Message> Whole<M> {
    fn of(message: M) -> Self {
        let encoded_bytes = message.encoded_len();
        Self {
            message,
            encoded_bytes,
        }
    }
}

impl<M: Message + Default + Clone + 'static> Value for Whole<M> {
    fn encode(&self) -> Bytes {
        self.message.encode_to_vec().into()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        M::decode(bytes).ok().map(Self::of)
    }

    fn weight(&self) -> usize {
        // Numbers and strings take about four times their encoded size.
        size_of::<Self>() + 4 * self.encoded_bytes
    }
}

/// Computes reports, one after the other.
struct Compute(Store);

/// One report: its value, made of what was read for it.
async fn computed<V>(
    read: impl Future<Output = Result<Labelled, Error>>,
    make: impl FnOnce(&[Row], i64) -> Result<V, Db>,
) -> Result<Loaded<V>, load::Error> {
    let began = Timestamp::now().as_microsecond();
    let read = read.await.map_err(error)?;
    let value = make(&read.rows, began).map_err(|broken| error(broken.into()))?;
    Ok(loaded(Some(value), proof(&read)))
}

impl Load<Sales, Bytes> for Compute {
    fn load<'a>(
        &'a self,
        keys: &'a [Sales],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Bytes>>, load::Error>> {
        let load = async move {
            let mut reports = Vec::with_capacity(keys.len());
            for key in keys {
                let make = |rows: &[Row], began| {
                    let report = sales::report(key, rows, began)?;
                    Ok(Bytes::from(report.encode_to_vec()))
                };
                reports.push(computed(self.0.sales(key), make).await?);
            }
            Ok(reports)
        };
        load.boxed()
    }
}

impl Load<TopProducts, Whole<wire::GetTopProductsResponse>> for Compute {
    fn load<'a>(
        &'a self,
        keys: &'a [TopProducts],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Whole<wire::GetTopProductsResponse>>>, load::Error>> {
        let load = async move {
            let mut reports = Vec::with_capacity(keys.len());
            for key in keys {
                let make = |rows: &[Row], began| top_products(key, rows, began).map(Whole::of);
                reports.push(computed(self.0.top_products(key), make).await?);
            }
            Ok(reports)
        };
        load.boxed()
    }
}

impl Load<CustomerValue, Whole<wire::GetCustomerValueResponse>> for Compute {
    fn load<'a>(
        &'a self,
        keys: &'a [CustomerValue],
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Whole<wire::GetCustomerValueResponse>>>, load::Error>>
    {
        let load = async move {
            let mut reports = Vec::with_capacity(keys.len());
            for key in keys {
                let make = |rows: &[Row], began| customer_value(key, rows, began).map(Whole::of);
                reports.push(computed(self.0.customer_value(key), make).await?);
            }
            Ok(reports)
        };
        load.boxed()
    }
}

fn top_products(
    report: &TopProducts,
    rows: &[Row],
    began: i64,
) -> Result<wire::GetTopProductsResponse, Db> {
    let product = |row: &Row| {
        Ok(wire::TopProduct {
            product_id: row.get(0)?,
            title: String::new(),
            orders: row.get(1)?,
            units: row.get(2)?,
            revenue_cents: row.get(3)?,
            customers: row.get(4)?,
        })
    };
    Ok(wire::GetTopProductsResponse {
        products: rows.iter().map(product).collect::<Result<_, Db>>()?,
        first_day: report.scope.first().to_string(),
        last_day: report.scope.last().to_string(),
        regions: report.scope.regions.names(),
        computed_at: Some(timestamp(began)),
    })
}

fn customer_value(
    report: &CustomerValue,
    rows: &[Row],
    began: i64,
) -> Result<wire::GetCustomerValueResponse, Db> {
    let customer = |(rank, row): (i64, &Row)| {
        Ok(wire::CustomerValue {
            customer_id: row.get(0)?,
            rank,
            orders: row.get(1)?,
            units: row.get(2)?,
            revenue_cents: row.get(3)?,
            products: row.get(4)?,
            first_order_at: Some(timestamp(row.get(5)?)),
            last_order_at: Some(timestamp(row.get(6)?)),
        })
    };
    let (customer_count, revenue_cents) = match rows.first() {
        Some(row) => (row.get(7)?, row.get(8)?),
        None => (0, 0),
    };
    let customers = (1..).zip(rows).map(customer);
    Ok(wire::GetCustomerValueResponse {
        customers: customers.collect::<Result<_, Db>>()?,
        next_page_token: String::new(),
        customer_count,
        revenue_cents,
        first_day: report.scope.first().to_string(),
        last_day: report.scope.last().to_string(),
        regions: report.scope.regions.names(),
        computed_at: Some(timestamp(began)),
    })
}
