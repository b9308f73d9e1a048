//! Sample data: what people who do not exist say about products that do not exist either. The
//! same seed makes the same comments.

use larder_db::Value;
use larder_journal::{Error, Journal};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Rows in one transaction.
const BATCH: u64 = 1000;
/// All samples are of this year, in microseconds: 2025.
const YEAR_BEGAN: i64 = 1_735_689_600_000_000;
const YEAR: i64 = 365 * 24 * 3600 * 1_000_000;

const OPENINGS: &[&str] = &[
    "Bought it for my sister.",
    "Came two days early.",
    "Had my doubts at first.",
    "I use it every day.",
    "My third one by now.",
    "Not what I had expected.",
    "Smaller than in the picture.",
    "The neighbours asked where it is from.",
];
const VERDICTS: &[&str] = &[
    "It does what it should.",
    "It is heavier than it looks, and I like that.",
    "The cat has taken it over.",
    "The colour is closer to grey.",
    "The lid could close better.",
    "The manual is a riddle.",
    "Well made, down to the screws.",
    "You get what you pay for.",
];
const CLOSINGS: &[&str] = &[
    "Five stars.",
    "I would buy it again.",
    "I sent it back.",
    "Let us see how long it lasts.",
    "Two stars, one of them for the box.",
    "Worth the wait.",
];

/// The id of the sample comment number `number`.
pub fn id(number: u64) -> String {
    format!("comment-{number:07}")
}

/// Makes the comments numbered 0 to `count`, those of them that are not there yet, and says after
/// each batch how many of them there are. They are spread over so many sample `products` and
/// `profiles`, a few of which have most of them. Returns how many were made.
pub async fn load(
    journal: &Journal,
    count: u64,
    (products, profiles): (u64, u64),
    seed: u64,
    mut progress: impl FnMut(u64),
) -> Result<u64, Error> {
    let mut made = 0;
    for first in (0..count).step_by(BATCH as usize) {
        let end = count.min(first + BATCH);
        let comments = (first..end).map(|number| comment(seed, number, products, profiles));
        let comments: Vec<Comment> = comments.collect();
        let rows: Vec<[Value<'_>; 5]> = comments.iter().map(Comment::row).collect();
        let mut write = journal.begin().await?;
        let into = "comments (id, product_id, author_id, body, created_at)";
        made += write
            .insert_many(into, "ON CONFLICT (id) DO NOTHING", &rows)
            .await?;
        write.commit().await?;
        progress(end);
    }
    Ok(made)
}

struct Comment {
    id: String,
    product: String,
    author: String,
    body: String,
    created_at: i64,
}

impl Comment {
    fn row(&self) -> [Value<'_>; 5] {
        let Self {
            id,
            product,
            author,
            body,
            created_at,
        } = self;
        [
            id.into(),
            product.into(),
            author.into(),
            body.into(),
            (*created_at).into(),
        ]
    }
}

/// A comment depends on nothing but the seed, its number, and how many products and profiles
/// there are.
fn comment(seed: u64, number: u64, products: u64, profiles: u64) -> Comment {
    let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let product = among(products, rng.random::<f64>().powi(3));
    let author = among(profiles, rng.random::<f64>().powi(2));
    let created_at = YEAR_BEGAN + rng.random_range(0..YEAR);
    let mut pick = |words: &[&'static str]| words.choose(&mut rng).copied().unwrap_or_default();
    Comment {
        id: id(number),
        product: format!("product-{product:06}"),
        author: format!("profile-{author:06}"),
        body: format!("{} {} {}", pick(OPENINGS), pick(VERDICTS), pick(CLOSINGS)),
        created_at,
    }
}

/// Which of so many, `share` of the way from the first to the last.
fn among(count: u64, share: f64) -> u64 {
    let last = count.saturating_sub(1);
    ((share * count as f64) as u64).min(last)
}
