//! Every SQL statement of this service.

use crate::model::Order as Sold;
use crate::region::Region;
use crate::report::{Bucket, CustomerValue, MOST_PRODUCTS, Order, Sales, TopProducts};
use crate::scope::{Month, Scope};
use larder::feed::Written;
use larder_db::{AssertSqlSafe, Database, Migrator, Value, migrator};
use larder_host::Migrations;
use larder_journal::{Error, Journal, Labelled, Watch, Watches};

/// Customers that a report ranks.
pub const MOST_CUSTOMERS: u32 = 1000;

/// What is summed up of the orders of a group.
macro_rules! sums {
    () => {
        "count(*) AS orders, CAST(sum(quantity) AS bigint) AS units, \
         CAST(sum(quantity * price_cents) AS bigint) AS revenue"
    };
}

/// The periods of a sales report, each by its number, and without one what all are together: who
/// bought in two periods is one customer, so that this is no sum of the others.
macro_rules! sales {
    ($period:literal) => {
        concat!(
            "SELECT ",
            $period,
            " AS period, ",
            sums!(),
            ", count(DISTINCT customer_id) AS customers FROM orders WHERE {} GROUP BY 1 \
             UNION ALL SELECT CAST(NULL AS bigint), ",
            sums!(),
            ", count(DISTINCT customer_id) FROM orders WHERE {}"
        )
    };
}

/// Days after 1970-01-01.
const BY_DAY: &str = sales!("ordered_at / 86400000000");
/// Weeks after that of Monday, 1969-12-29.
const BY_WEEK: &str = sales!("(ordered_at / 86400000000 + 3) / 7");
/// Months after January of the year 0.
const BY_MONTH: &str =
    sales!("CAST(substr(month, 1, 4) AS bigint) * 12 + CAST(substr(month, 6, 2) AS bigint) - 1");

macro_rules! top {
    ($by:literal) => {
        concat!(
            "SELECT product_id, ",
            sums!(),
            ", count(DISTINCT customer_id) AS customers FROM orders WHERE {} \
             GROUP BY product_id ORDER BY ",
            $by,
            " DESC, product_id LIMIT "
        )
    };
}

const TOP_BY_REVENUE: &str = top!("revenue");
const TOP_BY_UNITS: &str = top!("units");

/// The best customers, each with how many there are and what all of them bought.
const CUSTOMERS: &str = concat!(
    "SELECT customer_id, orders, units, revenue, products, first_at, last_at, \
     count(*) OVER () AS customers, CAST(sum(revenue) OVER () AS bigint) AS total FROM \
     (SELECT customer_id, ",
    sums!(),
    ", count(DISTINCT product_id) AS products, min(ordered_at) AS first_at, \
     max(ordered_at) AS last_at FROM orders WHERE {} GROUP BY customer_id) c \
     ORDER BY revenue DESC, customer_id LIMIT "
);

/// The orders of a scope. The months are what the index knows; the moments cut the first and the
/// last of them.
const COVERED: &str = "month >= $1 AND month <= $2 AND ordered_at >= $3 AND ordered_at < $4";

const COLUMNS: &str =
    "orders (id, customer_id, product_id, region, ordered_at, quantity, price_cents)";
const UNLESS_KNOWN: &str = "ON CONFLICT (id) DO NOTHING";

/// The history of the tables.
pub fn migrations() -> Migrations {
    let of = |sql| -> Migrator { migrator(&[(1, "orders", sql)]) };
    Migrations {
        sqlite: of(include_str!("../migrations/sqlite/1_orders.sql")),
        postgres: of(include_str!("../migrations/postgres/1_orders.sql")),
    }
}

/// What a change of an order touches: the reports over its month, and those over its month in its
/// region. Many orders come at once and touch the same few.
pub fn watches() -> Watches {
    let orders = Watch::table("orders")
        .collection("orders.month", "month")
        .collection("orders.region", ["region", "month"])
        .keyspaces(&[
            "reports.sales",
            "reports.top-products",
            "reports.customer-value",
        ])
        .folded();
    Watches::revision(2).watch(orders)
}

/// The orders. Clones are of the same table.
#[derive(Clone, Debug)]
pub struct Store {
    journal: Journal,
}

impl Store {
    /// The orders in the database of this journal.
    pub fn new(journal: &Journal) -> Self {
        Self {
            journal: journal.clone(),
        }
    }

    /// The database that they are in.
    pub fn database(&self) -> &Database {
        self.journal.database()
    }

    /// Records those of these orders whose ids are not known yet, and says how many they are.
    pub async fn record(&self, orders: &[Sold]) -> Result<(u64, Option<Written>), Error> {
        let rows: Vec<[Value<'_>; 7]> = orders.iter().map(row).collect();
        let mut write = self.journal.begin_bulk().await?;
        let recorded = write.insert_many(COLUMNS, UNLESS_KNOWN, &rows).await?;
        Ok((recorded, write.commit().await?))
    }

    /// Periods in any order: number, orders, units, revenue, customers; one has no number.
    pub async fn sales(&self, report: &Sales) -> Result<Labelled, Error> {
        let sql = match report.bucket {
            Bucket::Day => BY_DAY,
            Bucket::Week => BY_WEEK,
            Bucket::Month => BY_MONTH,
        };
        self.over(&report.scope, sql.to_owned()).await
    }

    /// The best products first: id, orders, units, revenue, customers.
    pub async fn top_products(&self, report: &TopProducts) -> Result<Labelled, Error> {
        let sql = match report.order {
            Order::Revenue => TOP_BY_REVENUE,
            Order::Units => TOP_BY_UNITS,
        };
        self.over(&report.scope, format!("{sql}{MOST_PRODUCTS}"))
            .await
    }

    /// The best customers first: id, orders, units, revenue, products, the first moment and the
    /// last, and with each of them how many customers there are, and the revenue of all.
    pub async fn customer_value(&self, report: &CustomerValue) -> Result<Labelled, Error> {
        let sql = format!("{CUSTOMERS}{MOST_CUSTOMERS}");
        self.over(&report.scope, sql).await
    }

    /// Reads a statement whose `{}` stand for the orders of a scope.
    async fn over(&self, scope: &Scope, sql: String) -> Result<Labelled, Error> {
        let (first, last) = (Month::of(scope.first()), Month::of(scope.last()));
        let (first, last) = (first.to_string(), last.to_string());
        let (from, until) = scope.moments();
        let mut arguments = vec![
            Value::from(&first),
            Value::from(&last),
            from.into(),
            until.into(),
        ];
        let mut covered = COVERED.to_owned();
        if !scope.regions.is_all() {
            let mut names: Vec<_> = scope.regions.iter().map(|region| region.name()).collect();
            // Always as many, so that the database prepares one statement.
            names.resize(Region::ALL.len(), names[0]);
            covered += " AND region IN ($5, $6, $7, $8, $9)";
            arguments.extend(names.into_iter().map(Value::from));
        }
        let sql = AssertSqlSafe(sql.replace("{}", &covered));
        self.journal.read(sql, &arguments).await
    }
}

fn row(order: &Sold) -> [Value<'_>; 7] {
    [
        order.id.as_str().into(),
        order.customer.as_str().into(),
        order.product.as_str().into(),
        order.region.name().into(),
        order.ordered_at.into(),
        order.quantity.into(),
        order.price_cents.into(),
    ]
}
