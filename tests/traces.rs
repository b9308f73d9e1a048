//! What a suite sends to a collector, and what it costs where there is none that listens.

use anyhow::{Context as _, Result, ensure};
use larder_testkit::http::{Answer, ask};
use larder_testkit::{postgres, redis, wait_until};
use larder_tests::collector::{Collector, Span, SpanKind};
use larder_tests::scene::{SOON, create_product, price};
use larder_tests::{Kind, Setup, Suite, metrics};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
/// A trace that somebody outside has begun, and whether it is recorded.
const OUTSIDE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A suite that sends what it records to this collector, at once.
fn watched(endpoint: &str) -> Setup {
    let setup = Setup::new(LARDER).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    let setup = setup.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    setup.env("OTEL_METRIC_EXPORT_INTERVAL", "100")
}

/// Asks the gateway, in a trace that is recorded or not.
async fn within(suite: &Suite, flags: &str, what: (&str, &str), body: &str) -> Result<Answer> {
    let parent = format!("00-{OUTSIDE}-b7ad6b7169203331-{flags}");
    let headers = [("traceparent", parent.as_str())];
    ask(suite.http(), what.0, what.1, &headers, body).await
}

/// Waits for a span of the trace that is like this.
async fn find(collector: &Collector, what: &str, like: impl Fn(&Span) -> bool) -> Result<Span> {
    let found = || {
        let spans = collector.spans();
        spans.into_iter().find(|span| like(span))
    };
    let waited = wait_until(what, SOON, async || found().is_some()).await;
    waited.with_context(|| format!("{:#?}", collector.spans()))?;
    found().context("it was there")
}

/// The span's parent, which must be there.
async fn parent(collector: &Collector, span: &Span) -> Result<Span> {
    let (trace, id) = (span.trace.clone(), span.parent.clone());
    let what = format!("the parent of {}", span.name);
    find(collector, &what, |one| one.trace == trace && one.id == id).await
}

