//! Sample data: what people who do not exist bought in 2025 and 2026. The same seed makes the same
//! orders.

use crate::model::Order;
use crate::region::Region;
use crate::store::Store;
use larder_api::Id;
use larder_journal::{Error, Journal};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Orders in one transaction.
const BATCH: u64 = 10_000;
/// All samples are of two years, in microseconds: 2025 and 2026.
const BEGAN: i64 = 1_735_689_600_000_000;
const YEARS: i64 = 2 * 365 * 24 * 3600 * 1_000_000;
/// Of a hundred orders, so many are from the regions before and from this one.
const SHARES: [(u32, Region); 5] = [
    (34, Region::North),
    (58, Region::South),
    (78, Region::Central),
    (92, Region::West),
    (100, Region::East),
];

/// Makes the orders numbered 0 to `count`, those of them that are not there yet, and says after
/// each batch how many of them there are. Sample `profiles` bought them of the sample `products`,
/// a few of which sell best. Returns how many were made.
pub async fn load(
    journal: &Journal,
    count: u64,
    (products, profiles): (u64, u64),
    seed: u64,
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let store = Store::new(journal);
    let mut made = 0;
    for first in (0..count).step_by(BATCH as usize) {
        let end = count.min(first + BATCH);
        let orders = (first..end).filter_map(|number| order(seed, number, products, profiles));
        let orders: Vec<Order> = orders.collect();
        made += store.record(&orders).await?.0;
        progress(end);
    }
    Ok(made)
}

/// An order depends on nothing but the seed, its number, and how many products and profiles there
/// are.
fn order(seed: u64, number: u64, products: u64, profiles: u64) -> Option<Order> {
    let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let product = among(products, rng.random::<f64>().powi(3));
    let customer = among(profiles, rng.random::<f64>().powi(2));
    let share = rng.random_range(0..100);
    let (_, region) = SHARES.into_iter().find(|(until, _)| share < *until)?;
    // A product has one price, and most cost little.
    let price = 1 + product.wrapping_mul(0x9e37_79b9) % 97 * (product % 13 + 1);
    Some(Order {
        id: Id::read(&format!("order-{number:08}"))?,
        customer: Id::read(&format!("profile-{customer:06}"))?,
        product: Id::read(&format!("product-{product:06}"))?,
        region,
        ordered_at: BEGAN + rng.random_range(0..YEARS),
        quantity: 1 + (4.0 * rng.random::<f64>().powi(3)) as i64,
        price_cents: i64::try_from(price).ok()? * 100 - 1,
    })
}

/// Which of so many, `share` of the way from the first to the last.
fn among(count: u64, share: f64) -> u64 {
    let last = count.saturating_sub(1);
    ((share * count as f64) as u64).min(last)
}
