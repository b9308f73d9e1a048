//! `larder healthcheck`: whether a process of this machine is ready, for who can only run a command,
//! as Compose and Docker do. The image has no shell and no other program.

use anyhow::{Context as _, bail};
use clap::Args;
use larder_runtime::config::{Logging, Shown, listen_address};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The most that is read of an answer: a line of status, headers, and a few reasons.
const MOST_BYTES: u64 = 16 << 10;

/// The settings of `larder healthcheck`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The admin port that is asked: `host:port`, or `:port` for this machine.
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDR", value_parser = listen_address)]
    addr: SocketAddr,
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
        Shown::default()
            .line("addr", self.addr)
            .line("timeout-ms", self.timeout_ms)
            .line("live", self.live)
    }
}

/// Asks once; an error where the answer is no, says why not, or does not come.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let limit = Duration::from_millis(settings.timeout_ms);
    let mut addr = settings.addr;
    // Who listens everywhere is asked here: METRICS_ADDR is what the service itself was told.
    if addr.ip().is_unspecified() {
        let here = match addr.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        addr.set_ip(here);
    }
    let path = if settings.live { "/live" } else { "/ready" };
    let asked = tokio::time::timeout(limit, ask(addr, path)).await;
    let answer = asked.with_context(|| format!("{addr} has not answered within {limit:?}"))??;
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