async fn read_leaves_a_chain(
    suite: &Suite,
    collector: &Collector,
    seams: (&str, &str),
) -> Result<()> {
    // Nobody has it in memory or in Redis: that there is none is known from the database.
    let answer = ask(suite.http(), "GET", "/v1/products/none", &[], "").await?;
    assert_eq!(answer.status, 404, "{answer:?}");
    // The trace of a read begins at the gateway.
    let http = find(collector, "the request", |span| {
        span.name == "GET /v1/products/{id}"
    })
    .await?;
    assert_eq!((http.kind, http.parent.as_str()), (SpanKind::Server, ""));
    assert_eq!(http.said("http.response.status_code"), "404");
    let of_it = |span: &Span| span.trace == http.trace;
    let load = find(collector, "the statement", |span| {
        of_it(span) && span.said("db.system.name") == seams.1
    })
    .await?;
    assert_eq!(load.said("db.operation.name"), "SELECT");
    let asked = find(collector, "the remote tier", |span| {
        of_it(span) && span.said("db.operation.name") == "GET"
    })
    .await?;
    assert_eq!(asked.said("db.system.name"), seams.0);
    let loaded = parent(collector, &load).await?;
    let read = parent(collector, &loaded).await?;
    assert_eq!(asked.parent, read.id);
    assert_eq!(read.name, "cache read");
    assert_eq!(read.said("cache.tier"), "db");
    assert_eq!(read.said("cache.outcome"), "load");
    let served = parent(collector, &read).await?;
    let method = "larder.products.v1.ProductService/GetProduct";
    assert_eq!(
        (served.name.as_str(), served.kind),
        (method, SpanKind::Server)
    );
    assert_eq!(served.said("rpc.response.status_code"), "NOT_FOUND");
    let called = parent(collector, &served).await?;
    assert_eq!(
        (called.name.as_str(), called.kind),
        (method, SpanKind::Client)
    );
    assert_eq!(called.parent, http.id);
    // From memory, it ends with the cache.
    create_product(&suite.products(1), "tea", 350).await?;
    wait_until("an answer from memory", SOON, async || {
        let answer = ask(suite.http(), "GET", "/v1/products/tea", &[], "").await;
        answer.is_ok_and(|answer| answer.header("larder-source") == "l1")
    })
    .await?;
    let hit = find(collector, "a hit", |span| span.said("cache.tier") == "l1").await?;
    let served = parent(collector, &hit).await?;
    assert_eq!(served.said("rpc.system.name"), "grpc");
    assert_eq!(hit.said("cache.outcome"), "hit");
    // And who looks at how long loads and calls take finds some by their traces.
    let open = [("accept", "application/openmetrics-text; version=1.0.0")];
    let mut told = BTreeSet::new();
    for replica in 1..=2 {
        let admin = suite.replica(Kind::Products, replica).admin;
        let page = ask(admin, "GET", "/metrics", &open, "").await?.body;
        ensure!(page.ends_with("# EOF\n"), "{page}");
        told.extend(page.lines().filter_map(|line| {
            let (series, id) = line.split_once(" # {trace_id=\"")?;
            Some((
                series.split('{').next()?.to_owned(),
                id.split('"').next()?.to_owned(),
            ))
        }));
    }
    for name in [
        "larder_load_seconds_bucket",
        "rpc_server_call_duration_seconds_bucket",
    ] {
        let known = told
            .iter()
            .any(|(series, id)| series == name && *id == http.trace);
        ensure!(known, "{name} does not name {}: {told:#?}", http.trace);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_leaves_a_trace_from_the_gateway_to_the_database() -> Result<()> {
    let collector = Collector::start().await?;
    let suite = watched(&collector.endpoint()).start().await?;
    read_leaves_a_chain(&suite, &collector, ("hub", "sqlite")).await?;
    let span = collector.spans().pop().context("a span")?;
    assert_eq!(span.resource["service.name"], "larder");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_leaves_the_same_trace_on_real_servers() -> Result<()> {
    let (redis, database) = (redis::start()?, postgres::fresh_database()?);
    let collector = Collector::start().await?;
    let suite = watched(&collector.endpoint()).remote(redis.url());
    let suite = suite.database(database.url()).start().await?;
    read_leaves_a_chain(&suite, &collector, ("redis", "postgresql")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_write_evicts_elsewhere_follows_from_the_write() -> Result<()> {
    let collector = Collector::start().await?;
    let suite = watched(&collector.endpoint()).start().await?;
    create_product(&suite.products(1), "tea", 350).await?;
    let change = ("PATCH", "/v1/products/tea");
    let answer = within(&suite, "01", change, "{\"stock\":7}").await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let sent = find(&collector, "the hint", |span| {
        span.trace == OUTSIDE && span.name == "send hint"
    })
    .await?;
    assert_eq!(sent.said("cache.source"), "products");
    let evicted = find(&collector, "the eviction", |span| {
        span.links.contains(&(OUTSIDE.to_owned(), sent.id.clone()))
    })
    .await?;
    assert_eq!(
        (evicted.name.as_str(), evicted.parent.as_str()),
        ("evict", "")
    );
    assert_ne!(evicted.trace, OUTSIDE, "it is a trace of its own");
    assert_eq!(evicted.said("cache.outcome"), "applied");
    let written = find(&collector, "the commit", |span| {
        span.trace == OUTSIDE && span.said("db.operation.name") == "COMMIT"
    })
    .await?;
    assert_eq!(written.said("db.system.name"), "sqlite");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_what_the_sampler_says() -> Result<()> {
    // The variable, and which of three requests leave a trace: one whose caller records, one whose
    // caller does not, and one that begins here.
    for (sampler, ratio, expected) in [
        ("always_off", "", [false, false, false]),
        ("always_on", "", [true, true, true]),
        ("parentbased_always_off", "", [true, false, false]),
        ("parentbased_traceidratio", "1", [true, false, true]),
        ("traceidratio", "0", [false, false, false]),
    ] {
        let collector = Collector::start().await?;
        let setup = watched(&collector.endpoint()).replicas(1);
        let setup = setup.env("OTEL_TRACES_SAMPLER", sampler);
        let setup = match ratio {
            "" => setup,
            ratio => setup.env("OTEL_TRACES_SAMPLER_ARG", ratio),
        };
        let suite = setup.start().await?;
        within(&suite, "01", ("GET", "/v1/products/recorded"), "").await?;
        within(&suite, "00", ("GET", "/v1/products/unrecorded"), "").await?;
        ask(suite.http(), "GET", "/v1/products/own", &[], "").await?;
        // What is recorded last is sent at the end.
        assert!(
            suite.process().end()?.success(),
            "{}",
            suite.process().log()
        );
        let spans = collector.spans();
        let left = ["recorded", "unrecorded", "own"].map(|id| {
            let path = format!("/v1/products/{id}");
            spans.iter().any(|span| span.said("url.path") == path)
        });
        assert_eq!(left, expected, "{sampler}: {spans:#?}");
        // No part of a trace is without the rest of it.
        for span in spans.iter().filter(|_| sampler.starts_with("parent")) {
            let known = |one: &Span| one.trace == span.trace && one.id == span.parent;
            let first = span.parent.is_empty() || !span.said("url.path").is_empty();
            ensure!(first || spans.iter().any(known), "{sampler}: {span:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_silent_or_away_costs_no_request_anything() -> Result<()> {
    // Takes connections, and never says a word.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = silent.local_addr()?;
    let swallow = tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            tokio::spawn(
                async move { while stream.read(&mut [0; 4096]).await.is_ok_and(|n| n > 0) {} },
            );
        }
    });
    let nobody = larder_testkit::port::Port::reserve()?;
    for address in [address, nobody.address()] {
        let setup = watched(&format!("http://{address}")).replicas(1);
        let setup = setup.env("OTEL_BSP_MAX_QUEUE_SIZE", "64");
        let suite = setup
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
            .start()
            .await?;
        create_product(&suite.products(1), "tea", 350).await?;
        let began = Instant::now();
        for _ in 0..300 {
            let answer = ask(suite.http(), "GET", "/v1/products/tea", &[], "").await?;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(15), "300 requests took {took:?}");
        let began = Instant::now();
        assert!(
            suite.process().end()?.success(),
            "{}",
            suite.process().log()
        );
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "the end took {took:?}");
        let log = suite.process().log();
        let said = log.matches("the collector takes no traces").count();
        assert!((1..=4).contains(&said), "it is said {said} times: {log}");
    }
    swallow.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_nothing_is_sent_and_nothing_is_said() -> Result<()> {
    let collector = Collector::start().await?;
    for setup in [
        Setup::new(LARDER),
        watched(&collector.endpoint()).env("OTEL_SDK_DISABLED", "true"),
    ] {
        let suite = setup.replicas(1).start().await?;
        let answer = within(&suite, "01", ("GET", "/v1/products/none"), "").await?;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(suite.process().end()?.success());
        let log = suite.process().log();
        ensure!(
            !log.contains("collector") && !log.contains("trace_id"),
            "{log}"
        );
    }
    assert_eq!(collector.spans(), []);
    assert_eq!(collector.samples(), []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_go_to_the_collector_under_the_names_and_values_of_the_admin_port() -> Result<()> {
    let collector = Collector::start().await?;
    let setup = watched(&collector.endpoint()).replicas(1);
    let setup = setup.env("OTEL_SERVICE_NAME", "shop");
    let setup = setup.env(
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=a%20test",
    );
    let suite = setup
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
        .start()
        .await?;
    create_product(&suite.products(1), "tea", 350).await?;
    for _ in 0..5 {
        price(&suite.products(1), "tea", &[]).await?;
    }
    let admin = suite.replica(Kind::Products, 1).admin;
    let same = async || -> Result<bool> {
        let (_, page) = metrics::get(admin, "/metrics").await?;
        let samples = collector.samples();
        let of_it = |sample: &&larder_tests::collector::Sample| {
            sample.resource["service.instance.id"] == admin.to_string()
        };
        let sent = |name: &str, label: Option<(&str, &str)>| {
            let named = samples.iter().filter(of_it).filter(|one| one.name == name);
            let labelled = named.filter(|one| {
                label.is_none_or(|(label, value)| {
                    one.attributes.get(label).is_some_and(|one| one == value)
                })
            });
            labelled.map(|one| one.value).sum::<f64>() as u64
        };
        let reads = metrics::sum(&page, "larder_reads_total", &["keyspace=\"products\""]);
        // All names are there.
        let named = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let all = named.filter_map(|line| line.split(' ').next());
        let known = |name: &&str| samples.iter().filter(of_it).any(|one| one.name == **name);
        let empty = ["larder_tls", "larder_rate_limit"];
        let missing = all.filter(|name| !known(name));
        let missing: Vec<_> = missing
            .filter(|name| !empty.iter().any(|family| name.starts_with(family)))
            .collect();
        let counted = sent("larder_reads_total", Some(("keyspace", "products")));
        Ok(reads > 0 && reads == counted && missing.is_empty())
    };
    wait_until("the same at both", SOON, async || {
        same().await.unwrap_or(false)
    })
    .await?;
    let sample = collector.samples().pop().context("a sample")?;
    assert_eq!(sample.resource["service.name"], "shop");
    assert_eq!(sample.resource["deployment.environment.name"], "a test");
    let headers = collector.headers();
    assert!(
        headers.iter().all(|shown| shown == "Bearer token"),
        "{headers:?}"
    );
    Ok(())
}
