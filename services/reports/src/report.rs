//! The reports: what each is asked for, and the key that it is cached under.
//!
//! A key is the report's format version and its parameters in their one form, so that what means
//! the same is the same key, and an operator can read it: `1/2026-05-01/2026-05-31/north/day`.
//! A release that changes what a report holds raises its version: it finds none of the old entries
//! and touches none, and they leave by their age.

use crate::scope::Scope;
use larder::{Key, Tag};
use larder_proto::reports::v1 as wire;
use larder_runtime::status;
use std::fmt::Write as _;
use tonic::Status;

/// The version of what a sales report holds.
const SALES_VERSION: u32 = 1;
/// The version of what a report of top products holds.
const TOP_PRODUCTS_VERSION: u32 = 1;
/// The version of what a report of customer value holds.
const CUSTOMER_VALUE_VERSION: u32 = 1;

/// Products that a report ranks.
pub const MOST_PRODUCTS: u32 = 100;
/// Products that an answer shows where the request does not say.
const PRODUCTS: usize = 10;

/// A sales report.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sales {
    /// What it covers.
    pub scope: Scope,
    /// Into which periods it is cut.
    pub bucket: Bucket,
}

/// A report of top products: the best [`MOST_PRODUCTS`], of which a request may want fewer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopProducts {
    /// What it covers.
    pub scope: Scope,
    /// What makes a product a top product.
    pub order: Order,
}

/// A report of customer value, of which requests want pages.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CustomerValue {
    /// What it covers.
    pub scope: Scope,
}

/// A kind of period.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bucket {
    /// A day.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
}

/// What makes a product a top product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// For how much was sold of it.
    Revenue,
    /// How many of it were sold.
    Units,
}

impl Sales {
    /// The report that a request wants; `prefix` stands before the names of its fields.
    pub fn new(prefix: &str, request: &wire::GetSalesReportRequest) -> Result<Self, Status> {
        let days = (&*request.first_day, &*request.last_day);
        let scope = Scope::new(prefix, days, &request.regions)?;
        let bucket = match wire::SalesBucket::try_from(request.bucket) {
            Ok(wire::SalesBucket::Unspecified | wire::SalesBucket::Day) => Bucket::Day,
            Ok(wire::SalesBucket::Week) => Bucket::Week,
            Ok(wire::SalesBucket::Month) => Bucket::Month,
            Err(_) => {
                let problem = "is no bucket of a sales report";
                return Err(status::invalid(format!("{prefix}bucket"), problem));
            }
        };
        Ok(Self { scope, bucket })
    }
}

impl TopProducts {
    /// The report that a request wants, and how many products of it.
    pub fn new(
        prefix: &str,
        request: &wire::GetTopProductsRequest,
    ) -> Result<(Self, usize), Status> {
        let days = (&*request.first_day, &*request.last_day);
        let scope = Scope::new(prefix, days, &request.regions)?;
        let order = match wire::TopProductsOrder::try_from(request.order) {
            Ok(wire::TopProductsOrder::Unspecified | wire::TopProductsOrder::Revenue) => {
                Order::Revenue
            }
            Ok(wire::TopProductsOrder::Units) => Order::Units,
            Err(_) => {
                let problem = "is no order of products";
                return Err(status::invalid(format!("{prefix}order"), problem));
            }
        };
        let limit = match usize::try_from(request.limit) {
            Ok(0) => PRODUCTS,
            Ok(limit) => limit.min(MOST_PRODUCTS as usize),
            Err(_) => {
                let problem = "must not be negative";
                return Err(status::invalid(format!("{prefix}limit"), problem));
            }
        };
        Ok((Self { scope, order }, limit))
    }
}

impl CustomerValue {
    /// The report that a request wants a page of.
    pub fn new(prefix: &str, request: &wire::GetCustomerValueRequest) -> Result<Self, Status> {
        let days = (&*request.first_day, &*request.last_day);
        let scope = Scope::new(prefix, days, &request.regions)?;
        Ok(Self { scope })
    }
}

impl Bucket {
    fn word(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

impl Order {
    fn word(self) -> &'static str {
        match self {
            Self::Revenue => "revenue",
            Self::Units => "units",
        }
    }
}

/// What comes after the version, if it is this one.
fn after_version(text: &str, version: u32) -> Option<&str> {
    let (found, rest) = text.split_once('/')?;
    (found == version.to_string()).then_some(rest)
}

/// `1/2026-05-01/2026-05-31/north/day`
impl Key for Sales {
    fn write(&self, text: &mut String) {
        let Self { scope, bucket } = self;
        let _ = write!(text, "{SALES_VERSION}/{scope}/{}", bucket.word());
    }

