//! Sample data: things that nobody sells. The same seed makes the same things.

use larder_db::Value;
use larder_journal::{Error, Journal};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Rows in one transaction.
const BATCH: u64 = 1000;

/// Categories, each with what is in it.
const CATEGORIES: &[(&str, &[&str])] = &[
    (
        "bakery",
        &[
            "rye loaf",
            "sourdough starter",
            "proofing basket",
            "bread knife",
            "crumpet ring",
        ],
    ),
    (
        "books",
        &[
            "atlas",
            "field guide",
            "cookbook",
            "novel",
            "book of letters",
        ],
    ),
    (
        "cycling",
        &["bell", "saddle", "pannier", "dynamo lamp", "repair kit"],
    ),
    (
        "garden",
        &[
            "trowel",
            "seed box",
            "watering can",
            "pruning saw",
            "rain gauge",
        ],
    ),
    (
        "kitchen",
        &[
            "kettle",
            "cast-iron pan",
            "pepper mill",
            "mandoline",
            "storage jar",
        ],
    ),
    (
        "lighting",
        &[
            "desk lamp",
            "lantern",
            "string of lights",
            "reading light",
            "candle holder",
        ],
    ),
    (
        "music",
        &[
            "metronome",
            "tuning fork",
            "music stand",
            "kalimba",
            "harmonica",
        ],
    ),
    (
        "outdoors",
        &["tarp", "camp stove", "headlamp", "hammock", "dry bag"],
    ),
    (
        "paper",
        &[
            "notebook",
            "fountain pen",
            "ink bottle",
            "calendar",
            "set of envelopes",
        ],
    ),
    (
        "tea",
        &["oolong", "teapot", "matcha whisk", "tea tin", "strainer"],
    ),
    (
        "tools",
        &[
            "block plane",
            "square",
            "hand drill",
            "vise",
            "set of files",
        ],
    ),
    (
        "toys",
        &[
            "kite",
            "marble run",
            "spinning top",
            "wooden train",
            "puzzle",
        ],
    ),
];
const KINDS: &[&str] = &[
    "Compact",
    "Copper",
    "Danish",
    "Everyday",
    "Folding",
    "Hand-made",
    "Heavy",
    "Large",
    "Light",
    "Northern",
    "Plain",
    "Quiet",
    "Small",
    "Sturdy",
    "Travelling",
    "Vintage",
];
const REASONS: &[&str] = &[
    "lasts longer than you would think",
    "can be repaired at home",
    "was made in small numbers",
    "feels right in the hand",
    "is missed as soon as it is lent",
    "does one thing well",
];

/// The id of the sample product number `number`.
pub fn id(number: u64) -> String {
    format!("product-{number:06}")
}

/// The categories that sample products are in.
pub fn categories() -> impl Iterator<Item = &'static str> {
    CATEGORIES.iter().map(|(category, _)| *category)
}

/// Makes the products numbered 0 to `count`, those of them that are not there yet, and says after
/// each batch how many of them there are. Returns how many were made.
pub async fn load(
    journal: &Journal,
    count: u64,
    seed: u64,
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let mut made = 0;
    for first in (0..count).step_by(BATCH as usize) {
        let end = count.min(first + BATCH);
        let things: Vec<Thing> = (first..end).map(|number| thing(seed, number)).collect();
        let rows: Vec<[Value<'_>; 6]> = things.iter().map(Thing::row).collect();
        let mut write = journal.begin().await?;
        let into = "products (id, title, description, category, price_cents, stock)";
        made += write
            .insert_many(into, "ON CONFLICT (id) DO NOTHING", &rows)
            .await?;
        write.commit().await?;
        progress(end);
    }
    Ok(made)
}

struct Thing {
    id: String,
    title: String,
    description: String,
    category: &'static str,
    price_cents: i64,
    stock: i64,
}

impl Thing {
    fn row(&self) -> [Value<'_>; 6] {
        let Self {
            id,
            title,
            description,
            category,
            price_cents,
            stock,
        } = self;
        let (price, stock) = ((*price_cents).into(), (*stock).into());
        [
            id.into(),
            title.into(),
            description.into(),
            (*category).into(),
            price,
            stock,
        ]
    }
}

/// A thing depends on nothing but the seed and its number.
fn thing(seed: u64, number: u64) -> Thing {
    let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (category, names) = CATEGORIES
        .choose(&mut rng)
        .copied()
        .unwrap_or(("other", &[]));
    let mut pick = |words: &[&'static str]| words.choose(&mut rng).copied().unwrap_or_default();
    let (kind, name, one, two) = (pick(KINDS), pick(names), pick(REASONS), pick(REASONS));
    // Most cost little; all of them something and 99 cents.
    let units = 10_f64.powf(0.3 + 2.7 * rng.random::<f64>().powi(2)) as i64;
    Thing {
        id: id(number),
        title: format!("{kind} {name}"),
        description: format!("A {name} for {category}, number {number}: it {one}, and it {two}."),
        category,
        price_cents: units * 100 + 99,
        stock: rng.random_range(0..500),
    }
}
