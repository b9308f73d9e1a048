//! A Redis that is full: whatever it does about it, answers are right and nothing waits.

use crate::support;

use anyhow::Result;
use bytes::Bytes;
use larder::remote::guard::{Guard, Limits};
use larder::remote::{self, Error, Item, Remote as _};
use larder::{Larder, Origin, Policy, Read, Tiers};
use larder_testkit::redis::{Redis, Setup};
use larder_testkit::wait_until;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Database, Loader, Node, Tells, Through, row, text, until};

const ROWS: usize = 600;
const HOUR: Duration = Duration::from_secs(3600);
const LONG: Duration = Duration::from_secs(20);

fn redis(policy: &str, bytes: &str) -> Result<Redis> {
    let args = ["--maxmemory", bytes, "--maxmemory-policy", policy];
    Setup::default().args(args).start()
}

/// Rows of 8 KiB, which are more by half than the server has room for.
fn rows() -> Arc<Database> {
    let database: Arc<Database> = Arc::default();
    for n in 0..ROWS {
        database.put(&n.to_string(), Some(("a", &content(n))));
    }
    database
}

fn content(n: usize) -> String {
    format!("{n:08}").repeat(1024)
}

/// A process without memory of its own, whose loads wait long for others'.
async fn node(server: &Redis, database: &Arc<Database>) -> Result<Node> {
    let remote = remote::open(&server.url())?;
    let any = ["larder:any".to_owned()];
    wait_until("a server", LONG, async || remote.get(&any).await.is_ok()).await?;
    let larder = Larder::builder(remote).tiers(Tiers::RemoteOnly).build();
    let source = larder.source("rows").feed(database.clone()).open();
    let loader = Loader::new(database, Tells::Primary);
    let policy = Policy {
        max_staleness: HOUR,
        compress_from_bytes: usize::MAX,
        lock_wait: Duration::from_secs(60),
        ..Policy::default()
    };
    let through = Through(loader.clone());
    let rows = source.keyspace("rows", through).policy(policy).open()?;
    until(|| source.is_proven()).await;
    Ok(Node {
        larder,
        source,
        rows,
        loader,
    })
}

/// Reads all rows, one after the other, and says how many the remote tier answered.
async fn read_all(node: &Node) -> usize {
    let mut from_remote = 0;
    for n in 0..ROWS {
        let answer = node.answer(&row(&n.to_string()), &Read::bounded()).await;
        assert_eq!(text(&answer), content(n));
        from_remote += usize::from(answer.origin == Origin::L2);
        node.settled().await;
    }
    from_remote
}

fn evicted(server: &Redis) -> Result<usize> {
    let stats = server.command(&["INFO", "stats"])?;
    let line = stats.lines().find_map(|l| l.strip_prefix("evicted_keys:"));
    Ok(line.unwrap_or_default().trim().parse()?)
}

#[tokio::test]
async fn a_redis_that_evicts_answers_rightly_and_goes_on_taking_values() -> Result<()> {
    let database = rows();
    for policy in ["allkeys-lru", "allkeys-lfu", "volatile-ttl"] {
        let server = redis(policy, "4mb")?;
        let node = node(&server, &database).await?;
        assert_eq!(read_all(&node).await, 0, "{policy}");
        assert!(evicted(&server)? > 50, "{policy}: not more than fits");
        read_all(&node).await;
        // The last one was stored, and is there.
        let last = row(&(ROWS - 1).to_string());
        let again = node.answer(&last, &Read::bounded()).await;
        assert_eq!(text(&again), content(ROWS - 1), "{policy}");
        let kept: usize = server.command(&["DBSIZE"])?.trim().parse()?;
        assert!(kept > 50, "{policy} keeps {kept}");
    }
    Ok(())
}

#[tokio::test]
async fn a_redis_that_evicts_nothing_answers_what_it_has_and_makes_nobody_wait() -> Result<()> {
    let server = redis("noeviction", "4mb")?;
    let node = node(&server, &rows()).await?;
    let began = Instant::now();
    read_all(&node).await;
    let kept = read_all(&node).await;
    assert!((50..ROWS - 50).contains(&kept), "{kept} were kept");
    // Waiting would cost each of the others more than a second.
    assert!(began.elapsed() < Duration::from_secs(30));
    Ok(())
}

#[tokio::test]
async fn refused_stores_and_locks_open_no_breaker_of_reads_and_locks_say_why() -> Result<()> {
    let server = redis("noeviction", "1")?;
    let remote = remote::open(&server.url())?;
    let any = ["larder:any".to_owned()];
    wait_until("a server", LONG, async || remote.get(&any).await.is_ok()).await?;
    let limits = Limits {
        failures: 3,
        timeout: LONG,
        pause: HOUR,
    };
    let guard = Guard::new(remote, limits);
    let item = Item {
        key: "larder:any".to_owned(),
        value: Bytes::from_static(b"x"),
        ttl: HOUR,
    };
    for _ in 0..3 {
        let set = guard.set(std::slice::from_ref(&item)).await;
        assert!(matches!(set, Err(Error::Full(_))), "{set:?}");
    }
    let set = guard.set(&[item]).await;
    assert!(matches!(set, Err(Error::BreakerOpen)), "{set:?}");
    for _ in 0..10 {
        let locked = guard.lock(&any, 1, HOUR).await;
        assert!(matches!(locked, Err(Error::Full(_))), "{locked:?}");
        assert_eq!(guard.get(&any).await?, [None]);
    }
    assert!(!guard.is_open());
    let counters = guard.counters();
    assert_eq!((counters.failures, counters.opened), (13, 1));
    let failed = guard
        .counters_by_kind()
        .map(|(kind, seen)| (kind, seen.failures));
    let expected = [
        ("read", 0),
        ("store", 3),
        ("lock", 10),
        ("hint", 0),
        ("limit", 0),
    ];
    assert_eq!(failed, expected);
    Ok(())
}
