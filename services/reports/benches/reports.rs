//! Reports over a table of orders, computed and from the cache, and a thousand callers of one that
//! nobody has yet; on both engines, over gRPC, by two replicas in this process.
//!
//! `cargo bench -p larder-reports --bench reports -- 2000000`

use anyhow::{Context as _, Result, ensure};
use larder::remote::hub::Hub;
use larder_host::Opening;
use larder_host::trial::{Home, Replica, asking, said};
use larder_products::Products;
use larder_proto::reports::v1::report_service_client::ReportServiceClient;
use larder_proto::reports::v1::*;
use larder_reports::warm::Schedule;
use larder_reports::{Reports, sample};
use larder_runtime::client::{Client, Limits};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::Response;

/// Orders, unless something else is said.
const ORDERS: u64 = 200_000;
/// Products and customers.
const SPREAD: (u64, u64) = (2_000, 50_000);
const COMPUTED: usize = 3;
const CACHED: usize = 1_000;
const CALLERS: usize = 1_000;

type Reader = ReportServiceClient<Client>;

fn main() -> Result<()> {
    let orders = std::env::args().find_map(|word| word.parse().ok());
    let orders = orders.unwrap_or(ORDERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for (engine, home) in [
        ("SQLite", Home::sqlite()?),
        ("PostgreSQL", Home::postgres()?),
    ] {
        println!("{engine}, {orders} orders");
        runtime.block_on(measure(&home, orders))?;
    }
    Ok(())
}

/// Waits for whatever is computed.
fn patient() -> Limits {
    Limits {
        call: Duration::from_secs(300),
        ..Limits::default()
    }
}

/// A replica that asks these products.
async fn replica(home: &Home, hub: &Arc<Hub>, shop: &Replica) -> Result<(Replica, Reader)> {
    let mut parts = home.parts(hub);
    parts.limits.call = patient().call;
    let reports = Reports::new(shop.client(), Schedule::default());
    let replica = Replica::ready(reports, parts).await?;
    let url = format!("http://{}", replica.grpc);
    let client = Client::new("reports", &url, patient())?;
    Ok((replica, ReportServiceClient::new(client)))
}

async fn measure(home: &Home, orders: u64) -> Result<()> {
    let hub = Hub::new();
    let opening = Opening::of(&home.parts(&hub));
    let products = opening.journal(&Products).await?;
    larder_products::sample::load(&products, SPREAD.0, 1, |_| {}).await?;
    let journal = opening.journal(&Reports::detached()).await?;
    let began = Instant::now();
    sample::load(&journal, orders, SPREAD, 1, |_| {}).await?;
    let lines = "SELECT count(*) FROM journal";
    let lines: i64 = journal
        .database()
        .fetch_one(lines, larder_db::args![])
        .await?
        .get(0)?;
    println!(
        "  loaded in {:.1?}, {lines} lines in the journal",
        began.elapsed()
    );
    let shop = Replica::ready(Products, home.parts(&hub)).await?;
    let (here, one) = replica(home, &hub, &shop).await?;
    let (there, two) = replica(home, &hub, &shop).await?;

    crowd([&one, &two]).await?;
    let mut computed = 0;
    for replica in [&here, &there] {
        let (_, metrics) = replica.admin("/metrics").await?;
        let name = "larder_load_seconds_count{keyspace=\"reports.sales\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        computed += line.context("loads are counted")?.parse::<u64>()?;
    }
    println!("  {CALLERS} callers of a cold report, over two replicas: {computed} computed");

    let sales = GetSalesReportRequest {
        first_day: "2025-01-01".to_owned(),
        last_day: "2026-12-31".to_owned(),
        ..GetSalesReportRequest::default()
    };
    let top = GetTopProductsRequest {
        first_day: sales.first_day.clone(),
        last_day: sales.last_day.clone(),
        ..GetTopProductsRequest::default()
    };
    let value = GetCustomerValueRequest {
        first_day: sales.first_day.clone(),
        last_day: sales.last_day.clone(),
        ..GetCustomerValueRequest::default()
    };
    report("GetSalesReport", async |how: &'static str| {
        let request = asking(sales.clone(), &[("larder-freshness", how)]);
        from(&one.clone().get_sales_report(request).await?)
    })
    .await?;
    report("GetTopProducts", async |how: &'static str| {
        let request = asking(top.clone(), &[("larder-freshness", how)]);
        from(&one.clone().get_top_products(request).await?)
    })
    .await?;
    report("GetCustomerValue", async |how: &'static str| {
        let request = asking(value.clone(), &[("larder-freshness", how)]);
        from(&one.clone().get_customer_value(request).await?)
    })
    .await?;
    here.stop().await?;
    there.stop().await?;
    shop.stop().await
}

/// All of them at once, half of them at each replica.
async fn crowd(readers: [&Reader; 2]) -> Result<()> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let mut client = readers[caller % 2].clone();
        let request = GetSalesReportRequest {
            first_day: "2025-01-01".to_owned(),
            last_day: "2026-06-30".to_owned(),
            ..GetSalesReportRequest::default()
        };
        callers.spawn(async move { client.get_sales_report(request).await });
    }
    while let Some(answer) = callers.join_next().await {
        answer??;
    }
    println!(
        "  all {CALLERS} callers answered in {:.2?}",
        began.elapsed()
    );
    Ok(())
}

fn from<T>(answer: &Response<T>) -> Result<String> {
    Ok(said(answer.metadata(), "larder-source").to_owned())
}

/// Medians of what it takes to compute a report, and to have it from memory.
async fn report(name: &str, ask: impl AsyncFn(&'static str) -> Result<String>) -> Result<()> {
    let median = async |how: &'static str, times: usize, source: &str| {
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            let began = Instant::now();
            let from = ask(how).await?;
            took.push(began.elapsed());
            ensure!(from == source, "{name} came from {from}");
        }
        took.sort_unstable();
        Ok(took[times / 2])
    };
    let computed: Duration = median("strong", COMPUTED, "db").await?;
    let cached: Duration = median("bounded", CACHED, "l1").await?;
    let ratio = computed.as_secs_f64() / cached.as_secs_f64();
    println!("  {name:<17} computed {computed:>8.2?}, cached {cached:>8.1?}: {ratio:.0} times");
    Ok(())
}
