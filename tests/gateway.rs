//! HTTP in front of the suite as it is shipped, on one Redis and one PostgreSQL.

use anyhow::{Context as _, Result};
use larder::remote::hub::Hub;
use larder_gateway::backends::{Addresses, Backends};
use larder_gateway::{Gateway, Parts};
use larder_runtime::server::Limits;
use larder_testkit::http::{Answer, ask};
use larder_testkit::process::Signal;
use larder_testkit::{postgres, redis, wait_until};
use larder_tests::scene::SOON;
use larder_tests::{Kind, Setup, Suite, hook};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const SECRET: &str = "a secret of some length";
const TEA: &str = r#"{"id":"tea","title":"Tea","category":"drinks","price_cents":350}"#;

async fn stock(server: SocketAddr, headers: &[(&str, &str)]) -> Result<i64> {
    let read = ask(server, "GET", "/v1/products/tea", headers, "").await?;
    anyhow::ensure!(read.status == 200, "{}", read.body);
    field(&read, "stock")
}

fn field(answer: &Answer, name: &str) -> Result<i64> {
    let (_, rest) = answer
        .body
        .split_once(&format!("\"{name}\":"))
        .context("no field")?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit());
    Ok(rest[..end.unwrap_or(rest.len())].parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_speaks_json_and_reads_its_writes() -> Result<()> {
    let (redis, database) = (redis::start()?, postgres::fresh_database()?);
    let setup = Setup::new(LARDER).remote(redis.url());
    let setup = setup
        .database(database.url())
        .args(["--hook-secret", SECRET]);
    let suite = setup.start().await?;
    let http = suite.http();
    let made = ask(http, "POST", "/v1/products", &[], TEA).await?;
    assert_eq!(made.status, 201, "{}", made.body);
    for round in 1..=20 {
        for _ in 0..2 {
            ask(http, "GET", "/v1/products/tea", &[], "").await?;
        }
        let change = format!(r#"{{"stock":{round}}}"#);
        let changed = ask(http, "PATCH", "/v1/products/tea", &[], &change).await?;
        let token = [("larder-token", changed.header("larder-token"))];
        for _ in 0..2 {
            assert_eq!(stock(http, &token).await?, round);
        }
    }
    for path in ["/v1/profiles", "/v1/products/tea/comments", "/openapi.json"] {
        let answer = ask(http, "GET", path, &[], "").await?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    let (_, metrics) = larder_tests::metrics::get(suite.http_admin(), "/metrics").await?;
    assert!(
        metrics.contains("http_route=\"/v1/products/{id}\""),
        "{metrics}"
    );
    Ok(())
}

/// Two processes of one replica each on the same servers, and a gateway in front of both.
struct Pair {
    suites: Vec<Suite>,
    http: SocketAddr,
    gateway: tokio::task::JoinHandle<()>,
    _redis: redis::Redis,
    _database: postgres::Database,
}

impl Pair {
    async fn start() -> Result<Self> {
        let (redis, database) = (redis::start()?, postgres::fresh_database()?);
        let mut suites = Vec::new();
        for _ in 0..2 {
            let setup = Setup::new(LARDER).replicas(1).remote(redis.url());
            suites.push(setup.database(database.url()).launch()?);
        }
        for suite in &suites {
            suite.ready().await?;
        }
        let urls = |kind, admin: bool| {
            let replicas = suites.iter().map(|suite| suite.replica(kind, 1));
            let urls: Vec<_> = replicas
                .map(|replica| {
                    format!(
                        "http://{}",
                        if admin { replica.admin } else { replica.grpc }
                    )
                })
                .collect();
            urls.join(",")
        };
        let nobody = || "http://127.0.0.1:1".to_owned();
        let backends = Backends::new(&Addresses {
            profiles: urls(Kind::Profiles, false),
            profiles_admin: urls(Kind::Profiles, true),
            products: urls(Kind::Products, false),
            products_admin: urls(Kind::Products, true),
            comments: urls(Kind::Comments, false),
            comments_admin: urls(Kind::Comments, true),
            reports: nobody(),
            reports_admin: nobody(),
        })?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (http, admin) = (TcpListener::bind(any).await?, TcpListener::bind(any).await?);
        let address = http.local_addr()?;
        let parts = Parts {
            backends,
            remote: Hub::new(),
            hook_secret: None,
            limits: Limits::default(),
            rates: None,
            pages: Default::default(),
            tls: None,
            access: larder_gateway::access(&Default::default(), None)?,
        };
        let gateway = tokio::spawn(Gateway::on(http, admin, parts).serve(std::future::pending()));
        Ok(Self {
            suites,
            http: address,
            gateway,
            _redis: redis,
            _database: database,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_costs_no_read_and_no_write_is_made_twice() -> Result<()> {
    const READERS: usize = 8;
    let pair = Pair::start().await?;
    let http = pair.http;
    let made = ask(http, "POST", "/v1/products", &[], TEA).await?;
    assert_eq!(made.status, 201, "{}", made.body);
    let token = made.header("larder-token").to_owned();
    stock(http, &[("larder-token", &token)]).await?;

    let over = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (over, reads) = (over.clone(), reads.clone());
        readers.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let read = ask(http, "GET", "/v1/products/tea", &[], "").await?;
                anyhow::ensure!(read.status == 200, "{} {}", read.status, read.body);
                reads.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let writer = {
        let over = over.clone();
        tokio::spawn(async move {
            let (mut acknowledged, mut unknown, mut number) = (0, 0, 0);
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let change = format!(r#"{{"stock":{number}}}"#);
                let changed = ask(http, "PATCH", "/v1/products/tea", &[], &change).await?;
                match changed.status {
                    200 => acknowledged += 1,
                    _ => unknown += 1,
                }
            }
            anyhow::Ok((acknowledged, unknown))
        })
    };
    let after = async |more: u64| {
        let until = reads.load(Ordering::Relaxed) + more;
        wait_until("reads", SOON, async || {
            reads.load(Ordering::Relaxed) >= until
        })
        .await
    };
    after(200).await?;
    pair.suites[1].process().signal(Signal::KILL)?;
    after(400).await?;
    over.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    let (acknowledged, unknown): (i64, i64) = writer.await??;
    assert!(acknowledged > 0);
    // Each write that was made added one to the version: the acknowledged ones did, and each of
    // the others did once or not at all.
    let strong = [("larder-freshness", "strong")];
    let read = ask(http, "GET", "/v1/products/tea", &strong, "").await?;
    let written = field(&read, "version")? - 1;
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&written),
        "{written} writes, {acknowledged} acknowledged and {unknown} unknown"
    );
    pair.gateway.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_drops_a_copy_in_every_process() -> Result<()> {
    let suite = Setup::new(LARDER)
        .args(["--hook-secret", SECRET])
        .start()
        .await?;
    let http = suite.http();
    let made = ask(http, "POST", "/v1/products", &[], TEA).await?;
    assert_eq!(made.status, 201, "{}", made.body);
    // Until both replicas answer from memory.
    let source = async || {
        let read = ask(http, "GET", "/v1/products/tea", &[], "").await?;
        anyhow::Ok(read.header("larder-source").to_owned())
    };
    wait_until("answers from memory", SOON, async || {
        let both = (source().await, source().await);
        matches!(both, (Ok(one), Ok(other)) if one == "l1" && other == "l1")
    })
    .await?;
    let lines = async || {
        let mut lines = 0;
        for replica in 1..=2 {
            let replica = suite.replica(Kind::Products, replica);
            lines += replica
                .count("larder_round_lines_sum", &["source=\"products\""])
                .await?;
        }
        anyhow::Ok(lines)
    };
    let before = lines().await?;
    let body = r#"{"keyspace":"products","key":"tea"}"#;
    let taken = hook(http, SECRET, body).await?;
    assert_eq!(taken.status, 200, "{}", taken.body);
    // It went through the journal: both heard of it.
    wait_until("the round", SOON, async || {
        lines().await.is_ok_and(|lines| lines >= before + 2)
    })
    .await?;
    assert_eq!(hook(http, SECRET, body).await?.status, 409);
    Ok(())
}
