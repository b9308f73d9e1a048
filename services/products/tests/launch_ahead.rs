//! Launches at a time to come: every replica prepares them, whatever becomes of their caller, of
//! messages and of processes, and while a crowd reads what goes on sale, no reader loads it.

use crate::support;

use anyhow::{Context as _, Result, ensure};
use larder::remote;
use larder::remote::hub::{Faults, Hub};
use larder_host::Parts;
use larder_host::on_both;
use larder_host::trial::{Home, SOON, fields, reason};
use larder_proto::products::v1::*;
use larder_runtime::client::streamed;
use larder_testkit::{redis, wait_until};
use prost_types::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{Node, kettle, priced, source};
use tonic::{Code, Status};

on_both!(
    a_launch_is_prepared_by_every_replica_and_by_one_that_starts_later,
    a_launch_needs_no_message_between_replicas,
    a_launch_needs_neither_its_caller_nor_the_process_that_took_it,
    a_product_that_comes_to_a_category_is_launched_with_it,
    a_time_that_makes_no_sense_is_refused,
    one_launch_too_many_is_not_written_down,
);

const PRODUCTS: usize = 48;
/// So long that nothing of a test is after it.
const LATER: Duration = Duration::from_secs(50);

fn ahead(category: &str, after: Duration) -> LaunchProductsRequest {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("now") + after;
    LaunchProductsRequest {
        category: category.to_owned(),
        launch_time: Some(Timestamp {
            seconds: i64::try_from(at.as_secs()).expect("now"),
            nanos: 0,
        }),
        ..LaunchProductsRequest::default()
    }
}

/// Launches, and gives the last of the answers.
async fn launch(
    node: &Node,
    launch: LaunchProductsRequest,
) -> Result<LaunchProductsResponse, Status> {
    let mut answers = node
        .client
        .clone()
        .launch_products(streamed(launch))
        .await?;
    let mut last = None;
    while let Some(next) = answers.get_mut().message().await? {
        last = Some(next);
    }
    last.ok_or_else(|| Status::internal("no answer"))
}

/// A counter or gauge of the keyspace of products.
async fn counted(node: &Node, metric: &str, labels: &str) -> Result<u64> {
    let (_, page) = node.replica.admin("/metrics").await?;
    let series = format!("{metric}{{keyspace=\"products\"{labels}}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&*series));
    Ok(value.context("no such series")?.parse()?)
}

/// Reads that loaded, and loads of any kind.
async fn loads(node: &Node) -> Result<(u64, u64)> {
    let reads = counted(node, "larder_reads_total", ",outcome=\"load\"").await?;
    Ok((reads, counted(node, "larder_load_seconds_count", "").await?))
}

/// Writes so many products into a category, past the service.
fn many(home: &Home, category: &str, count: usize) -> Result<()> {
    let rows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO products (id, title, category, price_cents) \
         SELECT '{category}-' || i, 'one of many', '{category}', i % 7 FROM n"
    );
    home.by_hand("products", &rows).map(drop)
}

/// Waits until a replica has so many products in its memory.
async fn holds(node: &Node, count: usize) -> Result<()> {
    let held = async || {
        let held = counted(node, "larder_entries", "").await;
        held.is_ok_and(|held| held == count as u64)
    };
    wait_until("the products in memory", SOON, held).await
}

async fn a_launch_is_prepared_by_every_replica_and_by_one_that_starts_later(
    home: Home,
) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::on(&home, &hub).await?;
    many(&home, "tea", PRODUCTS)?;
    let last = launch(&here, ahead("tea", LATER)).await?;
    assert_eq!((last.loaded, last.missing), (PRODUCTS as u64, 0));
    assert_eq!((last.replicas, last.ready_replicas), (2, 2));
    holds(&here, PRODUCTS).await?;
    holds(&there, PRODUCTS).await?;
    let late = Node::on(&home, &hub).await?;
    holds(&late, PRODUCTS).await?;
    // Values of the others need a proof, which a starved machine may have none of for longer than Δ.
    let (reads, all) = loads(&late).await?;
    let loaded = reads.max(all);
    let unproven = counted(&late, "larder_misses_total", ",cause=\"remote_unproven\"").await?;
    assert!(
        loaded <= unproven,
        "it took them from the others: {loaded} loaded, {unproven} without a proof"
    );
    for cause in [
        "remote_cold",
        "remote_label",
        "remote_epoch",
        "remote_expired",
    ] {
        let misses = counted(&late, "larder_misses_total", &format!(",cause=\"{cause}\"")).await?;
        assert_eq!(misses, 0, "{cause}");
    }
    Ok(())
}

async fn a_launch_needs_no_message_between_replicas(home: Home) -> Result<()> {
    let hub = Hub::new();
    let here = Node::on(&home, &hub).await?;
    let there = Node::on(&home, &hub).await?;
    many(&home, "tea", PRODUCTS)?;
    hub.set_faults(Faults {
        lose_every: 1,
        ..Faults::default()
    });
    let last = launch(&here, ahead("tea", LATER)).await?;
    assert_eq!((last.replicas, last.ready_replicas), (2, 2));
    holds(&there, PRODUCTS).await?;
    // Nor does the price with which it goes on sale: whoever reads it waits for the writer.
    let before = loads(&there).await?;
    here.update(priced("tea-1", "tea", 999), Some(&["price_cents"]), None)
        .await?;
    let seen = async || {
        let product = there.get("tea-1").await;
        product.is_ok_and(|product| product.get_ref().price_cents == 999)
    };
    wait_until("the price", SOON, seen).await?;
    assert_eq!(loads(&there).await?, before);
    Ok(())
}

