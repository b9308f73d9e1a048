//! A server over real connections.

use crate::echo;

use bytes::Bytes;
use echo::{SOON, call, open, serve};
use larder_runtime::client::{Client, Limits as ClientLimits};
use larder_runtime::exposition::Page;
use larder_runtime::places;
use larder_runtime::server::Limits;
use larder_testkit::wait_until;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .expect("every error says why")
        .reason
        .clone()
}

/// Bytes that tell one call from another.
fn message(caller: usize, length: usize) -> Bytes {
    (0..length).map(|n| (n * 31 + caller) as u8).collect()
}

async fn sixty_four_callers_on_one_connection() {
    let running = serve(Limits::default()).await;
    let client = running.client();
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let client = client.clone();
        callers.spawn(async move {
            for length in [0, 1, 300, 1023, 1024, 6_000, 70_000, 200_000] {
                let sent = message(caller, length);
                let got = call(client.clone(), "/echo.Echo/Say", sent.clone()).await;
                assert!(
                    got.expect("an answer") == sent,
                    "caller {caller}, {length} bytes"
                );
            }
        });
    }
    let all = tokio::time::timeout(SOON * 2, callers.join_all());
    assert_eq!(all.await.expect("nobody waits for ever").len(), 64);
    running.end().await;
}

#[tokio::test]
async fn sixty_four_callers_on_one_connection_all_get_their_own_answers_on_one_thread() {
    sixty_four_callers_on_one_connection().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_callers_on_one_connection_all_get_their_own_answers_on_four_threads() {
    sixty_four_callers_on_one_connection().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_arrives_whole_though_its_reader_is_slow() {
    let running = serve(Limits::default()).await;
    let sent = message(1, 4096);
    let mut slow = open(running.client(), "/echo.Echo/Repeat", sent.clone()).await;
    // While nobody reads the stream, its connection must go on with others.
    for caller in 0..16 {
        let sent = message(caller, 500);
        assert_eq!(
            call(running.client(), "/echo.Echo/Say", sent.clone())
                .await
                .expect("ok"),
            sent
        );
    }
    let mut count = 0;
    while let Some(got) = slow.message().await.expect("whole") {
        assert!(got == sent);
        count += 1;
    }
    assert_eq!(count, 1000);
    running.end().await;
}

#[tokio::test]
async fn a_call_ends_at_the_servers_limit_with_deadline_exceeded_and_a_reason() {
    let limits = Limits {
        call: Duration::from_millis(20),
        ..Limits::default()
    };
    let running = serve(limits).await;
    let error = call(running.client(), "/echo.Echo/Never", Bytes::new())
        .await
        .expect_err("late");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    running.end().await;
}

#[tokio::test]
async fn a_client_gives_up_in_time_though_nobody_answers() {
    let running = serve(Limits::default()).await;
    let limits = ClientLimits {
        call: Duration::from_millis(50),
        ..ClientLimits::default()
    };
    let address = format!("http://{}", running.address);
    let client = Client::new("--echo", &address, limits).expect("an address");
    let error = call(client, "/echo.Echo/Never", Bytes::new())
        .await
        .expect_err("late");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    running.end().await;
}

/// Says the head of every answer and then nothing, while it answers pings.
async fn say_heads(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.expect("settings");
            let mut begun = Vec::new();
            while let Some(Ok((_, mut answer))) = connection.accept().await {
                let head = http::Response::builder().header("content-type", "application/grpc");
                let head = head.body(()).expect("a head");
                begun.push(answer.send_response(head, false).expect("sent"));
            }
        });
    }
}

#[tokio::test]
async fn an_answer_that_begins_and_does_not_end_is_given_up_in_the_time_of_a_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let heads = tokio::spawn(say_heads(listener));
    let limits = ClientLimits {
        call: Duration::from_millis(200),
        ..ClientLimits::default()
    };
    let client = Client::new("--echo", &address, limits).expect("an address");
    let error = tokio::time::timeout(SOON, call(client, "/echo.Echo/Say", Bytes::new()));
    let error = error.await.expect("in time").expect_err("late");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    heads.abort();
}

#[tokio::test]
async fn a_stream_goes_on_past_the_time_of_a_call() {
    let running = serve(Limits::default()).await;
    let limits = ClientLimits {
        call: Duration::from_millis(200),
        ..ClientLimits::default()
    };
    let address = format!("http://{}", running.address);
    let client = Client::new("--echo", &address, limits).expect("an address");
    let mut ticks = open(client, "/echo.Echo/Ticks", Bytes::new()).await;
    for _ in 0..100 {
        ticks.message().await.expect("open").expect("a tick");
    }
    let more = tokio::time::timeout(limits.call * 3, ticks.message()).await;
    assert!(more.is_err(), "it is open, and nothing has come: {more:?}");
    running.end().await;
}

