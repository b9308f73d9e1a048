//! Which entries leave when memory is full, by policy.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use larder::policy::{Eviction, Policy};
use larder::remote::hub::Hub;
use larder::{Ask, Keyspace, Larder, Loaded, Proof, Read, load};
use std::time::Duration;

/// Of some thousand entries that fit, these are read time and again.
const HOT: usize = 100;
const SCAN: usize = 3_000;

async fn load(keys: Vec<String>, _: Ask) -> Result<Vec<Loaded<Bytes>>, load::Error> {
    let loaded = |_| Loaded {
        value: Some(Bytes::from_static(&[b'x'; 600])),
        tags: Vec::new(),
        proof: Proof::None,
    };
    Ok(keys.into_iter().map(loaded).collect())
}

/// Reads the keys; memory is told of it soon, since only so many reads wait to be told.
async fn read(keyspace: &Keyspace<String, Bytes>, name: &str, count: usize) -> Result<()> {
    for n in 0..count {
        let key = format!("{name} {n}");
        keyspace.get(&key, &Read::bounded()).await?;
        if n % 16 == 15 || n + 1 == count {
            keyspace.stats();
        }
    }
    Ok(())
}

/// How many of the hot keys, and of the last of a scan, are in memory after the scan.
async fn after_a_scan(eviction: Eviction) -> Result<(usize, usize)> {
    let larder = Larder::builder(Hub::new()).build();
    let source = larder.source("any").open();
    let policy = Policy {
        max_staleness: Duration::from_secs(3600),
        capacity_bytes: 1 << 20,
        eviction,
        ..Policy::default()
    };
    let keyspace = source.keyspace("any", load).policy(policy).open()?;
    // moka begins to count how often keys are read when half of its room is taken.
    read(&keyspace, "filler", 1_200).await?;
    for _ in 0..10 {
        read(&keyspace, "hot", HOT).await?;
    }
    read(&keyspace, "scan", SCAN).await?;
    let bytes = keyspace.stats().bytes;
    anyhow::ensure!(bytes <= 1 << 20, "{bytes} bytes are more than was granted");
    let held = |name: &str, n: usize| {
        let key = format!("{name} {n}");
        keyspace.peek(&key, &Read::bounded()).is_some()
    };
    let hot = (0..HOT).filter(|n| held("hot", *n)).count();
    let last = (SCAN - HOT..SCAN).filter(|n| held("scan", *n)).count();
    Ok((hot, last))
}

#[tokio::test]
async fn a_scan_does_not_flush_what_is_read_often_under_tiny_lfu() -> Result<()> {
    let (hot, _) = after_a_scan(Eviction::TinyLfu).await.context("TinyLFU")?;
    assert!(hot >= 95, "{hot} of {HOT} hot keys were left");
    Ok(())
}

#[tokio::test]
async fn what_was_read_last_stays_under_lru_and_nothing_else() -> Result<()> {
    let (hot, last) = after_a_scan(Eviction::Lru).await.context("LRU")?;
    assert_eq!((hot, last), (0, HOT));
    Ok(())
}
