//! A hit in memory through the keyspace handle, beside a bare moka `get` of the same bytes.
//!
//! `cargo bench -p larder --bench hit`

use bytes::Bytes;
use larder::remote::hub::Hub;
use larder::{Ask, Keyspace, Larder, Loaded, Proof, Read, load};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const KEYS: usize = 10_000;
const READS: usize = 400_000;
const ROUNDS: usize = 15;

async fn load(keys: Vec<String>, _: Ask) -> Result<Vec<Loaded<Bytes>>, load::Error> {
    let value = |key: &String| Some(Bytes::from(key.repeat(20)));
    let loaded = |key| Loaded {
        value: value(key),
        tags: Vec::new(),
        proof: Proof::None,
    };
    Ok(keys.iter().map(loaded).collect())
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let larder = Larder::builder(Hub::new()).build();
        let policy = larder::Policy {
            max_staleness: Duration::from_secs(3_600),
            ..larder::Policy::default()
        };
        let source = larder.source("bench").open();
        let keyspace = source
            .keyspace("bench", load)
            .policy(policy)
            .open()
            .expect("a policy");
        let bare: moka::sync::Cache<String, Bytes> = moka::sync::Cache::builder()
            .max_capacity(64 << 20)
            .weigher(|_, v: &Bytes| v.len() as u32)
            .build();
        let keys: Arc<Vec<String>> =
            Arc::new((0..KEYS).map(|n| format!("profile-{n:06}")).collect());
        for key in keys.iter() {
            let answer = keyspace.get(key, &Read::bounded()).await.expect("loaded");
            bare.insert(key.clone(), answer.value().expect("a value").clone());
        }
        bare.run_pending_tasks();
        keyspace.stats();
        let read = Read::bounded();
        let allocated = allocation_counter::measure(|| {
            for key in keys.iter() {
                black_box(keyspace.peek(key, &read).expect("a hit").value());
            }
        });
        let bare_allocated = allocation_counter::measure(|| {
            for key in keys.iter() {
                black_box(bare.get(key));
            }
        });
        println!(
            "allocations in {KEYS} hits: {}; in as many of bare moka, by its upkeep: {}",
            allocated.count_total, bare_allocated.count_total
        );
        overhead(&source);
        for threads in [1, 2] {
            let mut ratios: Vec<(f64, f64, f64)> = (0..ROUNDS)
                .map(|_| {
                    let bare = timed(threads, &keys, |keys| bare_reads(&bare, keys));
                    let ours = timed(threads, &keys, |keys| our_reads(&keyspace, keys));
                    (ours / bare, bare, ours)
                })
                .collect();
            ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (ratio, bare, ours) = ratios[ROUNDS / 2];
            println!(
                "{threads} thread(s): bare {bare:.1} ns, larder {ours:.1} ns, ratio {ratio:.2}"
            );
        }
    });
}

/// What an entry takes beyond its key and its value, and what a keyspace takes beside: filled with
/// twice as many keys, it holds what one entry takes so many times more. Both fillings are larger
/// than the samples that a keyspace takes of its reads, which so are no part of an entry.
fn overhead(source: &larder::Source) {
    let [few, many] = [KEYS, 2 * KEYS].map(|count| {
        let keys: Vec<String> = (0..count).map(|n| format!("profile-{n:06}")).collect();
        let own: usize = keys.iter().map(|key| key.len() * 21).sum();
        [held(source, &keys), held_bare(&keys)].map(|held| held - own as i64)
    });
    let (entries, each) = (KEYS as i64, |n: usize| (many[n] - few[n]) / KEYS as i64);
    println!(
        "memory beyond key and value: {} bytes an entry and {} KiB a keyspace; in bare moka {} \
         and {} KiB",
        each(0),
        (few[0] - entries * each(0)) >> 10,
        each(1),
        (few[1] - entries * each(1)) >> 10
    );
}

/// The bytes that stay allocated after a keyspace was opened and filled.
fn held(source: &larder::Source, keys: &[String]) -> i64 {
    let mut keyspace: Option<Keyspace<String, Bytes>> = None;
    let name = format!("overhead-{}", keys.len());
    let held = allocation_counter::measure(|| {
        let opened = source.keyspace(&name, load).open().expect("a policy");
        for key in keys {
            let read = Read::bounded();
            // Unconstrained, as nothing here gives way to another task.
            let filled = tokio::task::unconstrained(opened.get(key, &read));
            let answer =
                futures_util::FutureExt::now_or_never(filled).expect("nothing to wait for");
            black_box(answer.expect("loaded").value());
        }
        opened.stats();
        keyspace = Some(opened);
    });
    held.bytes_current
}

fn held_bare(keys: &[String]) -> i64 {
    let mut cache = None;
    let held = allocation_counter::measure(|| {
        let bare: moka::sync::Cache<String, Bytes> = moka::sync::Cache::builder()
            .max_capacity(64 << 20)
            .weigher(|_, v: &Bytes| v.len() as u32)
            .build();
        for key in keys {
            bare.insert(key.clone(), Bytes::from(key.repeat(20)));
        }
        bare.run_pending_tasks();
        cache = Some(bare);
    });
    held.bytes_current
}

fn timed(threads: usize, keys: &Arc<Vec<String>>, work: impl Fn(&[String]) + Sync) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(keys));
        }
    });
    began.elapsed().as_nanos() as f64 / READS as f64
}

fn places() -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..READS).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % KEYS
    })
}

fn bare_reads(cache: &moka::sync::Cache<String, Bytes>, keys: &[String]) {
    for place in places() {
        black_box(cache.get(&keys[place]));
    }
}

fn our_reads(keyspace: &Keyspace<String, Bytes>, keys: &[String]) {
    let read = Read::bounded();
    futures_util::FutureExt::now_or_never(async {
        for place in places() {
            let _ = black_box(keyspace.get(&keys[place], &read).await);
        }
    })
    .expect("hits never wait");
}
