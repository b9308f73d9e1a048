//! What traces cost a call that is answered from memory: the processor time of the server, in turns of
//! one run, without an endpoint for them and with one trace in a hundred recorded and sent.
//!
//! `cargo bench -p larder-suite --bench traced [-- --before PATH]` (Linux: processor time is read from
//! /proc). With a `larder` from before there were traces it also says what it costs that there could be.

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::join_all;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::products::v1::{CreateProductRequest, GetProductRequest, Product};
use larder_testkit::port::Port;
use larder_testkit::wait_until;
use larder_tests::collector::Collector;
use larder_tests::metrics;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const CALLERS: usize = 64;
/// Calls of a turn: short turns, so that a pair of them sees the same machine.
const CALLS: usize = 6_400;
const ROUNDS: usize = 300;
const SOON: Duration = Duration::from_secs(30);
/// Bytes that a server may have under way.
const WINDOW: u32 = 1 << 20;

/// A products service of its own, on a core of its own.
struct Server {
    child: Child,
    channel: Channel,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start(binary: &str, env: &[(&str, &str)]) -> Result<Self> {
        let (folder, grpc, admin) = (tempfile::tempdir()?, Port::reserve()?, Port::reserve()?);
        let database = format!("sqlite://{}", folder.path().display());
        let child = Command::new("taskset")
            .args(["--cpu-list", "0", binary, "serve", "products"])
            .args(["--database", &database, "--remote", "hub:", "--log", "warn"])
            .args(["--grpc-addr", &grpc.address().to_string()])
            .args(["--admin-addr", &admin.address().to_string()])
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .context("taskset, of util-linux")?;
        let endpoint = Endpoint::from_shared(format!("http://{}", grpc.address()))?;
        let channel = endpoint
            .tcp_nodelay(true)
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW)
            .connect_lazy();
        let server = Self {
            child,
            channel,
            _folder: folder,
        };
        wait_until("it is ready", SOON, async || {
            let ready = metrics::get(admin.address(), "/ready").await;
            ready.is_ok_and(|(status, _)| status == 200)
        })
        .await?;
        server.fill().await?;
        Ok(server)
    }

    /// One product of some 300 bytes, in memory.
    async fn fill(&self) -> Result<()> {
        let mut client = ProductServiceClient::new(self.channel.clone());
        let product = Product {
            id: "tea".to_owned(),
            title: "Tea".to_owned(),
            description: "d".repeat(250),
            category: "drinks".to_owned(),
            price_cents: 350,
            ..Product::default()
        };
        let request = CreateProductRequest {
            product: Some(product),
        };
        client.create_product(request).await?;
        wait_until("it is answered from memory", SOON, async || {
            let request = GetProductRequest {
                id: "tea".to_owned(),
            };
            let answer = client.clone().get_product(request).await;
            answer.is_ok_and(|answer| {
                let source = answer.metadata().get("larder-source");
                source.is_some_and(|source| source == "l1")
            })
        })
        .await
    }

    /// Processor time so far in nanoseconds, of all its threads.
    fn processor(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread that has ended since has no file.
            let stat = std::fs::read_to_string(thread?.path().join("schedstat"));
            let stat = stat.unwrap_or_default();
            let ran = stat.split_whitespace().next().unwrap_or("0");
            sum += ran.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Processor time of a call in microseconds, with many callers on one connection.
    async fn crowd(&self) -> Result<f64> {
        let before = self.processor()?;
        let callers = (0..CALLERS).map(|_| {
            let mut client = ProductServiceClient::new(self.channel.clone());
            tokio::spawn(async move {
                for _ in 0..CALLS / CALLERS {
                    let request = GetProductRequest {
                        id: "tea".to_owned(),
                    };
                    client.get_product(request).await?;
                }
                Ok::<_, tonic::Status>(())
            })
        });
        for caller in join_all(callers).await {
            caller??;
        }
        Ok(self.processor()?.saturating_sub(before) as f64 / 1e3 / CALLS as f64)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let before = arguments.iter().position(|argument| argument == "--before");
    let before = before.and_then(|at| arguments.get(at + 1));
    keep_off_the_servers_core()?;
    let collector = Collector::start().await?;
    let endpoint = collector.endpoint();
    let sampled = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
    ];
    let off = Server::start(LARDER, &[]).await?;
    let on = Server::start(LARDER, &sampled).await?;
    let before = match before {
        Some(binary) => Some(Server::start(binary, &[]).await?),
        None => None,
    };
    let servers: Vec<_> = [&off, &on].into_iter().chain(&before).collect();
    let mut turns = Vec::new();
    for round in 0..ROUNDS {
        let mut took = vec![0.0; servers.len()];
        // Each is as often the first as any other.
        for turn in 0..servers.len() {
            let server = (round + turn) % servers.len();
            took[server] = servers[server].crowd().await?;
        }
        turns.push(took);
    }
    ensure!(!collector.spans().is_empty(), "nothing was recorded");
    if before.is_some() {
        print("before and without an endpoint", &turns, 2, 0);
    }
    print(
        "without an endpoint and with one trace in 100",
        &turns,
        0,
        1,
    );
    Ok(())
}

/// The servers have a core of their own, and the callers have the others.
fn keep_off_the_servers_core() -> Result<()> {
    let others = format!("1-{}", std::thread::available_parallelism()?.get() - 1);
    let pinned = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &others])
        .arg(std::process::id().to_string())
        .stdout(Stdio::null())
        .status()?;
    if !pinned.success() {
        bail!("the callers could not be kept off the servers' core");
    }
    Ok(())
}

/// Medians, and between which ratios half of the rounds lie.
fn print(what: &str, turns: &[Vec<f64>], one: usize, other: usize) {
    let sorted = |numbers: &mut dyn Iterator<Item = f64>| {
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let middle = |server: usize| sorted(&mut turns.iter().map(|took| took[server]))[ROUNDS / 2];
    let ratios = sorted(&mut turns.iter().map(|took| took[other] / took[one]));
    println!(
        "{what}: {:.2} us and {:.2} us of processor per call; {ROUNDS} rounds, ratio {:.3} ({:.3} to \
         {:.3} in half of them)",
        middle(one),
        middle(other),
        ratios[ROUNDS / 2],
        ratios[ROUNDS / 4],
        ratios[ROUNDS / 4 * 3],
    );
}
