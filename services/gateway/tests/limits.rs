//! Limits as those meet them who ask too often: over real connections, whatever they ask for.

use crate::support;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use larder::remote::{Remote, open};
use larder_gateway::Parts;
use larder_gateway::settings::rates;
use larder_runtime::config::{Away, Limiting};
use larder_testkit::http::raw;
use larder_testkit::{redis, wait_until};
use std::net::SocketAddr;
use std::sync::Arc;
use support::{Gate, Json as _, SOON, nowhere};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Nothing is at this path, so that no service is needed to say so.
const PATH: &str = "/v1/nothing";

fn limited(remote: Arc<dyn Remote>, limiting: &Limiting) -> Result<Parts> {
    Ok(Parts {
        rates: rates(limiting, &remote)?,
        remote,
        ..nowhere()
    })
}

/// A day brings none back in the moments that a test takes.
fn per_day(quota: &str) -> Limiting {
    Limiting {
        rate_limit_ip: format!("{quota}/d").parse().ok(),
        ..Limiting::default()
    }
}

async fn status(gate: &Gate, headers: &[(&str, &str)]) -> Result<u16> {
    Ok(gate.get(PATH, headers).await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_too_many_is_told_so_whatever_it_asks_for() -> Result<()> {
    let gate = Gate::start(limited(open("hub:")?, &per_day("3"))?).await?;
    for left in [2, 1, 0] {
        let answer = gate.get(PATH, &[]).await?;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.header("ratelimit-policy"), "\"ip\";q=3;w=86400");
        let limit = answer.header("ratelimit");
        ensure!(limit.starts_with(&format!("\"ip\";r={left};t=")), "{limit}");
    }
    for (method, path) in [
        ("GET", PATH),
        ("GET", "/"),
        ("GET", "/v1/products/kettle"),
        ("GET", "/products/kettle"),
        ("POST", "/hooks/invalidate"),
        ("DELETE", "/sitemap.xml"),
    ] {
        let answer = gate.send(method, path, &[], "").await?;
        assert_eq!(answer.status, 429, "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("cache-control"), "no-store");
        let wait: u64 = answer.header("retry-after").parse()?;
        ensure!((28_000..=28_800).contains(&wait), "{wait}");
        ensure!(answer.header("ratelimit").starts_with("\"ip\";r=0;t="));
        let problem = answer.json()?;
        assert_eq!(problem["status"], 429);
        assert_eq!(problem["reason"], "RATE_LIMITED");
        assert_eq!(problem["metadata"]["limits"], "ip");
    }
    let head = gate.send("HEAD", "/", &[], "").await?;
    assert_eq!((head.status, head.body.as_str()), (429, ""));
    // The admin port is nobody's who is counted.
    for _ in 0..10 {
        let metrics = gate.metrics().await?;
        let line = "larder_rate_limit_decisions_total{scope=\"ip\",outcome=\"refused_here\"} 6\n";
        ensure!(metrics.contains(line), "{metrics}");
        // The refusals that still held cost none.
        let calls = "larder_remote_calls_total{call=\"limit\"} 4\n";
        ensure!(metrics.contains(calls), "{metrics}");
    }
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_writes_into_a_forwarding_header_changes_nothing() -> Result<()> {
    let gate = Gate::start(limited(open("hub:")?, &per_day("4"))?).await?;
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "rubbish"),
        ("forwarded", "for=192.0.2.2"),
        ("x-real-ip", "192.0.2.3"),
    ] {
        assert_eq!(status(&gate, &[(name, value)]).await?, 404);
    }
    assert_eq!(
        status(&gate, &[("x-forwarded-for", "192.0.2.9")]).await?,
        429
    );
    gate.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_behind_a_trusted_proxy_are_counted_apart_and_rubbish_is_refused() -> Result<()> {
    let limiting = Limiting {
        trusted_proxies: vec!["127.0.0.0/8".parse()?],
        ..per_day("2")
    };
    let gate = Gate::start(limited(open("hub:")?, &limiting)?).await?;
    let from = async |chain: &str| status(&gate, &[("x-forwarded-for", chain)]).await;
    assert_eq!(from("192.0.2.1").await?, 404);
    assert_eq!(from("198.51.100.9, 192.0.2.1").await?, 404);
    assert_eq!(from("203.0.113.5, 192.0.2.1:4711").await?, 429);
    assert_eq!(from("2001:db8:1:2::1").await?, 404);
    assert_eq!(from("[2001:db8:1:2::2]:443").await?, 404);
    assert_eq!(from("2001:db8:1:2:ffff::3").await?, 429);
    assert_eq!(from("2001:db8:1:3::1").await?, 404);
    // Two headers are one list, and the last line was written last.
    let two = format!(
        "GET {PATH} HTTP/1.1\r\nhost: larder\r\nconnection: close\r\n\
         x-forwarded-for: 203.0.113.6\r\nx-forwarded-for: 192.0.2.1\r\n\r\n"
    );
    assert_eq!(raw(gate.http, &two).await?.status, 429);
    for rubbish in [
        "rubbish",
        "192.0.2.1 192.0.2.2",
        "192.0.2.",
        "\"192.0.2.1\"",
    ] {
        let answer = gate.get(PATH, &[("x-forwarded-for", rubbish)]).await?;
        assert_eq!(answer.status, 400, "{rubbish}");
        assert_eq!(answer.json()?["errors"][0]["field"], "X-Forwarded-For");
    }
    gate.stop().await
}

/// Asks so often on one connection, and says how often it was not refused.
async fn passing(server: SocketAddr, times: usize) -> Result<usize> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    let mut passed = 0;
    for _ in 0..times {
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: larder\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line).await?;
        passed += usize::from(!line.contains(" 429 "));
        while line != "\r\n" {
            line.clear();
            ensure!(
                stream.read_line(&mut line).await? > 0,
                "the connection ended"
            );
            if let Some(told) = line.strip_prefix("content-length: ") {
                length = told.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
    }
    Ok(passed)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_requests_to_two_gateways_a_thousand_pass() -> Result<()> {
    let server = redis::start()?;
    let limiting = Limiting {
        rate_burst_ip: 1000.try_into().ok(),
        ..per_day("100")
    };
    let one = || limited(open(&server.url())?, &limiting);
    let gates = [Gate::start(one()?).await?, Gate::start(one()?).await?];
    let visitors = (0..20).map(|n| passing(gates[n % 2].http, 500));
    let passed: usize = try_join_all(visitors).await?.into_iter().sum();
    ensure!((1000..=1010).contains(&passed), "{passed} passed");
    for gate in gates {
        let metrics = gate.metrics().await?;
        ensure!(
            metrics.contains("outcome=\"passed_alone\"} 0\n"),
            "{metrics}"
        );
        gate.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_each_gateway_limits_by_itself_or_refuses_as_it_was_told() -> Result<()>
{
    let server = redis::start()?;
    let refusing = Limiting {
        rate_limit_away: Away::Refuse,
        ..per_day("30")
    };
    let alone = Gate::start(limited(open(&server.url())?, &per_day("30"))?).await?;
    let refusing = Gate::start(limited(open(&server.url())?, &refusing)?).await?;
    assert_eq!(status(&alone, &[]).await?, 404);
    assert_eq!(status(&refusing, &[]).await?, 404);
    server.stop()?;
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..60 {
        match status(&alone, &[]).await? {
            404 => passed += 1,
            429 => refused += 1,
            other => anyhow::bail!("{other}"),
        }
        let answer = refusing.get(PATH, &[]).await?;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.json()?["reason"], "RATE_LIMITS_AWAY");
    }
    assert_eq!((passed, refused), (30, 30), "a burst of its own");
    let metrics = alone.metrics().await?;
    ensure!(
        metrics.contains("larder_rate_limit_away{scope=\"ip\"} 1\n"),
        "{metrics}"
    );
    server.restart()?;
    for gate in [&alone, &refusing] {
        wait_until("the shared limit", SOON, async || {
            let _ = status(gate, &[]).await;
            let away = gate.metrics().await.context("metrics");
            away.is_ok_and(|text| text.contains("larder_rate_limit_away{scope=\"ip\"} 0\n"))
        })
        .await?;
    }
    alone.stop().await?;
    refusing.stop().await
}