#[tokio::test]
async fn what_the_transport_refuses_has_a_code_and_a_reason_of_ours() {
    let running = serve(Limits::default()).await;
    let large = Bytes::from(vec![0; 5 << 20]);
    let error = call(running.client(), "/echo.Echo/Say", large)
        .await
        .expect_err("too large");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );
    for unknown in ["/echo.Echo/Sing", "/nobody.Nobody/Say"] {
        let error = call(running.client(), unknown, Bytes::new())
            .await
            .expect_err("unknown");
        assert_eq!(
            (error.code(), reason(&error).as_str()),
            (Code::Unimplemented, "UNIMPLEMENTED")
        );
    }
    running.end().await;
}

#[tokio::test]
async fn one_call_too_many_is_turned_away_and_health_is_not() {
    let running = serve(Limits {
        calls: 1,
        ..Limits::default()
    })
    .await;
    let inside = tokio::spawn(call(running.client(), "/echo.Echo/Held", Bytes::new()));
    let turned_away = async {
        loop {
            match call(running.client(), "/echo.Echo/Say", Bytes::new()).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(SOON, turned_away)
        .await
        .expect("the house fills up");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::ResourceExhausted, "TOO_MANY_CALLS")
    );
    assert!(error.get_error_details().retry_info().is_some());
    let request = HealthCheckRequest::default();
    HealthClient::new(running.client())
        .check(request)
        .await
        .expect("always let in");
    running.gate.add_permits(1);
    inside.await.expect("no panic").expect("it was let in");
    running.end().await;
}

#[tokio::test]
async fn health_follows_the_gates_and_knows_every_name() {
    let running = serve(Limits::default()).await;
    let gate = running.readiness.gate("database", "not opened yet");
    let mut health = HealthClient::new(running.client());
    let watched = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut changes = health
        .watch(watched("echo.Echo"))
        .await
        .expect("known")
        .into_inner();
    let mut wait_for = async |expected: ServingStatus| {
        let reached = async {
            while changes
                .message()
                .await
                .expect("open")
                .expect("more")
                .status()
                != expected
            {}
        };
        tokio::time::timeout(SOON, reached).await.expect("in time");
    };
    wait_for(ServingStatus::NotServing).await;
    gate.open();
    wait_for(ServingStatus::Serving).await;
    gate.shut("connection refused");
    wait_for(ServingStatus::NotServing).await;
    for (name, expected) in [
        ("startup", ServingStatus::Serving),
        ("liveness", ServingStatus::Serving),
        ("readiness", ServingStatus::NotServing),
        ("", ServingStatus::NotServing),
    ] {
        let status = health
            .check(watched(name))
            .await
            .expect(name)
            .into_inner()
            .status();
        assert_eq!(status, expected, "{name}");
    }
    let error = health.check(watched("nobody")).await.expect_err("unknown");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::NotFound, "NOT_FOUND")
    );
    running.end().await;
}

#[tokio::test]
async fn a_drain_ends_streams_lets_calls_finish_and_takes_no_new_ones() {
    let running = serve(Limits::default()).await;
    let mut ticks = open(running.client(), "/echo.Echo/Ticks", message(1, 100)).await;
    ticks.message().await.expect("open").expect("a tick");
    let held = tokio::spawn(call(running.client(), "/echo.Echo/Held", message(2, 100)));
    // The call is inside once one that was sent after it on the same connection is answered.
    call(running.client(), "/echo.Echo/Say", Bytes::new())
        .await
        .expect("an answer");
    running.stop.cancel();
    let end = loop {
        match ticks.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream that is cut says so"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (end.code(), reason(&end).as_str()),
        (Code::Unavailable, "DRAINING")
    );
    assert_eq!(running.readiness.reasons(), ["draining"]);
    running.gate.add_permits(1);
    assert_eq!(
        held.await.expect("no panic").expect("it may finish"),
        message(2, 100)
    );
    let address = running.address;
    running.end().await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_though_calls_and_tasks_do_not() {
    let limits = Limits {
        drain: Duration::from_millis(100),
        ..Limits::default()
    };
    let running = serve(limits).await;
    running.tasks.spawn("deaf", std::future::pending());
    let stuck = tokio::spawn(call(running.client(), "/echo.Echo/Never", Bytes::new()));
    call(running.client(), "/echo.Echo/Say", Bytes::new())
        .await
        .expect("an answer");
    running.end().await;
    stuck.abort();
}

/// What begins a connection of HTTP/2: the client's preface and settings of nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn a_peer_that_acknowledges_nothing_holds_no_drain_and_a_call_under_way_does() {
    let silence = Duration::from_millis(300);
    let running = serve(Limits {
        silence,
        ..Limits::default()
    })
    .await;
    let mut deaf = TcpStream::connect(running.address)
        .await
        .expect("it listens");
    deaf.write_all(PREFACE).await.expect("sent");
    let mut greeting = [0; 9];
    deaf.read_exact(&mut greeting).await.expect("settings");
    let held = tokio::spawn(call(running.client(), "/echo.Echo/Held", message(2, 100)));
    wait_until("a call that is inside", SOON, async || running.heard() == 1)
        .await
        .expect("in time");
    let mut served = running.served;
    running.stop.cancel();
    let early = tokio::time::timeout(silence * 4, &mut served).await;
    assert!(early.is_err(), "the call is waited for");
    running.gate.add_permits(1);
    held.await.expect("no panic").expect("it may finish");
    let last = std::time::Instant::now();
    let served = tokio::time::timeout(SOON, served).await.expect("in time");
    served.expect("no panic").expect("no error");
    // A fifth of the whole drain, were the peer waited for.
    assert!(
        last.elapsed() < Limits::default().drain / 5,
        "{:?}",
        last.elapsed()
    );
}

