//! `larder healthcheck`: whether a process of this machine is ready, for who can only run a command,
//! as Compose and Docker do. The image has no shell and no other program.
//!
//! It asks the port of health checks, where there is one: an admin port that speaks TLS would want to be
//! known. That answers yes or no; the admin port also says why.

use anyhow::{Context as _, bail};
use clap::Args;
use larder_runtime::config::{Logging, Shown, listen_address};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The most that is read of an answer: a line of status, headers, and a few reasons.
const MOST_BYTES: u64 = 16 << 10;

/// The settings of `larder healthcheck`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The admin port that is asked: `host:port`, or `:port` for this machine.
    #[arg(
        long,
        env = "METRICS_ADDR",
        value_name = "ADDR",
        value_parser = listen_address,
        required_unless_present = "health_addr"
    )]
    addr: Option<SocketAddr>,
    /// The port of health checks, written in the same way; where it is said, it is asked instead.
    #[arg(long, env = "LARDER_HEALTH_ADDR", value_name = "ADDR", value_parser = listen_address)]
    health_addr: Option<SocketAddr>,
    /// Milliseconds that the answer may take.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    timeout_ms: u64,
    /// Asks only whether the process answers at all, and not whether it should get calls.
    #[arg(long)]
    live: bool,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, and end.
    #[arg(long)]
    pub print_config: bool,
}

impl Settings {
    /// The settings as they are understood.
    pub fn shown(&self) -> Shown {
        let shown = |addr: Option<SocketAddr>| addr.map_or("none".to_owned(), |a| a.to_string());
        Shown::default()
            .line("addr", shown(self.addr))
            .line("health-addr", shown(self.health_addr))
            .line("timeout-ms", self.timeout_ms)
            .line("live", self.live)
    }
}

/// Asks once; an error where the answer is no, says why not, or does not come.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let limit = Duration::from_millis(settings.timeout_ms);
    let addr = settings.health_addr.or(settings.addr);
    let addr = here(addr.context("--addr (METRICS_ADDR) is missing")?);
    let asked = async {
        match settings.health_addr {
            Some(_) => over_grpc(addr, settings.live).await,
            None => over_http(addr, settings.live).await,
        }
    };
    let asked = tokio::time::timeout(limit, asked).await;
    asked.with_context(|| format!("{addr} has not answered within {limit:?}"))?
}

/// Who listens everywhere is asked here: the variables are what the process itself was told.
fn here(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr.is_ipv4() {
            true => Ipv4Addr::LOCALHOST.into(),
            false => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}

async fn over_grpc(addr: SocketAddr, live: bool) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(format!("http://{addr}"))?;
    let channel = channel.connect().await;
    let channel = channel.with_context(|| format!("{addr} cannot be reached"))?;
    let service = if live { "liveness" } else { "readiness" };
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await;
    let answer = answer.with_context(|| format!("{addr} does not answer health checks"))?;
    match answer.into_inner().status == ServingStatus::Serving as i32 {
        true => Ok(()),
        false => bail!("{service}: no; the process's log says why"),
    }
}

async fn over_http(addr: SocketAddr, live: bool) -> anyhow::Result<()> {
    let path = if live { "/live" } else { "/ready" };
    let answer = ask(addr, path).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        Some(status) => bail!("{path} answers {status}: {}", body.trim()),
        None => bail!("{addr} does not speak HTTP"),
    }
}

/// One request over a connection of its own, in plain HTTP/1.1.
async fn ask(addr: SocketAddr, path: &str) -> anyhow::Result<String> {
    let connected = TcpStream::connect(addr).await;
    let mut stream = connected.with_context(|| format!("{addr} cannot be reached"))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