async fn a_launch_needs_neither_its_caller_nor_the_process_that_took_it(home: Home) -> Result<()> {
    let hub = Hub::new();
    let first = Node::on(&home, &hub).await?;
    many(&home, "tea", PRODUCTS)?;
    let request = ahead("tea", LATER);
    let answers = first
        .client
        .clone()
        .launch_products(streamed(request))
        .await?;
    let written = async || {
        let count = home.by_hand("products", "SELECT count(*) FROM launches;");
        count.is_ok_and(|count| count.contains('1'))
    };
    wait_until("the launch in the database", SOON, written).await?;
    drop(answers);
    first.replica.stop().await?;
    // Another life, and another remote tier: the database alone knows of it.
    let second = Node::on(&home, &Hub::new()).await?;
    holds(&second, PRODUCTS).await
}

async fn a_product_that_comes_to_a_category_is_launched_with_it(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    many(&home, "tea", PRODUCTS)?;
    launch(&node, ahead("tea", LATER)).await?;
    home.by_hand(
        "products",
        "INSERT INTO products (id, title, category) VALUES ('late', 'one more', 'tea')",
    )?;
    holds(&node, PRODUCTS + 1).await
}

async fn a_time_that_makes_no_sense_is_refused(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let nanos = |nanos| LaunchProductsRequest {
        launch_time: Some(Timestamp {
            seconds: i64::MAX,
            nanos,
        }),
        ..ahead("tea", LATER)
    };
    let month = Duration::from_secs(31 * 24 * 3600);
    let past = LaunchProductsRequest {
        launch_time: Some(Timestamp::default()),
        ..ahead("tea", LATER)
    };
    for wrong in [
        past,
        ahead("tea", month),
        nanos(0),
        nanos(-1),
        nanos(i32::MAX),
    ] {
        let refused = launch(&node, wrong).await.expect_err("no such time");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(fields(&refused), ["launch_time"], "{refused}");
    }
    Ok(())
}

async fn one_launch_too_many_is_not_written_down(home: Home) -> Result<()> {
    let node = Node::alone(&home).await?;
    let far = 1_000_000 * 4_000_000_000_i64;
    home.by_hand(
        "products",
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 32) \
             INSERT INTO launches (id, category, ids, launch_at) \
             SELECT 'launch-' || i, 'none', '', {far} FROM n"
        ),
    )?;
    let refused = launch(&node, ahead("tea", LATER)).await;
    let refused = refused.expect_err("no room");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TOO_MANY_LAUNCHES");
    Ok(())
}

/// Three replicas on one Redis and one PostgreSQL, on which other transactions are always under way,
/// older ones than those that put the products on sale.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_crowd_reads_what_goes_on_sale_no_reader_loads_it() -> Result<()> {
    const READERS: usize = 4;
    let (home, redis) = (Home::postgres()?, redis::start()?);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let parts = Parts::new(remote::open(&redis.url())?, home.address());
        nodes.push(Node::of(parts).await?);
    }
    let nodes = Arc::new(nodes);
    many(&home, "tea", PRODUCTS)?;
    nodes[0].create(kettle()).await?;
    let last = launch(&nodes[0], ahead("tea", Duration::from_secs(10))).await?;
    assert_eq!((last.replicas, last.ready_replicas), (3, 3));
    for node in nodes.iter() {
        holds(
            node,
            PRODUCTS + usize::from(node.get("kettle").await.is_ok()),
        )
        .await?;
    }
    let mut before = Vec::new();
    for node in nodes.iter() {
        before.push(loads(node).await?);
    }

    home.by_hand("products", "CREATE TABLE noise (n bigint)")?;
    let over = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut crowd = tokio::task::JoinSet::new();
    for reader in 0..READERS * nodes.len() {
        let (nodes, over, reads) = (nodes.clone(), over.clone(), reads.clone());
        crowd.spawn(async move {
            let node = &nodes[reader % nodes.len()];
            let mut number = reader;
            while !over.load(Ordering::Relaxed) {
                number = (number * 31 + 7) % PRODUCTS;
                let product = node.get(&format!("tea-{}", number + 1)).await?;
                ensure!(source(product.metadata()) != "stale", "{product:?}");
                reads.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    let noise = std::thread::spawn({
        let over = over.clone();
        move || {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                let older = "BEGIN; INSERT INTO noise VALUES (1); SELECT pg_sleep(0.05); COMMIT;";
                home.by_hand("products", &older.repeat(4))?;
                rounds += 1;
            }
            anyhow::Ok((rounds, home))
        }
    });
    for number in 1..=PRODUCTS {
        let node = &nodes[number % nodes.len()];
        let product = priced(&format!("tea-{number}"), "tea", 4242);
        node.update(product, Some(&["price_cents"]), None).await?;
    }
    for node in nodes.iter() {
        let all = async || {
            for number in 1..=PRODUCTS {
                let product = node.get(&format!("tea-{number}")).await;
                if !product.is_ok_and(|product| product.get_ref().price_cents == 4242) {
                    return false;
                }
            }
            true
        };
        wait_until("the new prices", SOON, all).await?;
    }
    over.store(true, Ordering::Relaxed);
    while let Some(reader) = crowd.join_next().await {
        reader??;
    }
    let (rounds, _home) = noise.join().expect("no panic")?;
    assert!(rounds > 0, "others wrote meanwhile");
    assert!(reads.load(Ordering::Relaxed) > 1000, "it was a crowd");
    for (node, before) in nodes.iter().zip(before) {
        let after = loads(node).await?;
        assert_eq!(after.0, before.0, "reads that loaded");
        assert!(after.1 > before.1, "writers do load");
    }
    Ok(())
}
