//! What holds for every request, whatever services there are: here there are none.

use crate::support;

use anyhow::{Context as _, Result};
use larder_gateway::Gateway;
use larder_runtime::server::Limits;
use larder_testkit::http::raw;
use larder_testkit::wait_until;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Gate, Json as _, SOON, nowhere};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A service that takes connections and says nothing.
async fn silent() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_for_it_are_told_as_problems() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    for (method, path, status, reason) in [
        ("GET", "/nothing/here", 404, "NO_SUCH_PATH"),
        ("POST", "/v1/products/tea/", 404, "NO_SUCH_PATH"),
        ("PUT", "/v1/products/tea", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", "/openapi.json", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = gate.send(method, path, &[], "").await?;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()?["reason"], reason);
    }
    gate.stop().await
}

#[tokio::test]
async fn a_head_may_only_be_so_long() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    let long = "x".repeat(40 << 10);
    let answer = gate.get("/openapi.json", &[("x-long", &long)]).await?;
    assert_eq!(answer.status, 431);
    assert_eq!(answer.json()?["reason"], "HEAD_TOO_LARGE");
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let request =
        format!("GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{many}\r\n");
    assert_eq!(raw(gate.http, &request).await?.status, 431);
    gate.stop().await
}

#[tokio::test]
async fn a_service_that_says_nothing_is_waited_for_no_longer_than_the_request() -> Result<()> {
    let (_listener, url) = silent().await?;
    let mut parts = nowhere();
    parts.backends = support::backends(&url);
    parts.limits.call = Duration::from_millis(200);
    let gate = Gate::start(parts).await?;
    let answer = gate.get("/v1/products/tea", &[]).await?;
    assert_eq!(answer.status, 504, "{}", answer.body);
    assert_eq!(answer.json()?["reason"], "DEADLINE_EXCEEDED");
    gate.stop().await
}

/// A gRPC service that counts its calls and answers each with UNAVAILABLE.
async fn refusing() -> Result<(Arc<AtomicUsize>, String)> {
    let (listener, url) = silent().await?;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let answer = async move || {
        count.fetch_add(1, Ordering::Relaxed);
        [("content-type", "application/grpc"), ("grpc-status", "14")]
    };
    let routes = axum::Router::new().fallback(answer);
    tokio::spawn(async { axum::serve(listener, routes).await });
    Ok((calls, url))
}

#[tokio::test]
async fn a_read_that_fails_is_tried_once_more_and_a_write_never_is() -> Result<()> {
    let (calls, url) = refusing().await?;
    let mut parts = nowhere();
    parts.backends = support::backends(&url);
    let gate = Gate::start(parts).await?;
    for (method, path, expected) in [
        ("GET", "/v1/products/tea", 2),
        ("GET", "/v1/products", 2),
        ("GET", "/v1/products:batchGet?ids=tea", 2),
        ("POST", "/v1/products", 1),
        ("PATCH", "/v1/products/tea", 1),
        ("DELETE", "/v1/products/tea", 1),
        ("POST", "/v1/orders", 1),
        ("POST", "/v1/reports:refresh", 1),
    ] {
        let answer = gate.send(method, path, &[], "{}").await?;
        assert_eq!(answer.status, 503, "{method} {path}: {}", answer.body);
        assert_eq!(
            calls.swap(0, Ordering::Relaxed),
            expected,
            "{method} {path}"
        );
    }
    gate.stop().await
}

