//! Many callers of one report, callers who leave, and what goes on beside long computations.

use crate::support;

use anyhow::{Context as _, Result};
use larder::remote::hub::Hub;
use larder_db::{Database, Tx, args};
use larder_host::trial::{Home, SOON};
use larder_host::{Opening, database_url, on_both};
use larder_reports::{Reports, sample};
use larder_runtime::config::Address;
use larder_testkit::{redis, wait_until};
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tokio::task::JoinSet;
use tonic::Code;

on_both!(a_thousand_callers_of_each_cold_report_cost_one_computation_each);

/// Every report waits for this to be dropped: a lock on the table that they read. Only a server has
/// such locks.
async fn held(home: &Home) -> Result<Tx> {
    let url = database_url(home.address().expose(), "reports")?;
    let database = Database::open(&url).await?;
    let mut tx = database.begin_write().await?;
    tx.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", args![])
        .await?;
    Ok(tx)
}

/// How many statements wait for it.
fn waiting(home: &Home) -> Result<u64> {
    let sql = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
               WHERE NOT l.granted AND c.relname = 'orders'";
    Ok(home.by_hand("reports", sql)?.trim().parse()?)
}

async fn wait_for_statements(home: &Home, count: u64) -> Result<()> {
    let all = async || waiting(home).is_ok_and(|waiting| waiting == count);
    wait_until("the statements of the reports", SOON, all).await
}

/// How many calls have missed in this replica's memory.
async fn missed(node: &Node) -> Result<u64> {
    let (_, metrics) = node.replica.admin("/metrics").await?;
    let cold = "larder_misses_total{keyspace=\"reports.sales\",cause=\"cold\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(cold));
    Ok(line.context("misses are counted")?.parse()?)
}

async fn of_both(nodes: &[Node], keyspace: &str) -> Result<u64> {
    let mut sum = 0;
    for node in nodes {
        sum += node.computed(keyspace).await?;
    }
    Ok(sum)
}

async fn a_thousand_callers_of_each_cold_report_cost_one_computation_each(
    home: Home,
) -> Result<()> {
    let hub = Hub::new();
    let opening = Opening::of(&home.parts(&hub));
    let journal = opening.journal(&Reports::detached()).await?;
    sample::load(&journal, 3_000, (50, 200), 1, |_| {}).await?;
    let nodes = [Node::on(&home, &hub).await?, Node::on(&home, &hub).await?];
    let mut callers = JoinSet::new();
    for caller in 0..1_000 {
        let client = nodes[caller % 2].client.clone();
        let (first, last) = ("2025-01-01", "2026-12-31");
        callers.spawn(async move {
            let mut client = client;
            match caller % 3 {
                0 => {
                    let report = client.get_sales_report(sales(first, last, &[])).await?;
                    let total = report.into_inner().total.unwrap_or_default();
                    Ok::<_, tonic::Status>(total.orders)
                }
                1 => {
                    let report = client.get_top_products(top(first, last, &[])).await?;
                    Ok(report.into_inner().products.len() as i64 * 300)
                }
                _ => {
                    let report = client
                        .get_customer_value(customers(first, last, &[]))
                        .await?;
                    Ok(report.into_inner().customer_count * 15)
                }
            }
        });
    }
    while let Some(answer) = callers.join_next().await {
        assert_eq!(answer??, 3_000);
    }
    for keyspace in KEYSPACES {
        assert_eq!(of_both(&nodes, keyspace).await?, 1, "{keyspace}");
    }
    Ok(())
}

