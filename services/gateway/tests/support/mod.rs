//! A gateway in this process, and what it answers as bytes on the wire.
#![allow(dead_code, reason = "each test file uses a part of it")]

use anyhow::{Context as _, Result};
use larder::remote::hub::Hub;
use larder_gateway::backends::{Addresses, Backends};
use larder_gateway::{Gateway, Parts};
use larder_runtime::server::Limits;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything is waited for.
pub const SOON: Duration = Duration::from_secs(15);

/// A gateway that runs.
pub struct Gate {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// A gateway without services behind it.
pub fn nowhere() -> Parts {
    // Nothing listens at port 1, and nobody may.
    let nobody = || "http://127.0.0.1:1".to_owned();
    parts(&Addresses {
        profiles: nobody(),
        products: nobody(),
        comments: nobody(),
        reports: nobody(),
    })
}

/// A gateway on these services.
pub fn parts(services: &Addresses) -> Parts {
    Parts {
        backends: Backends::new(services).expect("addresses"),
        remote: Hub::new(),
        limits: Limits::default(),
        pages: Default::default(),
    }
}

impl Gate {
    pub async fn start(parts: Parts) -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (http, admin) = (TcpListener::bind(any).await?, TcpListener::bind(any).await?);
        let gateway = Gateway::on(http, admin, parts);
        let (http, admin) = (gateway.http_address()?, gateway.admin_address()?);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(gateway.serve(async {
            let _ = stopped.await;
        }));
        Ok(Self {
            http,
            admin,
            stop,
            running,
        })
    }

    pub async fn stop(self) -> Result<()> {
        drop(self.stop);
        let ended = tokio::time::timeout(SOON, self.running).await;
        Ok(ended.context("it does not end")??)
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        ask(self.http, "GET", path, headers, "").await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        ask(self.http, method, path, headers, body).await
    }

    pub async fn metrics(&self) -> Result<String> {
        Ok(ask(self.admin, "GET", "/metrics", &[], "").await?.body)
    }
}

/// One request on a connection of its own, which the server is asked to close.
pub async fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: larder\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    raw(server, &format!("{head}\r\n{body}")).await
}

/// What comes back for these bytes.
pub async fn raw(server: SocketAddr, request: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await??;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    Ok(Answer {
        status: status.context("no status")?.parse()?,
        headers: lines.filter_map(header).collect(),
        body: body.to_owned(),
    })
}

impl Answer {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }
}
