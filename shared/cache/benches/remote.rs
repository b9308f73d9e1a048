//! A hit in Redis through the keyspace handle, beside a bare GET of the same bytes; fifty keys at
//! once, beside one pipeline of fifty GETs; and how soon a write is gone elsewhere, beside how
//! soon a bare PUBLISH arrives.
//!
//! `cargo bench -p larder --bench remote` (starts a redis-server of its own)

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use larder::feed::{self, Change, Coverage, Feed, Line, Round, Written};
use larder::{
    Ask, Epoch, Keyspace, Label, Larder, Loaded, Origin, Policy, Proof, Read, Snapshot, Source,
    Tag, load, remote,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// As in the suite.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 2_000;
const ROUNDS: usize = 9;
const WRITES: usize = 1_000;
const EPOCH: Epoch = Epoch {
    system: 1,
    timeline: 0,
};

/// A database that costs nothing: rows are numbers, and transactions are counted.
#[derive(Default)]
struct Table {
    journal: Mutex<Vec<String>>,
    loads: AtomicUsize,
}

impl Table {
    fn write(&self, key: &str) -> Written {
        let mut journal = self.journal.lock().expect("no panics");
        journal.push(key.to_owned());
        Written {
            epoch: EPOCH,
            xid: journal.len() as u64,
            tags: vec![Tag::of("rows", key)],
        }
    }

    fn load(&self, keys: &[String]) -> Vec<Loaded<Bytes>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let last = self.journal.lock().expect("no panics").len() as u64;
        let label = Label {
            epoch: EPOCH,
            snapshot: Snapshot::up_to(last),
        };
        let value = |key: &String| Bytes::from(format!("{last:08}{}", key.repeat(60)));
        let loaded = |key| Loaded {
            value: Some(value(key)),
            tags: Vec::new(),
            proof: Proof::Primary(label.clone()),
        };
        keys.iter().map(loaded).collect()
    }
}

impl Feed for Table {
    fn round<'a>(
        &'a self,
        since: Option<&'a Coverage>,
    ) -> BoxFuture<'a, Result<Round, feed::Error>> {
        let journal = self.journal.lock().expect("no panics");
        let known = since.map_or(0, |since| since.snapshot.xmin() as usize - 1);
        let change = |(n, key): (usize, &String)| Change {
            tag: Tag::of("rows", key),
            xid: n as u64 + 1,
        };
        let changes = journal.iter().enumerate().skip(known).map(change).collect();
        let snapshot = Snapshot::up_to(journal.len() as u64);
        let round = Round {
            epoch: EPOCH,
            snapshot,
            low_marked: 0,
            low_dropped: 0,
            changes,
        };
        Box::pin(async { Ok(round) })
    }

    fn touch<'a>(&'a self, _: &'a [Line]) -> BoxFuture<'a, Result<Written, feed::Error>> {
        Box::pin(async { Err(feed::Error::Unsupported) })
    }
}

struct Node {
    larder: Larder,
    source: Source,
    rows: Keyspace<String, Bytes>,
}

async fn node(url: &str, table: &Arc<Table>, capacity_bytes: u64) -> Node {
    let larder = Larder::builder(remote::open(url).expect("an address")).build();
    let source = larder.source("rows").feed(table.clone()).open();
    let loads = table.clone();
    let loader = move |keys: Vec<String>, _: Ask| {
        let loaded = loads.load(&keys);
        async move { Ok::<_, load::Error>(loaded) }
    };
    let policy = Policy {
        capacity_bytes,
        ..Policy::default()
    };
    let rows = source
        .keyspace("rows", loader)
        .policy(policy)
        .open()
        .expect("a policy");
    while !source.is_proven() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Node {
        larder,
        source,
        rows,
    }
}

async fn bare(url: &str) -> redis::aio::MultiplexedConnection {
    use redis::IntoConnectionInfo as _;
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let info = url
        .into_connection_info()
        .expect("an address")
        .set_tcp_settings(tcp);
    let client = redis::Client::open(info).expect("a client");
    client
        .get_multiplexed_async_connection()
        .await
        .expect("a server")
}

fn median(mut samples: Vec<(f64, f64)>) -> (f64, f64, f64) {
    samples.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (bare, ours) = samples[samples.len() / 2];
    (bare, ours, ours / bare)
}

fn print(what: &str, samples: Vec<(f64, f64)>) {
    let (bare, ours, ratio) = median(samples);
    println!("{what}: bare {bare:.1} us, larder {ours:.1} us, ratio {ratio:.2}");
}