/// Two replicas on a Redis and a PostgreSQL server, whose reports are held.
async fn real() -> Result<(Home, redis::Redis, [Node; 2])> {
    let (home, redis) = (Home::postgres()?, redis::start()?);
    let node = async || {
        let address: Address = redis.url().parse()?;
        let mut parts = home.parts(&Hub::new());
        parts.remote = larder::remote::open(address.expose())?;
        Node::of(parts, NOBODY).await
    };
    let nodes = [node().await?, node().await?];
    nodes[0].record([order("1", "north", "2026-05-31")]).await?;
    Ok((home, redis, nodes))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_wait_for_one_computation_in_the_cluster() -> Result<()> {
    let (home, _redis, nodes) = real().await?;
    let hold = held(&home).await?;
    let mut callers = JoinSet::new();
    for caller in 0..1_000 {
        let mut client = nodes[caller % 2].client.clone();
        callers.spawn(async move { client.get_sales_report(year(&[])).await });
    }
    let all = async || {
        let both = (missed(&nodes[0]).await, missed(&nodes[1]).await);
        matches!(both, (Ok(500), Ok(500)))
    };
    wait_until("all callers", SOON, all).await?;
    wait_for_statements(&home, 1).await?;
    hold.rollback().await?;
    while let Some(answer) = callers.join_next().await {
        let total = answer??.into_inner().total.unwrap_or_default();
        assert_eq!(total.orders, 1);
    }
    assert_eq!(of_both(&nodes, "reports.sales").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_deadline_ends_its_wait_and_not_the_computation_of_others() -> Result<()> {
    let (home, _redis, nodes) = real().await?;
    let hold = held(&home).await?;
    let mut hurried = tonic::Request::new(year(&[]));
    hurried.set_timeout(Duration::from_millis(300));
    let mut client = nodes[0].client.clone();
    let hurried = tokio::spawn(async move { client.get_sales_report(hurried).await });
    wait_for_statements(&home, 1).await?;
    let patient = nodes.each_ref().map(|node| {
        let mut client = node.client.clone();
        tokio::spawn(async move { client.get_sales_report(year(&[])).await })
    });
    let late = hurried.await?.expect_err("it is held");
    assert_eq!(late.code(), Code::DeadlineExceeded);
    hold.rollback().await?;
    for patient in patient {
        assert!(patient.await?.is_ok());
    }
    assert_eq!(of_both(&nodes, "reports.sales").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_whose_callers_have_all_left_is_finished_and_kept() -> Result<()> {
    let (home, _redis, nodes) = real().await?;
    let hold = held(&home).await?;
    let mut hurried = tonic::Request::new(year(&[]));
    hurried.set_timeout(Duration::from_millis(300));
    let late = nodes[0].client.clone().get_sales_report(hurried).await;
    assert_eq!(late.expect_err("it is held").code(), Code::DeadlineExceeded);
    wait_for_statements(&home, 1).await?;
    hold.rollback().await?;
    let done = async || {
        nodes[0]
            .computed("reports.sales")
            .await
            .is_ok_and(|n| n == 1)
    };
    wait_until("the report", SOON, done).await?;
    for (node, from) in nodes.iter().zip(["l1", "l2"]) {
        let kept = async || node.count(year(&[])).await.is_ok_and(|told| told.1 == from);
        wait_until("the report where it belongs", SOON, kept).await?;
    }
    assert_eq!(of_both(&nodes, "reports.sales").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn long_computations_starve_neither_polls_nor_each_other() -> Result<()> {
    let (home, _redis, nodes) = real().await?;
    let nodes = Arc::new(nodes);
    let hold = held(&home).await?;
    let mut callers = JoinSet::new();
    // More than are computed at once.
    for month in 1..=6 {
        let nodes = nodes.clone();
        callers.spawn(async move {
            let (first, last) = (format!("2026-{month:02}-01"), format!("2026-{month:02}-28"));
            nodes[0].sales(sales(&first, &last, &[]), &[]).await
        });
    }
    wait_for_statements(&home, 4).await?;
    // The rounds go on: all of what is proven is younger than when the statements were waiting.
    let rounds = async || {
        let (_, metrics) = nodes[0].replica.admin("/metrics").await?;
        let name = "larder_rounds_total{source=\"reports\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        anyhow::Ok(line.context("rounds are counted")?.parse::<u64>()?)
    };
    let before = rounds().await?;
    let more = async || rounds().await.is_ok_and(|rounds| rounds >= before + 5);
    wait_until("five rounds", SOON, more).await?;
    assert_eq!(nodes[0].replica.admin("/ready").await?.0, 200);
    assert_eq!(waiting(&home)?, 4, "others wait for their turn");
    hold.rollback().await?;
    while let Some(answer) = callers.join_next().await {
        answer??;
    }
    assert_eq!(nodes[0].computed("reports.sales").await?, 6);
    Ok(())
}
