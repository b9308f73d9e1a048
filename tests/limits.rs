//! Clients that take what they can without asking for anything: many, slow, or breaking off. Others
//! are served within their deadline, and each limit that sees to it is shown to do so by a run in
//! which it is so high that it is none.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use larder_proto::products::v1::GetProductRequest;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_runtime::client::{self, Client};
use larder_runtime::config::Certificates;
use larder_runtime::tls::Tls;
use larder_testkit::pki::Authority;
use larder_testkit::port::Port;
use larder_testkit::process::{Program, Signal};
use larder_testkit::{http, wait_until};
use larder_tests::metrics;
use larder_tests::{Kind, Setup, Suite};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tonic::Code;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
/// What whoever asks properly waits for, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// What is answered without a service.
const PATH: &str = "/robots.txt";
/// So high that it is no limit.
const NONE: &str = "1000000000";

async fn suite(args: &[&str]) -> Result<Suite> {
    let setup = Setup::new(LARDER).replicas(1);
    setup.args(args.iter().copied()).start().await
}

/// The ports of three kinds: the gateway's HTTP, gRPC, and an admin port.
fn ports(suite: &Suite) -> [SocketAddr; 3] {
    let products = suite.replica(Kind::Products, 1);
    [suite.http(), products.grpc, products.admin]
}

/// Whether a request is answered at each of the ports within so long; who is turned away tries again.
async fn served(suite: &Suite, within: Duration) -> [bool; 3] {
    let products = suite.replica(Kind::Products, 1);
    let asked = async || {
        let answer = http::ask(suite.http(), "GET", PATH, &[], "").await;
        answer.is_ok_and(|answer| answer.status == 200)
    };
    let called = async || {
        let (mut client, id) = (suite.products(1), "none".to_owned());
        let answer = client.get_product(GetProductRequest { id }).await;
        answer.is_err_and(|status| status.code() == Code::NotFound)
    };
    let looked = async || {
        let answer = metrics::get(products.admin, "/ready").await;
        answer.is_ok_and(|(status, _)| status == 200)
    };
    let (http, grpc, admin) = tokio::join!(
        wait_until("HTTP", within, asked),
        wait_until("gRPC", within, called),
        wait_until("the admin port", within, looked),
    );
    [http.is_ok(), grpc.is_ok(), admin.is_ok()]
}

/// A count of the gateway's, with these labels.
async fn gateways(suite: &Suite, name: &str, labels: &[&str]) -> Result<u64> {
    let (_, page) = metrics::get(suite.http_admin(), "/metrics").await?;
    Ok(metrics::sum(&page, name, labels))
}

/// Connections that send this byte by byte, and then nothing.
async fn dripping(server: SocketAddr, count: usize, bytes: Vec<u8>) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..count {
        let Ok(mut stream) = TcpStream::connect(server).await else {
            continue;
        };
        let bytes = bytes.clone();
        all.spawn(async move {
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            std::future::pending().await
        });
    }
    all
}