#[tokio::test]
async fn a_request_too_many_is_told_to_come_back() -> Result<()> {
    let (listener, url) = silent().await?;
    let mut parts = nowhere();
    parts.backends = support::backends(&url);
    parts.limits.calls = 1;
    let gate = Gate::start(parts).await?;
    let mut first = TcpStream::connect(gate.http).await?;
    first
        .write_all(b"GET /v1/products/tea HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    // Once the service is called, the first one has the place.
    let _called = tokio::time::timeout(SOON, listener.accept()).await??;
    let answer = gate.get("/openapi.json", &[]).await?;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(answer.json()?["reason"], "TOO_MANY_REQUESTS");
    drop(first);
    gate.stop().await
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_id() -> Result<()> {
    let gate = Gate::start(nowhere()).await?;
    gate.get("/v1/products/hush-hush", &[]).await?;
    gate.send("BREW", "/hush-hush", &[], "").await?;
    let metrics = gate.metrics().await?;
    for line in [
        "http_server_request_duration_seconds_count{http_route=\"/v1/products/{id}\",\
         http_request_method=\"GET\",http_response_status_code=\"503\"} 1",
        "http_server_request_duration_seconds_count{http_route=\"_OTHER\",\
         http_request_method=\"_OTHER\",http_response_status_code=\"404\"} 1",
        "http_server_active_requests 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("hush"), "{metrics}");
    gate.stop().await
}

/// A gateway before nobody, and what ends it.
async fn ending(limits: Limits) -> Result<(SocketAddr, oneshot::Sender<()>, JoinHandle<()>)> {
    let mut parts = nowhere();
    parts.limits = limits;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (http, admin) = (TcpListener::bind(any).await?, TcpListener::bind(any).await?);
    let address = http.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let gateway = Gateway::on(http, admin, parts);
    let serving = tokio::spawn(gateway.serve(async { drop(stopped.await) }));
    Ok((address, stop, serving))
}

const ROBOTS: &[u8] = b"GET /robots.txt HTTP/1.1\r\nhost: x\r\n\r\n";

/// The head of an answer to `ROBOTS`, in small letters.
async fn robots(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(ROBOTS).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tokio::time::timeout(SOON, stream.read_u8()).await??);
    }
    let head = String::from_utf8(answer)?.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.context("a length")?.parse()?];
    stream.read_exact(&mut body).await?;
    Ok(head)
}

#[tokio::test]
async fn while_a_gateway_settles_each_answer_says_that_its_connection_ends() -> Result<()> {
    let limits = Limits {
        settle: SOON,
        drain: SOON * 2,
        ..Limits::default()
    };
    let (address, stop, serving) = ending(limits).await?;
    let (mut one, mut other) = (
        TcpStream::connect(address).await?,
        TcpStream::connect(address).await?,
    );
    for _ in 0..2 {
        assert!(!robots(&mut one).await?.contains("connection: close"));
        robots(&mut other).await?;
    }
    drop(stop);
    // From the moment on at which it has heard of it.
    wait_until("an answer that says so", SOON, async || {
        let asked = async { robots(&mut TcpStream::connect(address).await?).await };
        asked
            .await
            .is_ok_and(|head| head.contains("connection: close"))
    })
    .await?;
    for stream in [&mut one, &mut other] {
        assert!(robots(stream).await?.contains("connection: close"));
        assert_eq!(stream.read(&mut [0]).await?, 0, "it has ended");
    }
    serving.abort();
    Ok(())
}

#[tokio::test]
async fn peers_that_say_nothing_hold_no_drain() -> Result<()> {
    let limits = Limits {
        silence: Duration::from_millis(300),
        ..Limits::default()
    };
    let (address, stop, serving) = ending(limits).await?;
    let mut idle = TcpStream::connect(address).await?;
    robots(&mut idle).await?;
    let _never = TcpStream::connect(address).await?;
    let mut half = TcpStream::connect(address).await?;
    half.write_all(&ROBOTS[..10]).await?;
    let begun = Instant::now();
    drop(stop);
    tokio::time::timeout(SOON, serving).await??;
    // A fifth of the whole drain, were they waited for.
    assert!(
        begun.elapsed() < Limits::default().drain / 5,
        "{:?}",
        begun.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn a_request_that_stood_in_the_queue_when_the_drain_began_is_answered() -> Result<()> {
    let (address, stop, serving) = ending(Limits::default()).await?;
    // On this one thread the gateway has not had its turn before all of this is in the queue.
    let mut stream = std::net::TcpStream::connect(address)?;
    std::io::Write::write_all(&mut stream, ROBOTS)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream)?;
    drop(stop);
    let mut answer = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    tokio::time::timeout(SOON, serving).await??;
    Ok(())
}

#[tokio::test]
async fn a_drain_says_no_and_finishes_what_runs() -> Result<()> {
    let (listener, url) = silent().await?;
    let mut parts = nowhere();
    parts.backends = support::backends(&url);
    parts.limits = Limits {
        call: Duration::from_millis(800),
        ..Limits::default()
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (http, admin) = (TcpListener::bind(any).await?, TcpListener::bind(any).await?);
    let address = http.local_addr()?;
    let gateway = Gateway::on(http, admin, parts);
    let readiness = gateway.readiness();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(gateway.serve(async { drop(stopped.await) }));
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /v1/products/tea HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    let _called = tokio::time::timeout(SOON, listener.accept()).await??;
    drop(stop);
    let mut answer = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    tokio::time::timeout(SOON, serving).await??;
    assert_eq!(readiness.reasons(), ["draining"]);
    assert!(TcpStream::connect(address).await.is_err());
    Ok(())
}
