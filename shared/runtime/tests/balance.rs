//! A client whose endpoints come and go.

use crate::echo;

use bytes::Bytes;
use echo::{Echo, Running, SOON, call, serve, serve_at};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use larder_runtime::client::{Client, Limits, Resolve};
use larder_runtime::linger::Lingering;
use larder_runtime::server;
use larder_testkit::wait_until;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

/// Who knows the addresses of names, held in the test's hand.
#[derive(Default)]
struct Hand {
    answer: Mutex<Option<Vec<SocketAddr>>>,
    asked: AtomicUsize,
}

impl Hand {
    fn of(addresses: impl IntoIterator<Item = SocketAddr>) -> Arc<Self> {
        let hand = Arc::new(Self::default());
        hand.now(Some(addresses.into_iter().collect()));
        hand
    }

    /// What is answered from now on; `None` for an error.
    fn now(&self, answer: Option<Vec<SocketAddr>>) {
        *self.answer.lock().expect("no panic") = answer;
    }

    async fn asked_again(&self) {
        let before = self.asked.load(Ordering::Relaxed);
        wait_until("a second look", SOON, async || {
            self.asked.load(Ordering::Relaxed) >= before + 2
        })
        .await
        .expect("names are looked up again");
    }

    fn client(self: &Arc<Self>) -> Client {
        let limits = Limits {
            call: SOON,
            connect: SOON,
            rest: Duration::from_millis(20),
            resolve: Duration::from_millis(20),
            ..Limits::default()
        };
        Client::resolving("--echo", "http://echo.test:7", limits, None, self.clone())
            .expect("a name")
    }
}

impl Resolve for Hand {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        assert_eq!((host, port), ("echo.test", 7));
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().expect("no panic").clone();
        async { answer.ok_or_else(|| io::ErrorKind::TimedOut.into()) }.boxed()
    }
}

async fn say(client: &Client) -> Result<Bytes, Status> {
    call(client.clone(), "/echo.Echo/Say", Bytes::from_static(b"ah")).await
}

/// Says something until this server has heard something new.
async fn say_until_heard(client: &Client, running: &Running) {
    let before = running.heard();
    wait_until("a call at the new endpoint", SOON, async || {
        say(client).await.expect("an answer");
        running.heard() > before
    })
    .await
    .expect("it is asked");
}

#[tokio::test]
async fn endpoints_that_a_name_gains_are_asked_and_calls_at_those_it_loses_finish() {
    let (old, new) = (
        serve(Default::default()).await,
        serve(Default::default()).await,
    );
    let hand = Hand::of([old.address]);
    let client = hand.client();
    let held = tokio::spawn(call(client.clone(), "/echo.Echo/Held", Bytes::new()));
    wait_until("the call at the old one", SOON, async || old.heard() == 1)
        .await
        .expect("asked");
    hand.now(Some(vec![new.address]));
    say_until_heard(&client, &new).await;
    let heard = old.heard();
    for _ in 0..20 {
        say(&client).await.expect("an answer");
    }
    assert_eq!(old.heard(), heard, "nobody asks one that is gone");
    old.gate.add_permits(1);
    held.await.expect("no panic").expect("it may finish");
    // Its connection goes with the last of its calls: else the server would wait for it.
    old.end().await;
    new.end().await;
}

#[tokio::test]
async fn each_endpoint_can_be_asked_by_itself_and_no_other_answers_for_one_that_is_away() {
    let (one, other) = (
        serve(Default::default()).await,
        serve(Default::default()).await,
    );
    let hand = Hand::of([one.address, other.address]);
    let client = hand.client();
    let each = client.each().await;
    assert_eq!(each.len(), 2);
    for (address, way) in &each {
        let asked = [&one, &other].map(|running| (running.address, running.heard()));
        say(way).await.expect("an answer");
        for (running, (of, before)) in [&one, &other].into_iter().zip(asked) {
            let heard = running.heard() - before;
            assert_eq!(heard, usize::from(of == *address), "{address} was asked");
        }
    }
    let gone = one.address;
    one.end().await;
    let heard = other.heard();
    for (address, way) in &each {
        let code = say(way).await.err().map(|status| status.code());
        let expected = (*address == gone).then_some(Code::Unavailable);
        assert_eq!(code, expected, "{address}");
    }
    assert_eq!(other.heard(), heard + 1);
    hand.now(Some(vec![other.address]));
    wait_until("one endpoint", SOON, async || {
        client.each().await.len() == 1
    })
    .await
    .expect("the other is gone");
}