/// Whether the other end closes the connection within so long, whatever it says before.
async fn ended(stream: &mut TcpStream, within: Duration) -> bool {
    let mut some = [0; 4096];
    let over = async { while stream.read(&mut some).await.is_ok_and(|read| read > 0) {} };
    timeout(within, over).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_leave_the_others_served() -> Result<()> {
    // Whoever says nothing would be gone before all of them are there.
    let suite = suite(&["--head-timeout-ms", "600000"]).await?;
    let begun = Instant::now();
    let mut idle = Vec::new();
    let [http, grpc, admin] = ports(&suite);
    for (server, count) in [(http, 4_000), (grpc, 4_000), (admin, 2_000)] {
        for _ in 0..count / 100 {
            let some = (0..100).map(|_| TcpStream::connect(server));
            idle.extend(try_join_all(some).await.context("a hundred more")?);
        }
    }
    let products = suite.replica(Kind::Products, 1);
    let all_there = async || {
        let http = gateways(&suite, "larder_connections", &["port=\"http\""]).await;
        let of = async |port: &str| products.count("larder_connections", &[port]).await;
        let (grpc, admin) = (of("port=\"grpc\"").await, of("port=\"admin\"").await);
        let all = [(http, 4_000), (grpc, 4_000), (admin, 2_000)];
        all.into_iter()
            .all(|(open, least)| open.is_ok_and(|open| open >= least))
    };
    wait_until("ten thousand connections", SOON, all_there).await?;
    println!("10,000 idle connections after {:?}", begun.elapsed());
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(served(&suite, DEADLINE).await, [true; 3]);
        println!("the others were served in {:?}", asked.elapsed());
    }
    drop(idle);
    let all_gone = async || {
        let open = products
            .count("larder_connections", &["port=\"grpc\""])
            .await;
        open.is_ok_and(|open| open < 100)
    };
    wait_until("connections that end", SOON, all_gone).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_at_once_and_counted_and_the_others_stay() -> Result<()> {
    let suite = suite(&[
        "--max-connections",
        "30",
        "--max-connections-per-peer",
        NONE,
    ])
    .await?;
    let mut held = Vec::new();
    for _ in 0..30 {
        held.push(TcpStream::connect(suite.http()).await?);
    }
    let mut newest = TcpStream::connect(suite.http()).await?;
    ensure!(
        ended(&mut newest, DEADLINE).await,
        "one too many is not closed"
    );
    let refused = async || {
        let labels = ["port=\"http\"", "reason=\"full\""];
        let count = gateways(&suite, "larder_connections_refused_total", &labels).await;
        count.is_ok_and(|count| count >= 1)
    };
    wait_until("a count", SOON, refused).await?;
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: larder\r\n\r\n");
    held[7].write_all(request.as_bytes()).await?;
    let mut answer = [0; 12];
    timeout(DEADLINE, held[7].read_exact(&mut answer)).await??;
    assert_eq!(&answer, b"HTTP/1.1 200");
    held.pop();
    assert_eq!(served(&suite, DEADLINE).await, [true; 3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_cannot_take_every_place() -> Result<()> {
    let suite = suite(&[
        "--max-connections",
        "30",
        "--max-connections-per-peer",
        "20",
    ])
    .await?;
    let mut held = Vec::new();
    for _ in 0..60 {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.2:0".parse()?)?;
        held.push(socket.connect(suite.http()).await?);
    }
    // From another address, at once.
    assert_eq!(served(&suite, DEADLINE).await, [true; 3]);
    let labels = ["port=\"http\"", "reason=\"peer\""];
    let count = gateways(&suite, "larder_connections_refused_total", &labels).await?;
    assert_eq!(count, 40);
    Ok(())
}

/// Takes every place of every port with heads that come byte by byte.
async fn slow_heads(suite: &Suite) -> Vec<JoinSet<()>> {
    let [http, grpc, admin] = ports(suite);
    let grpc_head = b"PRI * HTTP/2.0\r\n\r\n".to_vec();
    let http_head = [
        &b"GET / HTTP/1.1\r\nhost: larder\r\nx-slow: "[..],
        &[b'a'; 999],
    ]
    .concat();
    let mut all = Vec::new();
    for (server, head) in [(http, &http_head), (grpc, &grpc_head), (admin, &http_head)] {
        all.push(dripping(server, 60, head.clone()).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_come_slowly_keep_no_place_and_would_without_their_timeout() -> Result<()> {
    const FEW: [&str; 2] = ["--max-connections", "40"];
    let bounded = suite(&[&FEW[..], &["--head-timeout-ms", "1500"]].concat()).await?;
    let _slow = slow_heads(&bounded).await;
    assert_eq!(served(&bounded, DEADLINE).await, [true; 3]);
    drop(bounded);

    let unbounded = suite(&[&FEW[..], &["--head-timeout-ms", NONE]].concat()).await?;
    let _slow = slow_heads(&unbounded).await;
    assert_eq!(served(&unbounded, Duration::from_secs(3)).await, [false; 3]);
    Ok(())
}

/// Begins so many requests whose bodies do not come.
async fn slow_bodies(suite: &Suite, count: usize) -> Result<Vec<TcpStream>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(suite.http()).await?;
        let head = "POST /v1/products HTTP/1.1\r\nhost: larder\r\n\
            content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await?;
        all.push(stream);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_slowly_keep_nobody_out_and_are_given_up() -> Result<()> {
    // More of them than calls are served at once.
    const FEW: [&str; 2] = ["--max-calls", "8"];
    let bounded = suite(&[&FEW[..], &["--body-timeout-ms", "1500"]].concat()).await?;
    let mut slow = slow_bodies(&bounded, 100).await?;
    let mut calls = opened_calls(&bounded, 100).await?;
    let answer = http::ask(bounded.http(), "GET", PATH, &[], "").await?;
    assert_eq!(answer.status, 200, "while all of them wait");
    assert_eq!(served(&bounded, DEADLINE).await, [true; 3]);
    let mut answer = String::new();
    timeout(SOON, slow[3].read_to_string(&mut answer)).await??;
    ensure!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let given_up = calls.next_answer(SOON).await;
    ensure!(given_up.is_ok(), "no call was given up");
    drop(bounded);

    let unbounded = suite(&[&FEW[..], &["--body-timeout-ms", NONE]].concat()).await?;
    let mut slow = slow_bodies(&unbounded, 1).await?;
    let mut calls = opened_calls(&unbounded, 1).await?;
    let waited = Duration::from_secs(3);
    ensure!(
        !ended(&mut slow[0], waited).await,
        "given up without a limit"
    );
    ensure!(
        calls.next_answer(waited).await.is_err(),
        "given up without a limit"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_nearly_there_take_no_more_memory_than_they_may() -> Result<()> {
    const EACH: usize = 1 << 20;
    const MANY: usize = 400;
    let suite = suite(&["--body-timeout-ms", NONE]).await?;
    let resident = async || gateways(&suite, "process_resident_memory_bytes", &[]).await;
    let before = resident().await?;
    ensure!(before > 0, "the process does not say what it takes");
    let part = vec![b' '; EACH - 1];
    let head =
        format!("POST /v1/products HTTP/1.1\r\nhost: larder\r\ncontent-length: {EACH}\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..MANY {
        let mut stream = TcpStream::connect(suite.http()).await?;
        // Whoever has to make way for others may be told so while it still sends.
        let sent = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&part).await
        };
        let _ = sent.await;
        held.push(stream);
    }
    for stream in &mut held[..MANY / 2] {
        ensure!(
            ended(stream, SOON).await,
            "it made no way for those after it"
        );
    }
    let grown = resident().await?.saturating_sub(before);
    // All processes of the suite are one here; half of what was sent is well beyond the bound.
    println!("{grown} bytes more for {MANY} bodies of {EACH}");
    ensure!(grown < (MANY * EACH / 2) as u64, "{grown} bytes more");
    let answer = http::ask(suite.http(), "GET", PATH, &[], "").await?;
    assert_eq!(answer.status, 200, "while all of them wait");
    let tea = r#"{"id":"tea-cosy","title":"A tea cosy"}"#;
    let json = [("content-type", "application/json")];
    let made = http::ask(suite.http(), "POST", "/v1/products", &json, tea).await?;
    assert_eq!(made.status, 201, "{}", made.body);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_come_slowly_keep_no_place_and_would_without_their_timeout() -> Result<()> {
    let authority = Authority::new()?;
    let own = authority.folder("products")?;
    let caller = authority.folder("gateway")?;
    for (limit, expected) in [("1500", true), (NONE, false)] {
        let (grpc, admin) = (Port::reserve()?, Port::reserve()?);
        let folder = tempfile::tempdir()?;
        let file = |name: &str| own.path().join(name).display().to_string();
        let process = Program::new(LARDER)
            .args(["serve", "products", "--callers", "gateway"])
            .args(["--max-connections", "40", "--handshake-timeout-ms", limit])
            .args(["--tls-cert", &file("cert"), "--tls-key", &file("key")])
            .args(["--tls-ca", &file("ca")])
            .args(["--grpc-addr", &grpc.address().to_string()])
            .args(["--admin-addr", &admin.address().to_string()])
            .folder(folder.path())
            .farewell(Signal::TERM, SOON)
            .spawn()?;
        let folder = caller.path();
        let tls = Tls::open(&Certificates {
            tls_cert: Some(folder.join("cert")),
            tls_key: Some(folder.join("key")),
            tls_ca: Some(folder.join("ca")),
        })?;
        let somebody = || {
            let way = format!("https://{}", grpc.address());
            let client = Client::over("test", &way, client::Limits::default(), tls.as_ref());
            ProductServiceClient::new(client.expect("an address"))
        };
        let answers = async |mut client: ProductServiceClient<Client>| {
            let id = "none".to_owned();
            let answer = client.get_product(GetProductRequest { id }).await;
            answer.is_err_and(|status| status.code() == Code::NotFound)
        };
        // It keeps its place: nobody's becomes free by chance.
        let first = somebody();
        wait_until("a service", SOON, async || answers(first.clone()).await).await?;
        // The first bytes of a hello that does not go on.
        let _slow = dripping(grpc.address(), 60, b"\x16\x03\x01\x40\x00".to_vec()).await;
        let within = match expected {
            true => DEADLINE,
            false => Duration::from_secs(3),
        };
        let outcome = wait_until("an answer", within, async || answers(somebody()).await).await;
        assert_eq!(outcome.is_ok(), expected, "{limit}: {}", process.log());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_answers_is_cut_off_and_would_not_be_without_a_timeout() -> Result<()> {
    for (limit, expected) in [("1000", true), (NONE, false)] {
        let suite = suite(&["--write-timeout-ms", limit]).await?;
        let mut greedy = TcpStream::connect(suite.http()).await?;
        let asking = async {
            let request = b"GET /openapi.json HTTP/1.1\r\nhost: larder\r\n\r\n".repeat(64);
            while greedy.write_all(&request).await.is_ok() {}
        };
        // It asks until it is cut off, or nobody listens any more.
        let cut_off = timeout(Duration::from_secs(8), asking).await.is_ok();
        assert_eq!(cut_off, expected, "{limit}");
        let labels = ["port=\"http\"", "reason=\"stalled\""];
        let count = gateways(&suite, "larder_connections_refused_total", &labels).await?;
        assert_eq!(count, u64::from(expected));
        assert_eq!(served(&suite, DEADLINE).await, [true; 3]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_that_are_given_up_at_once_leaves_the_others_served() -> Result<()> {
    let bounded = suite(&[]).await?;
    let grpc = bounded.replica(Kind::Products, 1).grpc;
    let mut flood = JoinSet::new();
    for _ in 0..4 {
        flood.spawn(async move {
            let (until, mut connections) = (Instant::now() + DEADLINE, 0_u32);
            while Instant::now() < until {
                if let Ok(mut flood) = Raw::connect(grpc).await {
                    connections += 1;
                    while Instant::now() < until && flood.begin_and_give_up(100).await.is_ok() {}
                }
            }
            connections
        });
    }
    let (mut slowest, until) = (Duration::ZERO, Instant::now() + DEADLINE);
    while Instant::now() < until {
        let asked = Instant::now();
        assert_eq!(served(&bounded, DEADLINE).await, [true; 3]);
        slowest = slowest.max(asked.elapsed());
    }
    let connections: u32 = flood.join_all().await.into_iter().sum();
    println!("{connections} connections of the flood were ended; the slowest answer: {slowest:?}");
    ensure!(connections > 4, "none was ended");
    drop(bounded);

    let unbounded = suite(&["--max-resets", NONE]).await?;
    let mut flood = Raw::connect(unbounded.replica(Kind::Products, 1).grpc).await?;
    for _ in 0..50 {
        flood
            .begin_and_give_up(100)
            .await
            .context("ended without a limit")?;
    }
    Ok(())
}

/// Calls that are begun, and whose messages do not come.
async fn opened_calls(suite: &Suite, count: u32) -> Result<Raw> {
    let mut raw = Raw::connect(suite.replica(Kind::Products, 1).grpc).await?;
    let mut frames = Vec::new();
    for _ in 0..count {
        raw.begin(&mut frames);
    }
    raw.stream.write_all(&frames).await?;
    Ok(raw)
}

/// HTTP/2 frame by frame, as no client of good manners speaks it.
struct Raw {
    stream: TcpStream,
    next: u32,
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;

impl Raw {
    async fn connect(server: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(server).await?;
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut hello, SETTINGS, 0, 0, &[]);
        stream.write_all(&hello).await?;
        Ok(Self { stream, next: 1 })
    }

    /// Adds the head of a call.
    fn begin(&mut self, frames: &mut Vec<u8>) -> u32 {
        const METHOD: &str = "/larder.products.v1.ProductService/GetProduct";
        let id = self.next;
        self.next += 2;
        // From HPACK's static table POST and http, and a path and an authority in full.
        let mut head = vec![0x83, 0x86, 0x04, METHOD.len() as u8];
        head.extend_from_slice(METHOD.as_bytes());
        head.extend_from_slice(b"\x01\x06larder");
        head.extend_from_slice(b"\x0f\x10\x10application/grpc");
        frame(frames, HEADERS, END_HEADERS, id, &head);
        id
    }

    /// Begins so many calls and gives each up, at one stroke.
    async fn begin_and_give_up(&mut self, count: u32) -> Result<()> {
        const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
        let mut frames = Vec::new();
        for _ in 0..count {
            let id = self.begin(&mut frames);
            frame(&mut frames, RST_STREAM, 0, id, &CANCEL);
        }
        timeout(SOON, self.stream.write_all(&frames)).await??;
        // What the server says is read, or it could not say that it has had enough.
        let mut said = [0; 16 << 10];
        while let Some(read) = ready(self.stream.try_read(&mut said))? {
            ensure!(read > 0, "the connection has ended");
        }
        Ok(())
    }

    /// Waits until a call is answered.
    async fn next_answer(&mut self, within: Duration) -> Result<()> {
        let answer = async {
            loop {
                let mut head = [0; 9];
                self.stream.read_exact(&mut head).await?;
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                self.stream.read_exact(&mut vec![0; length]).await?;
                if head[3] == HEADERS {
                    return Ok(());
                }
            }
        };
        timeout(within, answer).await?
    }
}

fn frame(frames: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = (payload.len() as u32).to_be_bytes();
    frames.extend_from_slice(&length[1..]);
    frames.extend_from_slice(&[kind, flags]);
    frames.extend_from_slice(&stream.to_be_bytes());
    frames.extend_from_slice(payload);
}

fn ready(read: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}
