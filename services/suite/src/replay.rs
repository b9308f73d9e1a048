//! `larder replay`: drives replicas of products with an access trace, and holds every answer
//! against what was known when it was asked for.
//!
//! Reading order: `plan.rs` says what is done, `drive.rs` does it through `../target.rs`,
//! `../history.rs` judges, `propagation.rs` watches writes arrive elsewhere, and `tally.rs` and
//! `report.rs` say what came of it.

mod drive;
mod plan;
mod propagation;
mod report;
mod tally;

use crate::output::Output;
use crate::progress::bar;
use crate::services::{Seams, Suite};
use crate::target::{Replica, Target};
use crate::{prepare, scrape, services, trace};
use anyhow::{Context as _, bail};
use clap::Args;
use drive::Drive;
use larder::Clock;
use larder_runtime::config::{Address, Logging, RedisTls, Sealing, Shown};
use larder_runtime::shutdown;
use plan::Plan;
use report::{Report, Run};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The settings of `larder replay`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The trace: keys of four bytes, most significant first, plain or packed by xz.
    file: PathBuf,
    /// Which part of the requests are writes.
    #[arg(long, env = "LARDER_WRITE_SHARE", value_name = "SHARE", default_value_t = 0.02,
        value_parser = share)]
    write_share: f64,
    /// Replicas of products that are started for the run.
    #[arg(long, env = "LARDER_REPLICAS", value_name = "N", default_value_t = 2,
        value_parser = services::replicas())]
    replicas: u8,
    /// Running replicas of products, by their gRPC ports and separated by commas: `host:port`.
    /// Then none are started. Their admin ports are taken to be 2000 above.
    #[arg(
        long,
        env = "LARDER_TARGETS",
        value_name = "ADDRS",
        value_delimiter = ','
    )]
    targets: Vec<Replica>,
    /// Only so many requests from the beginning of the trace.
    #[arg(long, env = "LARDER_LIMIT", value_name = "N")]
    limit: Option<usize>,
    /// Requests under way at once.
    #[arg(long, env = "LARDER_CONCURRENCY", value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,
    /// Which requests are writes and which replica each goes to: the same for the same seed.
    #[arg(long, env = "LARDER_SEED", value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Δ in milliseconds: an unmarked answer that is older fails the run. When it is given, the
    /// reads ask for it too; otherwise they ask for nothing, and it is the products' own.
    #[arg(long, env = "LARDER_MAX_STALENESS_MS", value_name = "N")]
    max_staleness_ms: Option<u64>,
    /// Every so-manieth write is watched until another replica shows it.
    #[arg(long, env = "LARDER_WATCH_EVERY", value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u64).range(1..))]
    watch_every: u64,
    /// The shared tier of the replicas that are started: see `larder up`.
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        default_value = "hub:",
        hide_env_values = true
    )]
    remote: Address,
    /// Whom they believe to be Redis.
    #[command(flatten)]
    redis_tls: RedisTls,
    /// What they seal entries and hints with.
    #[command(flatten)]
    sealing: Sealing,
    /// The database of the replicas that are started: see `larder up` [default: SQLite in a
    /// folder that is deleted afterwards].
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database: Option<Address>,
    /// How the report is printed.
    #[arg(long, env = "LARDER_OUTPUT", value_enum, default_value_t = Output::Human)]
    output: Output,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

/// Δ of the products' keyspace, and of every keyspace that says nothing else.
const DEFAULT_BOUND: Duration = Duration::from_secs(1);

/// How long the replicas may take to be ready.
const READY: Duration = Duration::from_secs(60);

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse::<f64>()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

impl Settings {
    /// The settings as they are understood.
    pub fn shown(&self) -> Shown {
        let targets: Vec<&str> = self.targets.iter().map(|target| &*target.grpc).collect();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        Shown::default()
            .line("file", self.file.display())
            .line("write-share", self.write_share)
            .line("replicas", self.replicas)
            .line(
                "targets",
                or_none((!targets.is_empty()).then(|| targets.join(","))),
            )
            .line("limit", or_none(self.limit.map(|limit| limit.to_string())))
            .line("concurrency", self.concurrency)
            .line("seed", self.seed)
            .line("max-staleness-ms", self.bound().as_millis())
            .line("watch-every", self.watch_every)
            .line("remote", &self.remote)
            .line(
                "database",
                self.database
                    .as_ref()
                    .map_or("a new one".into(), Address::to_string),
            )
            .line("log", &self.logging.log)
    }