#[tokio::test]
async fn an_endpoint_that_dies_costs_no_call_and_comes_back_when_it_answers() {
    let (stays, dies) = (
        serve(Default::default()).await,
        serve(Default::default()).await,
    );
    let hand = Hand::of([stays.address, dies.address]);
    let client = hand.client();
    say_until_heard(&client, &dies).await;
    let address = dies.address;
    dies.end().await;
    for _ in 0..50 {
        say(&client).await.expect("an answer of the other one");
    }
    let again = serve_at(address, Default::default()).await;
    // The question whether it is there is none of the echo's calls.
    say_until_heard(&client, &again).await;
    stays.end().await;
    again.end().await;
}

#[tokio::test]
async fn one_that_says_that_it_is_not_ready_is_not_asked_though_it_is_there() {
    let (stays, shy) = (
        serve(Default::default()).await,
        serve(Default::default()).await,
    );
    let gate = shy.readiness.gate("database", "not opened yet");
    let hand = Hand::of([stays.address]);
    let client = hand.client();
    say(&client).await.expect("an answer");
    hand.now(Some(vec![stays.address, shy.address]));
    hand.asked_again().await;
    for _ in 0..50 {
        say(&client).await.expect("an answer");
    }
    assert_eq!(shy.heard(), 0);
    gate.open();
    say_until_heard(&client, &shy).await;
    stays.end().await;
    shy.end().await;
}

#[tokio::test]
async fn no_answer_and_an_empty_one_keep_the_last_known_endpoints() {
    let running = serve(Default::default()).await;
    let hand = Hand::of([running.address]);
    let client = hand.client();
    say(&client).await.expect("an answer");
    for silence in [None, Some(Vec::new())] {
        hand.now(silence);
        hand.asked_again().await;
        say(&client).await.expect("an answer");
    }
    running.end().await;
}

#[tokio::test]
async fn calls_wait_for_the_first_answer_of_their_name_and_no_longer() {
    let running = serve(Default::default()).await;
    let hand = Hand::of([]);
    let client = hand.client();
    let error = say(&client).await.expect_err("nobody is known");
    assert_eq!(error.code(), Code::Unavailable);
    hand.now(Some(vec![running.address]));
    wait_until("an endpoint", SOON, async || say(&client).await.is_ok())
        .await
        .expect("the name is looked up again");
    running.end().await;
}

#[tokio::test]
async fn of_what_a_name_has_only_so_much_is_taken() {
    let many = (0..400_u32).map(|n| SocketAddr::from((Ipv4Addr::from_bits(0x7f01_0000 + n), 9)));
    let hand = Hand::of(many);
    let client = hand.client();
    let shown = || format!("{client:?}").matches("127.1.").count();
    wait_until("endpoints", SOON, async || shown() > 0)
        .await
        .expect("found");
    assert_eq!(shown(), 256);
}

#[tokio::test]
async fn the_endpoint_with_fewer_calls_under_way_is_asked() {
    let (busy, idle) = (
        serve(Default::default()).await,
        serve(Default::default()).await,
    );
    let hand = Hand::of([busy.address]);
    let client = hand.client();
    let held: Vec<_> = (0..4)
        .map(|_| tokio::spawn(call(client.clone(), "/echo.Echo/Held", Bytes::new())))
        .collect();
    wait_until("calls under way", SOON, async || busy.heard() == 4)
        .await
        .expect("asked");
    hand.now(Some(vec![busy.address, idle.address]));
    say_until_heard(&client, &idle).await;
    let heard = busy.heard();
    for _ in 0..50 {
        say(&client).await.expect("an answer");
    }
    assert_eq!(busy.heard(), heard);
    busy.gate.add_permits(4);
    for held in held {
        held.await.expect("no panic").expect("an answer");
    }
    busy.end().await;
    idle.end().await;
}

