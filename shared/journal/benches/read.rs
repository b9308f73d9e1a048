//! What the journal costs a reader and a feeder, on a PostgreSQL server of its own and on SQLite:
//! the label on a single-row read beside the bare read, and the poll that finds nothing new.
//!
//! `cargo bench -p larder-journal --bench read -- [repetitions]`

use anyhow::Result;
use larder::feed::{Coverage, Feed as _};
use larder_db::{Database, Value, args, migrator};
use larder_journal::{Journal, Watch, Watches};
use larder_testkit::postgres;
use std::time::{Duration, Instant};

const SQL: &str = "SELECT id, text FROM notes WHERE id = $1";
const LIST: &str = "SELECT id, text FROM notes WHERE id < $1 ORDER BY id LIMIT 50";

#[tokio::main]
async fn main() -> Result<()> {
    let repetitions = std::env::args()
        .find_map(|word| word.parse().ok())
        .unwrap_or(5_000);
    let server = postgres::start()?;
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite://{}", folder.path().join("bench.db").display());
    for url in [server.fresh_database()?.url(), file] {
        let journal = prepare(&url).await?;
        println!(
            "{}, medians of {repetitions}:",
            url.split(':').next().unwrap_or_default()
        );
        for (what, sql) in [("one row", SQL), ("50 rows", LIST)] {
            compare(&journal, what, sql, repetitions).await?;
        }
        poll(&journal, repetitions).await?;
    }
    Ok(())
}

async fn prepare(url: &str) -> Result<Journal> {
    let db = Database::open(url).await?;
    let tables = migrator(&[(
        1,
        "notes",
        "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT)",
    )]);
    db.migrate(&tables, &tables).await?;
    let watch = Watch::table("notes")
        .row("notes", "id")
        .keyspaces(&["notes"]);
    let journal = Journal::install(db.clone(), Watches::revision(1).watch(watch)).await?;
    // A journal as it is after a busy quarter of an hour.
    for chunk in 0_i64..100 {
        let rows: Vec<[Value<'_>; 2]> = (0..1_000)
            .map(|id| [(chunk * 1_000 + id).into(), "some text".into()])
            .collect();
        let mut tx = db.begin_write().await?;
        tx.insert_many("notes (id, text)", "", &rows).await?;
        tx.commit().await?;
    }
    Ok(journal)
}

async fn compare(journal: &Journal, what: &str, sql: &'static str, times: usize) -> Result<()> {
    let (mut bare, mut labelled) = (Vec::new(), Vec::new());
    for id in 0..times {
        let id = (id % 100_000) as i64;
        let begun = Instant::now();
        journal.database().fetch_all(sql, args![id]).await?;
        bare.push(begun.elapsed());
        let begun = Instant::now();
        journal.read(sql, args![id]).await?;
        labelled.push(begun.elapsed());
    }
    println!(
        "  {what}: bare {:?}, labelled {:?}",
        median(bare),
        median(labelled)
    );
    Ok(())
}

async fn poll(journal: &Journal, times: usize) -> Result<()> {
    let begun = Instant::now();
    let round = journal.round(None).await?;
    println!(
        "  whole journal: {} changes in {:?}",
        round.changes.len(),
        begun.elapsed()
    );
    let since = Coverage {
        epoch: round.epoch,
        snapshot: round.snapshot,
        low_marked: round.low_marked,
    };
    let mut polls = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        journal.round(Some(&since)).await?;
        polls.push(begun.elapsed());
    }
    println!("  poll that finds nothing: {:?}", median(polls));
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