    fn parse(text: &str) -> Option<Self> {
        let (scope, word) = after_version(text, SALES_VERSION)?.rsplit_once('/')?;
        let buckets = [Bucket::Day, Bucket::Week, Bucket::Month];
        Some(Self {
            scope: Scope::read(scope)?,
            bucket: buckets.into_iter().find(|bucket| bucket.word() == word)?,
        })
    }

    fn tags(&self, tags: &mut Vec<Tag>) {
        self.scope.tags(tags);
    }
}

/// `1/2026-05-01/2026-05-31/north/revenue`
impl Key for TopProducts {
    fn write(&self, text: &mut String) {
        let Self { scope, order } = self;
        let _ = write!(text, "{TOP_PRODUCTS_VERSION}/{scope}/{}", order.word());
    }

    fn parse(text: &str) -> Option<Self> {
        let (scope, word) = after_version(text, TOP_PRODUCTS_VERSION)?.rsplit_once('/')?;
        let orders = [Order::Revenue, Order::Units];
        Some(Self {
            scope: Scope::read(scope)?,
            order: orders.into_iter().find(|order| order.word() == word)?,
        })
    }

    fn tags(&self, tags: &mut Vec<Tag>) {
        self.scope.tags(tags);
    }
}

/// `1/2026-05-01/2026-05-31/north`
impl Key for CustomerValue {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "{CUSTOMER_VALUE_VERSION}/{}", self.scope);
    }

    fn parse(text: &str) -> Option<Self> {
        let scope = Scope::read(after_version(text, CUSTOMER_VALUE_VERSION)?)?;
        Some(Self { scope })
    }

    fn tags(&self, tags: &mut Vec<Tag>) {
        self.scope.tags(tags);
    }
}

/// The text of a key.
pub fn text(key: &impl Key) -> String {
    let mut text = String::new();
    key.write(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sales(first: &str, last: &str, regions: &[&str], bucket: i32) -> Sales {
        let request = wire::GetSalesReportRequest {
            first_day: first.to_owned(),
            last_day: last.to_owned(),
            regions: regions.iter().map(|&name| name.to_owned()).collect(),
            bucket,
        };
        Sales::new("", &request).expect("a report")
    }

    #[test]
    fn what_means_the_same_is_one_key() {
        let may = ("2026-05-01", "2026-05-31");
        let one = sales(may.0, may.1, &["north", "south"], 1);
        for same in [
            sales(may.0, may.1, &["south", "north"], 0),
            sales(may.0, may.1, &["south", "north", "south"], 1),
        ] {
            assert_eq!(text(&same), text(&one));
        }
        assert_eq!(text(&one), "1/2026-05-01/2026-05-31/north+south/day");
        let (ended, default) = (
            Scope::last_month(crate::scope::today(), all()),
            sales("", "", &[], 0),
        );
        assert_eq!(default.scope, ended, "no days are the last month's");
    }

    fn all() -> crate::region::Regions {
        crate::region::Regions::ALL
    }

    #[test]
    fn keys_read_back_from_their_texts_and_from_no_other_versions() {
        let scope = sales("2026-05-01", "2026-05-31", &["west"], 0).scope;
        for bucket in [Bucket::Day, Bucket::Week, Bucket::Month] {
            let key = Sales { scope, bucket };
            assert_eq!(Sales::parse(&text(&key)), Some(key));
        }
        for order in [Order::Revenue, Order::Units] {
            let key = TopProducts { scope, order };
            assert_eq!(TopProducts::parse(&text(&key)), Some(key));
        }
        let key = CustomerValue { scope };
        assert_eq!(CustomerValue::parse(&text(&key)), Some(key.clone()));
        let older = text(&key).replacen('1', "0", 1);
        assert_eq!(CustomerValue::parse(&older), None);
        assert_eq!(Sales::parse(&text(&key)), None);
    }

    #[test]
    fn how_many_products_are_wanted_is_no_part_of_the_key() {
        let of = |limit| {
            let request = wire::GetTopProductsRequest {
                limit,
                ..wire::GetTopProductsRequest::default()
            };
            TopProducts::new("top_products.", &request)
        };
        let (key, limit) = of(0).expect("the default");
        assert_eq!(limit, 10);
        assert_eq!(of(i32::MAX).expect("clamped"), (key.clone(), 100));
        assert_eq!(of(3).expect("few"), (key, 3));
        let refused = of(-1).expect_err("negative");
        assert!(refused.message().starts_with("top_products.limit: "));
    }
}
