//! `larder up`: the whole suite in this process, until it is asked to end.

use crate::output::Output;
use crate::services::{self, Kind, Ports, Seams, Suite};
use clap::Args;
use larder_gateway::HTTP_PORT;
use larder_gateway::settings::Options;
use larder_runtime::config::{self, Logging, Sealing, Serving, Shown, Upkeep};
use larder_runtime::shutdown;
use serde::Serialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;

/// The settings of `larder up`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Replicas of each service.
    #[arg(long, env = "LARDER_REPLICAS", value_name = "N", default_value_t = 2,
        value_parser = services::replicas())]
    replicas: u8,
    /// Moves all ports: gRPC is at 7s0r and the admin port at 9s0r for replica r of service s
    /// (1 profiles, 2 products, 3 comments, 4 reports).
    #[arg(
        long,
        env = "LARDER_PORT_OFFSET",
        value_name = "N",
        default_value_t = 0
    )]
    port_offset: u16,
    /// What is behind the two seams.
    #[command(flatten)]
    seams: config::Seams,
    /// What entries and hints are sealed with.
    #[command(flatten)]
    sealing: Sealing,
    /// What the gateway offers, and to whom.
    #[command(flatten)]
    gateway: Options,
    /// How it serves and how it ends.
    #[command(flatten)]
    serving: Serving,
    /// What it does beside its answers.
    #[command(flatten)]
    upkeep: Upkeep,
    /// How the addresses are printed.
    #[arg(long, env = "LARDER_OUTPUT", value_enum, default_value_t = Output::Human)]
    output: Output,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

impl Settings {
    /// The settings as they are understood.
    pub fn shown(&self) -> Shown {
        let shown = Shown::default()
            .line("replicas", self.replicas)
            .line("port-offset", self.port_offset)
            .line("remote", &self.seams.remote);
        let shown = self.sealing.show(self.seams.redis_tls.show(shown));
        let shown = shown.line("database", &self.seams.database).line(
            "embedded",
            format!("{:?}", self.seams.embedded).to_lowercase(),
        );
        let port = HTTP_PORT.saturating_add(self.port_offset);
        let shown = self
            .gateway
            .shown(shown, (Ipv4Addr::LOCALHOST, port).into());
        let shown = (self.serving.show(shown))
            .line("compare-per-second", self.upkeep.compare_per_second)
            .line("warm-seconds", self.upkeep.warm_seconds);
        self.logging.show(shown)
    }
}

/// Runs the suite until it is asked to end, or cannot go on.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    settings.seams.check()?;
    settings.gateway.check()?;
    let config::Seams {
        remote,
        redis_tls,
        database,
        ..
    } = &settings.seams;
    let seams = Seams::new(remote, database.clone(), redis_tls, &settings.sealing)?;
    let (ports, limits) = (
        Ports::Offset(settings.port_offset),
        settings.serving.limits(),
    );
    let (replicas, upkeep, gateway) = (settings.replicas, settings.upkeep, &settings.gateway);
    let mut asked = pin!(shutdown::requested());
    let start = Suite::start(&seams, replicas, ports, limits, upkeep, gateway);
    // Listened to from the beginning: a start takes its time on a busy machine.
    let mut suite = tokio::select! {
        biased;
        asked = &mut asked => return Ok(asked?),
        suite = start => suite?,
    };
    let outcome = tokio::select! {
        asked = &mut asked => asked.map_err(Into::into),
        error = serve(&mut suite, &settings) => Err(error),
    };
    tokio::select! {
        () = suite.end() => outcome,
        // Asked once more, it does not wait for calls that are under way.
        _ = shutdown::requested() => outcome,
    }
}

/// Says where everything is once it is ready, and goes on until something cannot.
async fn serve(suite: &mut Suite, settings: &Settings) -> anyhow::Error {
    if let Err(error) = suite.ready().await {
        return error;
    }
    let rows = suite.running().iter().map(|running| Row {
        service: running.kind,
        replica: running.replica,
        grpc: running.grpc,
        admin: running.admin,
    });
    let table = Table {
        replicas: rows.collect(),
        gateway: suite.front().map(|front| FrontRow {
            http: front.http,
            admin: front.admin,
        }),
        remote: settings.seams.remote.to_string(),
        database: settings.seams.database.to_string(),
    };
    if let Err(error) = settings.output.print(&table) {
        return error;
    }
    suite.failure().await
}

/// Where everything is.
#[derive(Serialize)]
struct Table {
    replicas: Vec<Row>,
    gateway: Option<FrontRow>,
    remote: String,
    database: String,
}

#[derive(Serialize)]
struct Row {
    service: Kind,
    replica: u8,
    grpc: SocketAddr,
    admin: SocketAddr,
}

#[derive(Serialize)]
struct FrontRow {
    http: SocketAddr,
    admin: SocketAddr,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {:>7}  {:<21}  admin",
            "service", "replica", "gRPC"
        )?;
        for row in &self.replicas {
            let service = format!("{:?}", row.service).to_lowercase();
            let (replica, grpc, admin) = (row.replica, row.grpc, row.admin);
            writeln!(f, "{service:<10} {replica:>7}  {grpc:<21}  http://{admin}")?;
        }
        if let Some(FrontRow { http, admin }) = &self.gateway {
            let http = format!("http://{http}");
            writeln!(f, "{:<18}  {http:<21}  http://{admin}", "gateway")?;
        }
        writeln!(f, "remote tier {}, database {}", self.remote, self.database)?;
        writeln!(f, "ready; Ctrl-C ends it")
    }
}
