//! What an order is, checked where it enters: from a stream and from a file by the same lines.

use crate::region::Region;
use larder::Key;
use larder_api::Id;
use larder_proto::reports::v1 as wire;
use prost_types::Timestamp;

/// Things in one order.
const MOST_UNITS: i64 = 1000;
/// What one thing may cost. With the quantity and this, no sum of 90 million orders overflows.
const MOST_CENTS: i64 = 100_000_000;
/// The first moment of an order, and the first that is too late: the years 2000 to 2099.
const EARLIEST: i64 = 946_684_800_000_000;
const TOO_LATE: i64 = 4_102_444_800_000_000;
const MICROS: i64 = 1_000_000;
const ID: &str = "must match [a-z0-9][a-z0-9-]{0,62}";

/// Which product; its text is the products service's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProductId(Id);

impl ProductId {
    /// The id that this text is, if it is one.
    pub fn read(text: &str) -> Option<Self> {
        Id::read(text).map(Self)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Key for ProductId {
    fn write(&self, text: &mut String) {
        text.push_str(self.as_str());
    }

    fn parse(text: &str) -> Option<Self> {
        Self::read(text)
    }
}

/// An order to be recorded, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// What it is named.
    pub id: Id,
    /// Who bought.
    pub customer: Id,
    /// What was bought.
    pub product: Id,
    /// Where.
    pub region: Region,
    /// When, in microseconds since 1970.
    pub ordered_at: i64,
    /// How many.
    pub quantity: i64,
    /// What one cost.
    pub price_cents: i64,
}

/// Why something is no order.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Problem {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Problem {
    /// This field has this problem.
    pub fn of(field: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self { field, problem }
    }
}

impl Order {
    /// The order that this is, or what is wrong with it first.
    pub fn check(order: &wire::Order) -> Result<Self, Problem> {
        let id = |field, text: &str| Id::read(text).ok_or_else(|| Problem::of(field, ID));
        let region = Region::read(&order.region);
        Ok(Self {
            id: id("id", &order.id)?,
            customer: id("customer_id", &order.customer_id)?,
            product: id("product_id", &order.product_id)?,
            region: region.ok_or_else(|| Problem::of("region", Region::unknown()))?,
            ordered_at: moment(order.ordered_at.as_ref())?,
            quantity: within("quantity", order.quantity, 1, MOST_UNITS)?,
            price_cents: within("price_cents", order.price_cents, 0, MOST_CENTS)?,
        })
    }
}

fn within(field: &'static str, number: i64, least: i64, most: i64) -> Result<i64, Problem> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    let problem = format!("must be a number from {least} to {most}");
    Err(Problem::of(field, problem))
}

fn moment(time: Option<&Timestamp>) -> Result<i64, Problem> {
    let problem = || Problem::of("ordered_at", "must be a moment in the years 2000 to 2099");
    let time = time.ok_or_else(problem)?;
    let nanos = Some(i64::from(time.nanos)).filter(|nanos| (0..1_000_000_000).contains(nanos));
    let micros = time.seconds.checked_mul(MICROS).zip(nanos);
    let micros = micros.and_then(|(micros, nanos)| micros.checked_add(nanos / 1000));
    micros
        .filter(|micros| (EARLIEST..TOO_LATE).contains(micros))
        .ok_or_else(problem)
}

/// A moment as it goes to callers.
pub fn timestamp(micros: i64) -> Timestamp {
    let nanos = micros.rem_euclid(MICROS) * 1000;
    Timestamp {
        seconds: micros.div_euclid(MICROS),
        // Below a second's nanoseconds, which fit.
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> wire::Order {
        wire::Order {
            id: "o-1".to_owned(),
            customer_id: "ada".to_owned(),
            product_id: "kettle".to_owned(),
            region: "north".to_owned(),
            ordered_at: Some(timestamp(1_780_185_600_123_456)),
            quantity: 2,
            price_cents: 1999,
        }
    }

    #[test]
    fn an_order_is_taken_as_it_came() {
        let order = Order::check(&good()).expect("good");
        assert_eq!(order.ordered_at, 1_780_185_600_123_456);
        assert_eq!((order.region, order.quantity), (Region::North, 2));
    }

    #[test]
    fn what_is_wrong_with_an_order_is_said_by_field() {
        type Spoil = fn(&mut wire::Order);
        let wrong: [(&str, Spoil); 12] = [
            ("id", |order| order.id.clear()),
            ("customer_id", |order| order.customer_id = "A".to_owned()),
            ("product_id", |order| order.product_id = "a b".to_owned()),
            ("region", |order| order.region = "mars".to_owned()),
            ("region", |order| order.region = "North".to_owned()),
            ("ordered_at", |order| order.ordered_at = None),
            ("ordered_at", |order| order.ordered_at = Some(timestamp(0))),
            ("ordered_at", |order| {
                order.ordered_at = Some(Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                });
            }),
            ("quantity", |order| order.quantity = 0),
            ("quantity", |order| order.quantity = 1001),
            ("price_cents", |order| order.price_cents = -1),
            ("price_cents", |order| order.price_cents = i64::MAX),
        ];
        for (field, spoil) in wrong {
            let mut order = good();
            spoil(&mut order);
            assert_eq!(Order::check(&order).expect_err(field).field, field);
        }
    }
}
