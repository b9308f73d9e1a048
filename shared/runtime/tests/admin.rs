//! The admin port over real connections.

use crate::echo;

use bytes::Bytes;
use echo::{Echo, Running, SOON, call, open, serve};
use http::StatusCode;
use larder_runtime::access::Access;
use larder_runtime::admin::Admin;
use larder_runtime::bounds::Bounds;
use larder_runtime::client::{Client, Limits as ClientLimits};
use larder_runtime::config::Operators;
use larder_runtime::exposition::Metric;
use larder_runtime::policy::Policy;
use larder_runtime::server::Limits;
use larder_testkit::wait_until;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

const NOBODY: Policy = Policy {
    known: &[],
    others: &[],
    changes: &[],
};

/// The admin port of this server, where an echo may be asked by everybody.
async fn open_to_all(running: &Running) -> SocketAddr {
    open_within(running, Bounds::DEFAULT).await
}

async fn open_within(running: &Running, bounds: Bounds) -> SocketAddr {
    let operators = Operators::default();
    let access = Access::open(&operators, None, NOBODY).expect("usable");
    let echo = Echo {
        gate: running.gate.clone(),
        heard: running.heard.clone(),
    };
    let admin = Admin::bind(ANY, &running.readiness).await.expect("a port");
    let admin = admin.guarded(None, access).within(bounds);
    let admin = admin.grpc(echo, &[]).expect("described");
    let address = admin.address().expect("bound");
    admin.start(&running.tasks);
    address
}

fn client(admin: SocketAddr) -> Client {
    let limits = ClientLimits {
        call: SOON,
        ..ClientLimits::default()
    };
    Client::new("--echo", &format!("http://{admin}"), limits).expect("an address")
}

/// How a request of HTTP/2 with these headers is answered.
async fn asked(admin: SocketAddr, headers: &[(&str, &str)]) -> StatusCode {
    let stream = TcpStream::connect(admin).await.expect("it listens");
    let (mut send, connection) = h2::client::handshake(stream).await.expect("settings");
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{admin}/echo.Echo/Say"));
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let request = request.body(()).expect("a request");
    let (answer, mut body) = send.send_request(request, false).expect("sent");
    _ = body.send_data(Bytes::from_static(TEA), true);
    let status = answer.await.expect("an answer").status();
    drop(send);
    connection.abort();
    status
}

