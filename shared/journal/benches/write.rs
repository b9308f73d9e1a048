//! What the journal costs a writer: single-row updates by id on a PostgreSQL server of its own,
//! on a table without triggers and on one with triggers and the reading back of its lines.
//!
//! `cargo bench -p larder-journal --bench write -- [seconds per run] [clients] [trips-off-disk]`
//!
//! The two take turns, so that what else the machine does falls on both. The bar is a ratio of
//! at least 0.75.

use anyhow::Result;
use larder_db::{Database, Value, args, migrator};
use larder_journal::{Journal, Watch, Watches};
use larder_testkit::postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROWS: i64 = 10_000;
const TURNS: usize = 5;

#[derive(Clone, Copy)]
enum Kind {
    Bare,
    Triggers,
    Journalled,
}

#[tokio::main]
async fn main() -> Result<()> {
    let numbers: Vec<f64> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let run = Duration::from_secs_f64(numbers.first().copied().unwrap_or(2.0));
    let clients = numbers.get(1).copied().unwrap_or(8.0) as usize;
    let durable = !std::env::args().any(|word| word == "trips-off-disk");

    let setup = postgres::Setup::default();
    let server = if durable { setup.durable() } else { setup }.start()?;
    let database = server.fresh_database()?;
    let db = Database::open(&database.url()).await?;
    let journal = prepare(&db).await?;

    println!("{clients} clients, {TURNS} turns of {run:?} each, fsync {durable}");
    let kinds = [Kind::Bare, Kind::Triggers, Kind::Journalled];
    let mut sums = [Turn::default(); 3];
    for _ in 0..TURNS {
        for (sum, kind) in sums.iter_mut().zip(kinds) {
            let turn = turn(&journal, kind, clients, run).await?;
            *sum = Turn {
                writes: sum.writes + turn.writes,
                wall: sum.wall + turn.wall,
                client: sum.client + turn.client,
                server: sum.server + turn.server,
            };
        }
    }
    let bare = sums[0].rate();
    for (sum, what) in sums
        .iter()
        .zip(["no triggers", "triggers", "triggers, reading back"])
    {
        let (rate, each) = (sum.rate(), 1e6 / sum.writes);
        println!(
            "{what:24}{rate:7.0} writes/s, ratio {:.3}; CPU per write: client {:3.0} us, server {:3.0} us",
            rate / bare,
            sum.client * each,
            sum.server * each,
        );
    }
    load(&db).await
}

async fn prepare(db: &Database) -> Result<Journal> {
    let tables = migrator(&[(
        1,
        "tables",
        "CREATE TABLE bare (id BIGINT PRIMARY KEY, owner BIGINT NOT NULL, text TEXT NOT NULL); \
         CREATE INDEX ON bare (owner); \
         CREATE TABLE watched (id BIGINT PRIMARY KEY, owner BIGINT NOT NULL, text TEXT NOT NULL); \
         CREATE INDEX ON watched (owner)",
    )]);
    db.migrate(&tables, &tables).await?;
    for table in ["bare", "watched"] {
        let rows: Vec<[Value<'_>; 3]> = (0..ROWS)
            .map(|id| [id.into(), (id % 100).into(), "some text".into()])
            .collect();
        let mut tx = db.begin_write().await?;
        tx.insert_many(&format!("{table} (id, owner, text)"), "", &rows)
            .await?;
        tx.commit().await?;
    }
    let watch = Watch::table("watched")
        .row("watched", "id")
        .collection("watched.owner", "owner");
    let watches = Watches::revision(1).watch(watch.keyspaces(&["watched"]));
    Ok(Journal::install(db.clone(), watches).await?)
}

/// What was done, and what it took, in seconds.
#[derive(Clone, Copy, Default)]
struct Turn {
    writes: f64,
    wall: f64,
    client: f64,
    server: f64,
}

impl Turn {
    fn rate(&self) -> f64 {
        self.writes / self.wall
    }
}

async fn turn(journal: &Journal, kind: Kind, clients: usize, run: Duration) -> Result<Turn> {
    let before = processor();
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (journal, stop, count) = (journal.clone(), stop.clone(), count.clone());
        tasks.spawn(async move {
            let mut seed = client as u64 + 1;
            while !stop.load(Ordering::Relaxed) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let id = (seed >> 33) as i64 % ROWS;
                write(&journal, kind, id, &seed.to_string()).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(run).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let (client, server) = processor();
    Ok(Turn {
        writes: count.load(Ordering::Relaxed) as f64,
        wall: begun.elapsed().as_secs_f64(),
        client: client - before.0,
        server: server - before.1,
    })
}

/// Processor seconds of this process and of all that descend from it: steadier than the wall
/// clock on a machine that does other things too. Zero where there is no `/proc`.
fn processor() -> (f64, f64) {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<u64> = fields
            .split(' ')
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        if fields.len() > 15 {
            processes.push((
                id,
                fields[2] as u32,
                (fields[12] + fields[13]) as f64 / 100.0,
            ));
        }
    }
    let own = std::process::id();
    let mut family = vec![own];
    let mut seconds = [0.0, 0.0];
    while let Some(parent) = family.pop() {
        for &(id, above, spent) in &processes {
            if id == parent {
                seconds[usize::from(id != own)] += spent;
            }
            if above == parent {
                family.push(id);
            }
        }
    }
    (seconds[0], seconds[1])
}

async fn write(journal: &Journal, kind: Kind, id: i64, text: &str) -> Result<()> {
    let sql = match kind {
        Kind::Bare => "UPDATE bare SET text = $2 WHERE id = $1",
        Kind::Triggers | Kind::Journalled => "UPDATE watched SET text = $2 WHERE id = $1",
    };
    if let Kind::Journalled = kind {
        let mut write = journal.begin().await?;
        write.execute(sql, args![id, text]).await?;
        assert!(write.commit().await?.is_some(), "it has touched a row");
    } else {
        let mut tx = journal.database().begin_write().await?;
        tx.execute(sql, args![id, text]).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// What a loader of many rows waits for.
async fn load(db: &Database) -> Result<()> {
    for table in ["bare", "watched"] {
        let rows: Vec<[Value<'_>; 3]> = (ROWS..ROWS + 100_000)
            .map(|id| {
                [
                    id.into(),
                    (id % 100).into(),
                    "some text of some length".into(),
                ]
            })
            .collect();
        let begun = Instant::now();
        let mut tx = db.begin_write().await?;
        tx.insert_many(&format!("{table} (id, owner, text)"), "", &rows)
            .await?;
        tx.commit().await?;
        println!("100,000 rows into {table}: {:?}", begun.elapsed());
    }
    Ok(())
}