#[tokio::test]
async fn a_connection_that_stood_in_the_queue_when_the_drain_began_is_told_of_it() {
    let running = serve(Limits::default()).await;
    // On this one thread the server has not had its turn before all of this is in the queue.
    let mut client = std::net::TcpStream::connect(running.address).expect("it listens");
    std::io::Write::write_all(&mut client, PREFACE).expect("sent");
    client.set_nonblocking(true).expect("a socket");
    let mut client = TcpStream::from_std(client).expect("a socket");
    running.stop.cancel();
    // A frame of kind 7 says which call was the last: nobody has to guess.
    let mut read = Vec::new();
    while !read.windows(5).any(|frame| frame == [0, 0, 8, 7, 0]) {
        let more = tokio::time::timeout(SOON, client.read_buf(&mut read)).await;
        let more = more.expect("in time").expect("no reset");
        assert!(more > 0, "it ended without a word: {read:?}");
    }
    running.end().await;
}

/// A call of `Say` by a peer that has room for no byte of an answer, and what then becomes of its
/// connection.
async fn ask_without_room(server: SocketAddr) -> (h2::client::ResponseFuture, JoinHandle<()>) {
    let stream = TcpStream::connect(server).await.expect("it listens");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (mut send, connection) = builder.handshake(stream).await.expect("settings");
    let connection = tokio::spawn(async move { drop(connection.await) });
    let request = http::Request::post(format!("http://{server}/echo.Echo/Say"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (answer, mut body) = send.send_request(request, false).expect("sent");
    body.send_data(Bytes::from_static(b"\0\0\0\0\x05\x0a\x03tea"), true)
        .expect("sent");
    (answer, connection)
}

#[tokio::test]
async fn a_peer_that_has_no_room_for_its_answers_is_parted_with_and_one_that_waits_is_not() {
    let mut limits = Limits::default();
    limits.bounds.write = Duration::from_millis(100);
    let running = serve(limits).await;
    let mut ticks = open(running.client(), "/echo.Echo/Ticks", message(1, 100)).await;
    for _ in 0..100 {
        ticks.message().await.expect("open").expect("a tick");
    }
    let (answer, connection) = ask_without_room(running.address).await;
    let answer = answer.await.expect("its head needs no room");
    assert!(answer.headers().get("grpc-status").is_none(), "{answer:?}");
    let ended = tokio::time::timeout(SOON, connection).await;
    ended.expect("in time").expect("no panic");
    drop(answer);
    let page = Page::of(|page| places::measure(page, &running.places)).text();
    let line = "larder_connections_refused_total{port=\"grpc\",reason=\"stalled\"} 1\n";
    assert!(page.contains(line), "{page}");
    let more = futures_util::FutureExt::now_or_never(ticks.message());
    assert!(more.is_none(), "it is open, and nothing has come");
    running.end().await;
}

#[tokio::test]
async fn a_client_passes_over_an_endpoint_that_is_away() {
    let running = serve(Limits::default()).await;
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("bound")
    };
    let limits = ClientLimits {
        rest: SOON * 10,
        ..ClientLimits::default()
    };
    let addresses = format!("http://{gone}, http://{}", running.address);
    let client = Client::new("--echo", &addresses, limits).expect("addresses");
    for _ in 0..20 {
        let said = call(client.clone(), "/echo.Echo/Say", Bytes::new()).await;
        said.expect("made at the one that is there");
    }
    let alone = Client::new("--echo", &format!("http://{gone}"), limits).expect("an address");
    let error = call(alone, "/echo.Echo/Say", Bytes::new()).await;
    let error = error.expect_err("nobody is there");
    assert_eq!(
        (error.code(), reason(&error).as_str()),
        (Code::Unavailable, "PEER_UNAVAILABLE")
    );
    running.end().await;
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_named() {
    for (addresses, said) in [
        ("", "--echo names no address"),
        (
            "http://a:1,b c",
            "--echo has \"b c\", which is not a URL such as http://host:port",
        ),
        (
            "host:1",
            "--echo has \"host:1\", which is not a URL such as http://host:port",
        ),
    ] {
        let error = Client::new("--echo", addresses, ClientLimits::default()).expect_err(said);
        assert_eq!(error.to_string(), said);
    }
}