/// A message with gRPC's prefix.
const TEA: &[u8] = b"\0\0\0\0\x05\x0a\x03tea";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn a_page_in_a_browser_cannot_call_what_loopback_may() {
    let running = serve(Limits::default()).await;
    let admin = open_to_all(&running).await;
    // What pages of other sites may send unasked, and what one may whose name was bound to this
    // address.
    for headers in [
        "content-type: text/plain\r\norigin: http://evil.example",
        "content-type: application/grpc\r\norigin: http://evil.example",
        "content-type: application/grpc",
    ] {
        let length = TEA.len();
        let head = format!(
            "POST /echo.Echo/Say HTTP/1.1\r\nhost: {admin}\r\n{headers}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(admin).await.expect("it listens");
        let request = [head.as_bytes(), TEA].concat();
        stream.write_all(&request).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        assert!(answer.starts_with("HTTP/1.1 4"), "{headers}: {answer}");
    }
    for (headers, expected) in [
        (&[][..], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (
            &[("content-type", "text/plain")],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            &[("content-type", "application/grpc-web")],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (&[GRPC, ("origin", "null")], StatusCode::FORBIDDEN),
        (
            &[GRPC, ("sec-fetch-site", "same-origin")],
            StatusCode::FORBIDDEN,
        ),
    ] {
        assert_eq!(asked(admin, headers).await, expected, "{headers:?}");
    }
    assert_eq!(running.heard(), 0);
    assert_eq!(asked(admin, &[GRPC]).await, StatusCode::OK);
    let proto = ("content-type", "application/grpc+proto");
    assert_eq!(asked(admin, &[proto]).await, StatusCode::OK);
    let said = call(client(admin), "/echo.Echo/Say", Bytes::new()).await;
    said.expect("a client of ours may");
    assert_eq!(running.heard(), 3);
    running.end().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_connection_and_is_there_again_when_it_is_asked_for() {
    let running = serve(Limits::default()).await;
    let age = Duration::from_millis(300);
    let bounds = Bounds {
        age,
        ..Bounds::DEFAULT
    };
    let admin = open_within(&running, bounds).await;
    let client = client(admin);
    let (begun, mut calls) = (Instant::now(), 0);
    for _ in 0..2 {
        let mut ticks = open(client.clone(), "/echo.Echo/Ticks", Bytes::new()).await;
        let end = async {
            loop {
                match ticks.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("a stream that is cut says so"),
                    Err(status) => return status,
                }
            }
        };
        let calling = async {
            loop {
                let said = call(client.clone(), "/echo.Echo/Say", Bytes::new()).await;
                said.expect("calls notice nothing");
                calls += 1;
            }
        };
        let end = tokio::select! {
            end = tokio::time::timeout(SOON, end) => end.expect("in time"),
            never = calling => never,
        };
        assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    }
    // From the beginning of each connection on, less a tenth.
    assert!(begun.elapsed() > age * 2, "{:?}", begun.elapsed());
    assert!(calls > 10, "{calls} calls are too few to meet an end");
    running.end().await;
}

#[tokio::test]
async fn peers_that_say_nothing_to_the_admin_port_hold_no_drain() {
    let running = serve(Limits::default()).await;
    let admin = open_to_all(&running).await;
    let mut half = TcpStream::connect(admin).await.expect("it listens");
    half.write_all(b"G").await.expect("sent");
    // It is taken once one that came after it is answered.
    fetch(admin, "/live").await;
    let begun = Instant::now();
    running.end().await;
    // A fifth of the whole drain, were it waited for.
    assert!(
        begun.elapsed() < Limits::default().drain / 5,
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_call_to_the_admin_port_is_waited_for_in_a_drain() {
    let running = serve(Limits::default()).await;
    let admin = open_to_all(&running).await;
    let held = tokio::spawn(call(client(admin), "/echo.Echo/Held", Bytes::new()));
    let heard = async || running.heard() == 1;
    let inside = wait_until("a call that is inside", SOON, heard).await;
    inside.expect("in time");
    let (gate, mut served) = (running.gate, running.served);
    running.stop.cancel();
    let early = tokio::time::timeout(Duration::from_secs(2), &mut served).await;
    assert!(early.is_err(), "the call is waited for");
    gate.add_permits(1);
    held.await.expect("no panic").expect("it may finish");
    let served = tokio::time::timeout(SOON, served).await.expect("in time");
    served.expect("no panic").expect("no error");
}

async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("text");
    text
}

const MORE: Metric = Metric::gauge("more", "More.");

#[tokio::test]
async fn the_admin_port_tells_how_things_are() {
    let running = serve(Limits::default()).await;
    let gate = running.readiness.gate("database", "not opened yet");
    let metrics = running.metrics.clone();
    let admin = Admin::bind(ANY, &running.readiness).await.expect("a port");
    let admin = admin
        .collect(move |page| metrics.measure(page))
        .collect(|page| page.count(MORE, &[], 1));
    let address = admin.address().expect("bound");
    admin.start(&running.tasks);
    assert!(fetch(address, "/live").await.starts_with("HTTP/1.1 200"));
    let text = fetch(address, "/ready").await;
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("database: not opened yet"));
    let ready = async || fetch(address, "/metrics").await;
    assert!(ready().await.contains("\nlarder_ready 0\n"));
    gate.open();
    assert!(fetch(address, "/ready").await.starts_with("HTTP/1.1 200"));
    assert!(ready().await.contains("\nlarder_ready 1\n"));
    HealthClient::new(running.client())
        .check(HealthCheckRequest::default())
        .await
        .expect("known");
    let text = fetch(address, "/metrics").await;
    let count = "rpc_server_call_duration_seconds_count{rpc_method=\"grpc.health.v1.Health/Check\",\
                 rpc_response_status_code=\"OK\"} 1";
    assert!(
        text.contains(count) && text.contains("\nmore 1\n"),
        "{text}"
    );
    running.end().await;
}
