//! What a limit costs: a request that passes, beside a bare GET on the same Redis, by one caller
//! and by many at once; and one that is refused because a refusal still holds, and how many
//! commands Redis saw of all that.
//!
//! `cargo bench -p larder-limit` (starts a redis-server of its own)

use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use larder::remote::{Rate, Remote, open};
use larder_limit::{Limiter, Limits, Settings, Subject, Verdict};
use larder_runtime::config::{Away, Limiting};
use larder_testkit::redis::Redis;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As in the suite.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;
const CALLS: usize = 4_000;
const REFUSALS: usize = 200_000;
const DAY: Duration = Duration::from_secs(86_400);

fn main() {
    let server = larder_testkit::redis::start().expect("redis-server");
    // One thread, so that what is measured is work and not where a task wakes up.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let remote = open(&server.url()).expect("an address");
        for callers in [1, 64] {
            for (whom, many) in [("one subject", false), ("a subject each", true)] {
                passing(&server, &remote, callers, whom, many).await;
            }
        }
        refused(&server, &remote).await;
    });
}

/// Scripts that were asked for, in either form.
fn commands(server: &Redis) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).expect("stats");
    let scripts = stats.lines().filter(|line| line.contains("cmdstat_eval"));
    let calls = |line: &str| line.split_once("calls=")?.1.split_once(',')?.0.parse().ok();
    scripts
        .map(calls)
        .map(|calls: Option<u64>| calls.unwrap_or(0))
        .sum()
}

fn subject(n: usize) -> Subject {
    Subject::address(IpAddr::V4(Ipv4Addr::from_bits(n as u32)))
}

fn limiter(remote: &Arc<dyn Remote>, rate: Rate) -> Limiter {
    let settings = Settings {
        namespace: "larder:bench".to_owned(),
        scope: "ip",
        rate,
        away: Away::Refuse,
    };
    Limiter::new(settings, remote.clone())
}

async fn passing(server: &Redis, remote: &Arc<dyn Remote>, callers: usize, whom: &str, many: bool) {
    let rate = Rate::new(100_000, Duration::from_secs(1), 1_000_000).expect("a rate");
    let limiter = limiter(remote, rate);
    // Scripts and connections are there before anything is timed.
    assert!(matches!(limiter.ask(subject(0)).await, Verdict::Passed(_)));
    let mut samples = Vec::new();
    let before = commands(server);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let gets = futures_util::stream::iter(0..CALLS);
        gets.for_each_concurrent(callers, async |n| {
            let key = [format!("bench:{n}")];
            black_box(remote.get(&key).await.expect("an answer"));
        })
        .await;
        let bare = began.elapsed();
        let began = Instant::now();
        let asked = futures_util::stream::iter(0..CALLS);
        asked
            .for_each_concurrent(callers, async |n| {
                let who = subject(if many { n } else { 0 });
                assert!(matches!(limiter.ask(who).await, Verdict::Passed(_)));
            })
            .await;
        samples.push((bare.as_secs_f64(), began.elapsed().as_secs_f64()));
    }
    samples.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (bare, ours) = samples[ROUNDS / 2];
    let micros = |seconds: f64| seconds * 1e6 / CALLS as f64;
    let calls = (commands(server) - before) as f64 / (ROUNDS * CALLS) as f64;
    println!(
        "passes, {callers} caller(s), {whom}: GET {:.1} us, limit {:.1} us, ratio {:.2}, {calls:.3} commands each",
        micros(bare),
        micros(ours),
        ours / bare
    );
}

async fn refused(server: &Redis, remote: &Arc<dyn Remote>) {
    let limiter = limiter(remote, Rate::new(1, DAY, 1).expect("a rate"));
    let who = subject(7);
    while matches!(limiter.ask(who).await, Verdict::Passed(_)) {}
    let settings = Limiting {
        rate_limit_ip: "1/d".parse().ok(),
        rate_limit_user: "1/d".parse().ok(),
        ..Limiting::default()
    };
    let limits = Limits::of(&settings, remote, "bench").expect("a rate");
    let limits = limits.expect("some limit");
    let token = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0";
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static(token));
    let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    while limits.admit(peer, &headers).await.is_ok() {}
    let before = commands(server);
    let (mut one, mut port) = (Vec::new(), Vec::new());
    let nanos = |began: Instant| began.elapsed().as_secs_f64() * 1e9 / REFUSALS as f64;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..REFUSALS {
            assert!(matches!(
                limiter.ask(black_box(who)).await,
                Verdict::Refused(_)
            ));
        }
        one.push(nanos(began));
        let began = Instant::now();
        for _ in 0..REFUSALS {
            assert!(limits.admit(peer, black_box(&headers)).await.is_err());
        }
        port.push(nanos(began));
    }
    one.sort_by(f64::total_cmp);
    port.sort_by(f64::total_cmp);
    println!(
        "refused here: one limit {:.0} ns; address and user with a token of {} bytes {:.0} ns; {} commands for {} refusals",
        one[ROUNDS / 2],
        token.len(),
        port[ROUNDS / 2],
        commands(server) - before,
        2 * ROUNDS * REFUSALS
    );
}