    fn bound(&self) -> Duration {
        self.max_staleness_ms
            .map_or(DEFAULT_BOUND, Duration::from_millis)
    }
}

/// Replays, and fails if a promise was broken.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut keys = trace::read(&settings.file)?;
    keys.truncate(settings.limit.unwrap_or(usize::MAX));
    if keys.is_empty() {
        bail!("--limit leaves nothing to replay");
    }
    let report = if settings.targets.is_empty() {
        with_own_replicas(&settings, &keys).await?
    } else {
        let plan = settings.plan(&keys, settings.targets.len());
        let targets = settings.connect(&settings.targets)?;
        let ids = prepare::over_grpc(&targets, plan.products).await?;
        drive(&settings, plan, ids, targets, &settings.targets).await?
    };
    settings.output.print(&report)?;
    match report.complaint() {
        Some(complaint) => bail!("{complaint}"),
        None => Ok(()),
    }
}

/// Starts replicas on ports of their own choice, and ends them afterwards. The products are there
/// before, so that the caches are as cold as those of any process that starts.
async fn with_own_replicas(settings: &Settings, keys: &[u32]) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new()
        .prefix("larder-replay-")
        .tempdir()?;
    let database = match &settings.database {
        Some(database) => database.clone(),
        None => format!("sqlite://{}", folder.path().display()).parse()?,
    };
    let (tls, sealing) = (&settings.redis_tls, &settings.sealing);
    let seams = Seams::new(&settings.remote, database, tls, sealing)?;
    let plan = settings.plan(keys, settings.replicas.into());
    let ids = prepare::in_database(&seams, plan.products, settings.seed).await?;
    let mut suite = Suite::of_products(&seams, settings.replicas).await?;
    let replicas = suite.products();
    let targets = settings.connect(&replicas)?;
    let report = async {
        suite.ready_within(READY).await?;
        drive(settings, plan, ids, targets, &replicas).await
    };
    let report = report.await;
    suite.end().await;
    report
}

/// Drives these replicas through the plan.
async fn drive(
    settings: &Settings,
    plan: Plan,
    ids: Vec<String>,
    targets: Vec<Target>,
    replicas: &[Replica],
) -> anyhow::Result<Report> {
    let admins: Vec<SocketAddr> = replicas
        .iter()
        .filter_map(|replica| replica.admin)
        .collect();
    let (bound, clock, planned) = (settings.bound(), Clock::machine(), plan.order.len() as u64);
    let (products, replicas) = (plan.products, replicas.len());
    let progress = bar(planned, "replaying");
    let run = Drive::new(
        plan,
        ids,
        targets,
        bound,
        settings.watch_every,
        progress.clone(),
    );
    let before = scrape::all(&admins).await;
    let began = clock.now();
    let stop = async { _ = shutdown::requested().await };
    let tally = Arc::new(run).run(settings.concurrency.into(), stop).await;
    let took = clock.now().since(began);
    progress.finish_and_clear();
    let after = scrape::all(&admins).await;
    let counters = match (before, after) {
        (Ok(before), Ok(after)) if !admins.is_empty() => Some(after.since(before)),
        (before, after) => {
            let error = before.and(after).err();
            tracing::warn!(error = ?error, "the replicas' own counters are not in the report");
            None
        }
    };
    if tally.lost_workers > 0 {
        bail!(
            "{} of the workers did not come to their end",
            tally.lost_workers
        );
    }
    Ok(Report::new(
        &Run {
            products,
            replicas,
            took,
            bound,
            counters,
            planned,
        },
        tally,
    ))
}

impl Settings {
    fn plan(&self, keys: &[u32], replicas: usize) -> Plan {
        Plan::new(keys, replicas, self.write_share, self.seed)
    }

    fn connect(&self, replicas: &[Replica]) -> anyhow::Result<Vec<Target>> {
        let bound = self.max_staleness_ms.map(Duration::from_millis);
        let connect = |replica: &Replica| {
            let target = Target::new(replica, Clock::machine(), bound);
            target.with_context(|| format!("the address {}", replica.grpc))
        };
        replicas.iter().map(connect).collect()
    }
}
