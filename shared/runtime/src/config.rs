//! The settings that every process has: flag, then environment, then default.
//!
//! A binary flattens [`Common`] into its own parser and parses once, before anything is opened;
//! nothing else reads the environment. What cannot be understood stops the start with the name
//! of its setting.

use clap::{Args, ValueEnum};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

mod address;
mod connecting;
mod exporting;
mod guarding;
mod limiting;
mod migrating;
mod network;
mod quota;
mod redis_tls;
mod sealing;
mod seams;
mod serving;
mod shown;

pub use address::{Address, Secret};
pub use connecting::Connecting;
pub use exporting::{Exporting, Protocol, Sampler};
pub use guarding::{Certificates, Guarding, Name, NotName, Operators};
pub use limiting::{Away, Limiting, Trusted};
pub use migrating::{Migrate, Migrating};
pub use network::{Network, NotNetwork};
pub use quota::{NotQuota, Quota};
pub use redis_tls::{RedisPem, RedisTls, Unreadable};
pub use sealing::{NoSealKey, Sealing};
pub use seams::{Embedded, Error, Seams};
pub use serving::Serving;
pub use shown::Shown;
use shown::word;

/// Everything that every service's process can be told.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// What is behind the two seams.
    #[command(flatten)]
    pub seams: Seams,
    /// By what it is known, and whom it believes.
    #[command(flatten)]
    pub certificates: Certificates,
    /// Who may call it.
    #[command(flatten)]
    pub guarding: Guarding,
    /// Who may look into it.
    #[command(flatten)]
    pub operators: Operators,
    /// How it serves and how it ends.
    #[command(flatten)]
    pub serving: Serving,
    /// What it does beside its answers.
    #[command(flatten)]
    pub upkeep: Upkeep,
    /// How often somebody may ask.
    #[command(flatten)]
    pub limiting: Limiting,
    /// Who brings its tables up to date.
    #[command(flatten)]
    pub migrating: Migrating,
    /// What its entries and hints are sealed with.
    #[command(flatten)]
    pub sealing: Sealing,
    /// What it logs.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// Where a process listens.
#[derive(Args, Clone, Debug)]
pub struct Listen {
    /// Address of gRPC: `host:port`, or `:port` for every interface [default: the service's own
    /// port on loopback].
    #[arg(long, env = "GRPC_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub grpc_addr: Option<SocketAddr>,
    /// Address of the admin port, written in the same way; LARDER_ADMIN_ADDR is read too.
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDR", value_parser = listen_address)]
    pub admin_addr: Option<SocketAddr>,
    /// Only here so that its variable is read.
    #[arg(long, env = "LARDER_ADMIN_ADDR", value_parser = listen_address, hide = true)]
    pub larder_admin_addr: Option<SocketAddr>,
}

/// What a process does beside its answers.
#[derive(Args, Clone, Copy, Debug)]
pub struct Upkeep {
    /// Cached copies that each process compares with the source in a second, to find those that
    /// are wrong; 0 for none.
    #[arg(
        long,
        env = "LARDER_COMPARE_PER_SECOND",
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(0..=1000)
    )]
    pub compare_per_second: u32,
    /// Seconds that a start may take to bring what other replicas read most into memory before it is
    /// ready; 0 for a cold start, and for not telling others.
    #[arg(
        long,
        env = "LARDER_WARM_SECONDS",
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(0..=60)
    )]
    pub warm_seconds: u32,
}

impl Upkeep {
    /// How often one copy is compared; `None` for never.
    pub fn compare_every(&self) -> Option<Duration> {
        Duration::from_secs(1).checked_div(self.compare_per_second)
    }

    /// How long a start may warm; `None` for not at all.
    pub fn warm(&self) -> Option<Duration> {
        (self.warm_seconds > 0).then(|| Duration::from_secs(self.warm_seconds.into()))
    }
}

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
pub struct Logging {
    /// How log lines look.
    #[arg(long, env = "LARDER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Which lines are logged: `info,larder=debug`.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Where traces and metrics are sent.
    #[command(flatten)]
    pub exporting: Exporting,
}

impl Logging {
    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let shown = shown
            .line("log-format", word(self.log_format))
            .line("log", &self.log);
        self.exporting.show(shown)
    }
}

/// How log lines look.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For a person.
    Human,
    /// One JSON object to a line.
    Json,
}

impl Listen {
    /// The address of gRPC, with this port on loopback as the default.
    pub fn grpc(&self, port: u16) -> SocketAddr {
        self.grpc_addr.unwrap_or(loopback(port))
    }

    /// The address of the admin port, with this port on loopback as the default.
    pub fn admin(&self, port: u16) -> SocketAddr {
        self.admin_addr
            .or(self.larder_admin_addr)
            .unwrap_or(loopback(port))
    }
}

impl Common {
    /// The settings as they are understood, secrets starred; a service with settings of its own
    /// adds them with [`Shown::line`]. The ports are the defaults of this service.
    pub fn shown(&self, grpc_port: u16, admin_port: u16) -> Shown {
        let shown = Shown::default()
            .line("grpc-addr", self.listen.grpc(grpc_port))
            .line("admin-addr", self.listen.admin(admin_port))
            .line("remote", &self.seams.remote);
        let shown = (self.seams.redis_tls.show(shown))
            .line("database", &self.seams.database)
            .line("embedded", word(self.seams.embedded));
        let shown = self.migrating.show(shown);
        let shown = (self.serving.show(shown))
            .line("compare-per-second", self.upkeep.compare_per_second)
            .line("warm-seconds", self.upkeep.warm_seconds);
        let shown = self.certificates.show(shown);
        let shown = self.operators.show(self.guarding.show(shown));
        self.logging
            .show(self.sealing.show(self.limiting.show(shown)))
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// `host:port` with a numeric host or `localhost`, or `:port`; for the command line.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.split_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    full.parse()
        .map_err(|_| "expected host:port, with a numeric host, or :port".to_owned())
}

#[cfg(test)]
mod tests;
