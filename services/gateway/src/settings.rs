//! What the gateway's process can be told.

use crate::backends::{Addresses, Backends};
use crate::{Parts, pages};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use larder::remote;
use larder_runtime::config::{Address, Embedded, Logging, Serving, Shown, listen_address};
use larder_runtime::listen::{self, listen};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// Everything that the gateway's process can be told.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where the services are.
    #[command(flatten)]
    pub services: Addresses,
    /// The shared tier: `hub:` inside this process, or Redis, as the services write it.
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        default_value = "hub:",
        hide_env_values = true
    )]
    pub remote: Address,
    /// Whether the shared tier may be embedded in this process; with `deny` the start fails if it is.
    #[arg(long, env = "LARDER_EMBEDDED", value_enum, default_value_t = Embedded::Allow)]
    pub embedded: Embedded,
    /// How pages name themselves, and how long others may keep them.
    #[command(flatten)]
    pub pages: pages::Settings,
    /// How it serves and how it ends.
    #[command(flatten)]
    pub serving: Serving,
    /// What it logs.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// Where the gateway listens.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// Address of HTTP: `host:port`, or `:port` for every interface [default: port 8080 on
    /// loopback].
    #[arg(long, env = "HTTP_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub http_addr: Option<SocketAddr>,
    /// Address of the admin port, written in the same way; LARDER_ADMIN_ADDR is read too.
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub admin_addr: Option<SocketAddr>,
    /// Only here so that its variable is read.
    #[arg(long, env = "LARDER_ADMIN_ADDR", value_parser = listen_address, hide = true)]
    pub larder_admin_addr: Option<SocketAddr>,
}

impl Listen {
    /// The addresses of HTTP and of the admin port, with these ports on loopback as the defaults.
    pub fn addresses(&self, http: u16, admin: u16) -> (SocketAddr, SocketAddr) {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let told = self.admin_addr.or(self.larder_admin_addr);
        (
            self.http_addr.unwrap_or(loopback(http)),
            told.unwrap_or(loopback(admin)),
        )
    }

    /// Takes both ports.
    pub async fn take(
        &self,
        http: u16,
        admin: u16,
    ) -> Result<(TcpListener, TcpListener), listen::Error> {
        let (http, admin) = self.addresses(http, admin);
        Ok((
            listen("--http-addr (HTTP_ADDR)", http).await?,
            listen("--admin-addr", admin).await?,
        ))
    }
}

impl Settings {
    /// Fails where settings contradict each other. To be called before anything is opened,
    /// on a tokio runtime.
    pub fn check(&self) -> Result<()> {
        if self.embedded == Embedded::Deny && self.remote.scheme() == "hub" {
            bail!(
                "--remote (REDIS_URL) is {}, which is embedded, and --embedded (LARDER_EMBEDDED) \
                 is deny",
                self.remote
            );
        }
        Backends::new(&self.services)?;
        Ok(())
    }

    /// What the gateway is made of. Opens the remote tier, which need not be there. Must be called
    /// on a tokio runtime.
    pub fn parts(&self) -> Result<Parts> {
        let remote = remote::open(self.remote.expose());
        Ok(Parts {
            backends: Backends::new(&self.services)?,
            remote: remote.context("--remote (REDIS_URL) cannot be used")?,
            limits: self.serving.limits(),
            pages: self.pages.clone(),
        })
    }

    /// The settings as they are understood; the ports are the defaults.
    pub fn shown(&self, http: u16, admin: u16) -> Shown {
        let (http, admin) = self.listen.addresses(http, admin);
        let word = |text: String| text.to_lowercase();
        Shown::default()
            .line("http-addr", http)
            .line("admin-addr", admin)
            .line("profiles", &self.services.profiles)
            .line("products", &self.services.products)
            .line("comments", &self.services.comments)
            .line("reports", &self.services.reports)
            .line("remote", &self.remote)
            .line("embedded", word(format!("{:?}", self.embedded)))
            .line("public-url", self.pages.site(http))
            .line("currency", self.pages.currency.as_str())
            .line("page-max-age-seconds", self.pages.page_max_age_seconds)
            .line("page-stale-seconds", self.pages.page_stale_seconds)
            .line("drain-seconds", self.serving.drain_seconds)
            .line("settle-seconds", self.serving.settle_seconds)
            .line("max-calls", self.serving.max_calls)
            .line("call-timeout-ms", self.serving.call_timeout_ms)
            .line("log-format", word(format!("{:?}", self.logging.log_format)))
            .line("log", &self.logging.log)
    }
}
