//! Sample data: people who do not exist. The same seed makes the same people.

use larder_db::Value;
use larder_journal::{Error, Journal};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Rows in one transaction.
const BATCH: u64 = 1000;

const FIRST: &[&str] = &[
    "Ada",
    "Alan",
    "Amara",
    "Barbara",
    "Chen",
    "Dennis",
    "Edsger",
    "Fatima",
    "Frances",
    "Grace",
    "Hedy",
    "Ines",
    "Jun",
    "Katherine",
    "Ken",
    "Lea",
    "Leslie",
    "Mei",
    "Niklaus",
    "Noor",
    "Olga",
    "Priya",
    "Radia",
    "Shafi",
    "Tony",
    "Yusuf",
];
const LAST: &[&str] = &[
    "Abebe",
    "Berg",
    "Castro",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Haddad",
    "Ito",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "Okafor",
    "Petrov",
    "Quispe",
    "Rossi",
    "Silva",
    "Tanaka",
    "Usman",
    "Varga",
    "Weber",
    "Xu",
    "Yilmaz",
    "Zhang",
];
const CITIES: &[&str] = &[
    "Accra", "Bergen", "Bologna", "Cusco", "Gdansk", "Hanoi", "Izmir", "Kyoto", "Lagos", "Leipzig",
    "Lyon", "Malmo", "Porto", "Pune", "Quito", "Tallinn",
];
const LIKES: &[&str] = &[
    "bread",
    "bicycles",
    "birds",
    "bookbinding",
    "chess",
    "fermenting",
    "film cameras",
    "gardens",
    "knitting",
    "lighthouses",
    "maps",
    "old radios",
    "pottery",
    "rivers",
    "tea",
    "trains",
];

/// The id of the sample profile number `number`.
pub fn id(number: u64) -> String {
    format!("profile-{number:06}")
}

/// Makes the profiles numbered 0 to `count`, those of them that are not there yet, and says after
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
        let people: Vec<Person> = (first..end).map(|number| person(seed, number)).collect();
        let rows: Vec<[Value<'_>; 5]> = people.iter().map(Person::row).collect();
        let mut write = journal.begin().await?;
        let into = "profiles (id, display_name, bio, avatar_url, followers)";
        made += write
            .insert_many(into, "ON CONFLICT (id) DO NOTHING", &rows)
            .await?;
        write.commit().await?;
        progress(end);
    }
    Ok(made)
}

struct Person {
    id: String,
    name: String,
    bio: String,
    avatar: String,
    followers: i64,
}

impl Person {
    fn row(&self) -> [Value<'_>; 5] {
        let Self {
            id,
            name,
            bio,
            avatar,
            followers,
        } = self;
        [
            id.into(),
            name.into(),
            bio.into(),
            avatar.into(),
            (*followers).into(),
        ]
    }
}

/// A person depends on nothing but the seed and their number.
fn person(seed: u64, number: u64) -> Person {
    let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut pick = |words: &[&'static str]| words.choose(&mut rng).copied().unwrap_or_default();
    let (first, last, city) = (pick(FIRST), pick(LAST), pick(CITIES));
    let (one, two) = (pick(LIKES), pick(LIKES));
    // Few are followed by many.
    let followers = 10_f64.powf(5.0 * rng.random::<f64>().powi(2)) as i64 - 1;
    let id = id(number);
    Person {
        name: format!("{first} {last}"),
        bio: format!("Lives in {city}, likes {one} and {two}, and writes about them on Sundays."),
        avatar: format!("https://pictures.example/{id}.jpg"),
        followers,
        id,
    }
}