/// Callers that go on until they are told, and the number of calls that they made; every one of
/// which must go well.
async fn under_calls(client: &Client, work: impl Future<Output = ()>) -> usize {
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let callers = (0..16).map(|_| async {
        while !stop.load(Ordering::Relaxed) {
            say(client).await.expect("no call fails");
            made.fetch_add(1, Ordering::Relaxed);
        }
    });
    let work = async {
        work.await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all(callers), work);
    made.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_end_under_calls_fail_none_and_each_call_is_made_once() {
    let first = serve(Default::default()).await;
    let hand = Hand::of([first.address]);
    let client = hand.client();
    let (mut heard, mut last) = (0, None);
    let made = under_calls(&client, async {
        let mut old = first;
        for _ in 0..8 {
            let new = serve(Default::default()).await;
            hand.now(Some(vec![old.address, new.address]));
            wait_until("the new one is asked", SOON, async || new.heard() > 10)
                .await
                .expect("asked");
            // It is still among the name's addresses, as it is with a slow DNS.
            let count = old.heard.clone();
            old.end().await;
            heard += count.load(Ordering::Relaxed);
            old = new;
        }
        last = Some(old);
    })
    .await;
    let last = last.expect("one is left");
    assert_eq!(heard + last.heard(), made);
    last.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_by_age_fail_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let heard = Arc::new(AtomicUsize::new(0));
    let echo = Echo {
        gate: Arc::new(Semaphore::new(0)),
        heard: heard.clone(),
    };
    let server = tonic::transport::Server::builder()
        .max_connection_age(Duration::from_millis(100))
        .add_service(echo)
        .serve_with_incoming(accepted(listener));
    let server = tokio::spawn(server);
    // The only endpoint: there is no other to go to.
    let client = Hand::of([address]).client();
    let made = under_calls(&client, async {
        let past = tokio::time::Instant::now() + Duration::from_millis(600);
        tokio::time::sleep_until(past).await;
    })
    .await;
    // Health is not served here, and asked for at each new connection.
    assert_eq!(heard.load(Ordering::Relaxed), made);
    assert!(made > 30, "{made} calls are too few to meet an end");
    server.abort();
}

fn accepted(
    listener: TcpListener,
) -> impl futures_util::Stream<Item = io::Result<Lingering<tokio::net::TcpStream>>> {
    futures_util::stream::unfold(listener, |listener| async {
        let accepted = listener
            .accept()
            .await
            .map(|(stream, _)| Lingering::new(stream));
        Some((accepted, listener))
    })
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_not_made_again_as_nobody_knows_what_became_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let breaking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut some = [0; 1024];
        let mut read = 0;
        // What comes before a call is shorter than the call.
        while read < 4096 {
            read += stream.read(&mut some).await.expect("bytes");
        }
    });
    let other = serve(Default::default()).await;
    let hand = Hand::of([address]);
    let client = hand.client();
    let asked = tokio::spawn({
        let client = client.clone();
        async move { call(client, "/echo.Echo/Say", vec![7; 8192].into()).await }
    });
    breaking.await.expect("a call came");
    hand.now(Some(vec![other.address]));
    let error = asked.await.expect("no panic").expect_err("it is not known");
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(other.heard(), 0);
    other.end().await;
}

#[tokio::test]
async fn the_systems_own_names_are_found() {
    let running = serve(server::Limits::default()).await;
    // Where the name has an address of IPv6 as well, nobody listens there.
    let address = format!("http://localhost:{}", running.address.port());
    let client = Client::new("--echo", &address, Limits::default()).expect("a name");
    for _ in 0..10 {
        say(&client).await.expect("an answer");
    }
    running.end().await;
}

#[tokio::test]
async fn a_file_of_addresses_is_followed() {
    let (one, two) = (
        serve(Default::default()).await,
        serve(Default::default()).await,
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("peers");
    std::fs::write(&path, format!("{}\n", one.address)).expect("written");
    let address = format!("file://{}", path.display());
    let client = Client::new("--echo", &address, Limits::default()).expect("a file");
    say(&client).await.expect("an answer");
    std::fs::write(&path, format!("{}\n\n{}\n", one.address, two.address)).expect("written");
    say_until_heard(&client, &two).await;
    // What cannot be read changes nothing.
    std::fs::write(&path, "nonsense\n").expect("written");
    say_until_heard(&client, &one).await;
    one.end().await;
    two.end().await;
}