fn main() {
    let redis = larder_testkit::redis::start().expect("redis-server");
    let url = redis.url();
    // One thread, so that what is measured is work and not where a task wakes up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let table = Arc::new(Table::default());
    let keys = runtime.expect("a runtime").block_on(async {
        let filler = node(&url, &table, 64 << 20).await;
        let keys: Vec<String> = (0..KEYS).map(|n| format!("profile-{n:06}")).collect();
        for batch in keys.chunks(50) {
            filler
                .rows
                .get_many(batch, &Read::bounded())
                .await
                .expect("loaded");
            while !filler.larder.is_settled() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let connection = bare(&url).await;
        single(&url, &table, &connection, &keys).await;
        many(
            "fifty keys, all work on one thread",
            &url,
            &table,
            &connection,
            &keys,
        )
        .await;
        keys
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let connection = bare(&url).await;
        many(
            "fifty keys, as a server waits for them",
            &url,
            &table,
            &connection,
            &keys,
        )
        .await;
        let table = Arc::new(Table::default());
        propagation(&url, &table).await;
        loads_per_write(&url, &table).await;
    });
}

async fn single(
    url: &str,
    table: &Arc<Table>,
    connection: &redis::aio::MultiplexedConnection,
    keys: &[String],
) {
    for callers in [1, 32] {
        let mut samples = Vec::new();
        for _ in 0..ROUNDS {
            // A process whose memory is empty: every read goes to Redis.
            let reader = &node(url, table, 64 << 20).await;
            let began = Instant::now();
            futures_util::stream::iter(keys)
                .for_each_concurrent(callers, |key| async move {
                    let mut connection = connection.clone();
                    let name = format!("larder:v1:rows:{key}");
                    let value: Option<Bytes> = redis::cmd("GET")
                        .arg(name)
                        .query_async(&mut connection)
                        .await
                        .expect("a value");
                    assert!(value.is_some());
                })
                .await;
            let bare = began.elapsed();
            let began = Instant::now();
            futures_util::stream::iter(keys)
                .for_each_concurrent(callers, |key| async move {
                    let answer = reader
                        .rows
                        .get(key, &Read::bounded())
                        .await
                        .expect("an answer");
                    assert_eq!(answer.origin, Origin::L2);
                })
                .await;
            let ours = began.elapsed();
            let each = |time: Duration| time.as_secs_f64() * 1e6 / KEYS as f64;
            samples.push((each(bare), each(ours)));
        }
        print(&format!("GET, {callers} caller(s)"), samples);
    }
}

async fn many(
    what: &str,
    url: &str,
    table: &Arc<Table>,
    connection: &redis::aio::MultiplexedConnection,
    keys: &[String],
) {
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let reader = &node(url, table, 64 << 20).await;
        let began = Instant::now();
        for batch in keys.chunks(50) {
            let mut pipeline = redis::pipe();
            for key in batch {
                pipeline.cmd("GET").arg(format!("larder:v1:rows:{key}"));
            }
            let mut connection = connection.clone();
            let values: Vec<Option<Bytes>> =
                pipeline.query_async(&mut connection).await.expect("values");
            assert!(values.iter().all(Option::is_some));
        }
        let bare = began.elapsed();
        let began = Instant::now();
        for batch in keys.chunks(50) {
            let answers = reader
                .rows
                .get_many(batch, &Read::bounded())
                .await
                .expect("answers");
            assert!(answers.iter().all(|answer| answer.origin == Origin::L2));
        }
        let ours = began.elapsed();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / (KEYS / 50) as f64;
        samples.push((each(bare), each(ours)));
    }
    print(what, samples);
}

fn p99(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6;
    (at(0.5), at(0.99))
}

/// From when the writer's call returned until the other process no longer serves the old value,
/// beside from when PUBLISH returned until the message is there: both as the excess over 0.
async fn propagation(url: &str, table: &Arc<Table>) {
    let (writer, reader) = (
        node(url, table, 64 << 20).await,
        node(url, table, 64 << 20).await,
    );
    let key = "profile-000000".to_owned();
    let mut ours = Vec::new();
    for _ in 0..WRITES {
        let old = reader
            .rows
            .get(&key, &Read::bounded())
            .await
            .expect("an answer");
        let written = table.write(&key);
        let began = Instant::now();
        writer.source.wrote(written).await;
        let read = Read::bounded();
        while reader
            .rows
            .peek(&key, &read)
            .is_some_and(|now| now.value() == old.value())
        {
            tokio::task::yield_now().await;
        }
        ours.push(began.elapsed());
    }
    let mut publisher = bare(url).await;
    let client = redis::Client::open(url).expect("a client");
    let mut subscriber = client.get_async_pubsub().await.expect("a server");
    subscriber
        .subscribe("larder:bench")
        .await
        .expect("subscribed");
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = arrived.clone();
    let listening = tokio::spawn(async move {
        let mut messages = subscriber.on_message();
        while messages.next().await.is_some() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut raw = Vec::new();
    for sent in 1..=WRITES {
        let began = Instant::now();
        let payload = vec![7u8; 80];
        let () = redis::cmd("PUBLISH")
            .arg("larder:bench")
            .arg(payload)
            .query_async(&mut publisher)
            .await
            .expect("sent");
        while arrived.load(Ordering::SeqCst) < sent {
            tokio::task::yield_now().await;
        }
        raw.push(began.elapsed());
    }
    listening.abort();
    let (raw, ours) = (p99(raw), p99(ours));
    println!(
        "propagation from the call on: PUBLISH p50 {:.0} us p99 {:.0} us, write p50 {:.0} us p99 {:.0} us, ratio of p99 {:.2}",
        raw.0,
        raw.1,
        ours.0,
        ours.1,
        ours.1 / raw.1
    );
}

/// Four processes read one key all the time while it is written: how many loads a write costs.
async fn loads_per_write(url: &str, table: &Arc<Table>) {
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(node(url, table, 64 << 20).await);
    }
    let key = "profile-000001".to_owned();
    let readers: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (rows, key) = (node.rows.clone(), key.clone());
            tokio::spawn(async move {
                loop {
                    rows.get(&key, &Read::bounded()).await.expect("an answer");
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = table.loads.load(Ordering::Relaxed);
    let writes = 100;
    for _ in 0..writes {
        nodes[0].source.wrote(table.write(&key)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let loads = table.loads.load(Ordering::Relaxed) - before;
    for reader in readers {
        reader.abort();
    }
    let sum = |pick: fn(&larder::stats::Stats) -> u64| -> u64 {
        nodes.iter().map(|node| pick(&node.rows.stats())).sum()
    };
    println!(
        "loads per write of a hot key, four processes: {:.2} (rescues {}, labels refused {})",
        loads as f64 / f64::from(writes),
        sum(|stats| stats.rescues),
        sum(|stats| stats.misses(larder::stats::Miss::RemoteLabel)),
    );
}
