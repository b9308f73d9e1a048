//! What holds for every request, whatever services there are: here there are none.

mod support;

use anyhow::Result;
use larder_gateway::Gateway;
use larder_runtime::server::Limits;
use larder_testkit::http::raw;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Gate, Json as _, SOON, nowhere};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

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
