//! A gateway in this process, and what it answers as bytes on the wire.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod world;

use anyhow::{Context as _, Result};
use larder::remote::hub::Hub;
use larder_gateway::backends::{Addresses, Backends};
use larder_gateway::{Gateway, Parts, access};
use larder_runtime::server::Limits;
pub use larder_testkit::http::{Answer, ask};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
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

/// A gateway without services behind it.
pub fn nowhere() -> Parts {
    // Nothing listens at port 1, and nobody may.
    Parts {
        backends: backends("http://127.0.0.1:1"),
        remote: Hub::new(),
        hook_secret: None,
        limits: Limits::default(),
        rates: None,
        pages: Default::default(),
        tls: None,
        access: access(&Default::default(), None).expect("nothing is set"),
    }
}

/// All services at this address.
pub fn backends(url: &str) -> Backends {
    let url = || url.to_owned();
    let addresses = Addresses {
        profiles: url(),
        products: url(),
        comments: url(),
        reports: url(),
        profiles_admin: url(),
        products_admin: url(),
        comments_admin: url(),
        reports_admin: url(),
    };
    Backends::new(&addresses).expect("addresses")
}

/// A gateway on these services.
pub fn parts(services: &Addresses) -> Parts {
    Parts {
        backends: Backends::new(services).expect("addresses"),
        remote: Hub::new(),
        hook_secret: None,
        limits: Limits::default(),
        rates: None,
        pages: Default::default(),
        tls: None,
        access: access(&Default::default(), None).expect("nothing is set"),
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

/// An answer that is JSON.
pub trait Json {
    /// It.
    fn json(&self) -> Result<serde_json::Value>;
}

impl Json for Answer {
    fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }
}
