//! The command line of `larder bench`.

use super::mix::Scenario;
use super::pace::Pace;
use super::report::Mode;
use crate::output::Output;
use crate::services;
use crate::target::{Replica, Target};
use anyhow::Context as _;
use clap::Args;
use larder::Clock;
use larder_runtime::config::{Address, Logging, RedisTls, Sealing, Shown};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Calls under way at once, unless the command line says otherwise: in a closed loop, and in an
/// open one, where they only must be enough.
const CALLERS: [u16; 2] = [16, 256];

/// The settings of `larder bench`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// What is measured, separated by commas: read-mostly has 5 % writes, storm 20 %.
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',',
        default_values_t = [Scenario::ReadMostly, Scenario::ReadOnly, Scenario::Storm])]
    pub scenarios: Vec<Scenario>,
    /// What is in front of the database: no cache, the shared tier alone, or memory too.
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',',
        default_values_t = [Mode::None, Mode::L2, Mode::Both])]
    modes: Vec<Mode>,
    /// Closed loop: so many callers, each of which waits for its answer. With --rate, the most
    /// calls under way [default: 16, or 256 with --rate].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    callers: Option<u16>,
    /// Open loop: so many requests a second, due at even times whatever the answers do. Latency
    /// counts from when they were due.
    #[arg(long, value_name = "PER_SECOND",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Products, the most popular first.
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub products: u32,
    /// How skewed their popularity is: the θ of a zipfian distribution, 0 for not at all.
    #[arg(long, value_name = "THETA", default_value_t = 0.99, value_parser = theta,
        allow_negative_numbers = true)]
    pub zipf: f64,
    /// Products in the order of an access trace instead: see `larder replay`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["zipf", "products"])]
    pub trace: Option<PathBuf>,
    /// Rounds in which every mode has its turn.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub rounds: u8,
    /// How long each turn is measured.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub seconds: f64,
    /// How long each turn is warmed up before.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub warm_up: f64,
    /// Each turn is over after so many requests, even before its time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Replicas of products that are started for each turn.
    #[arg(long, env = "LARDER_REPLICAS", value_name = "N", default_value_t = 2,
        value_parser = services::replicas())]
    replicas: u8,
    /// Running replicas of products, by their gRPC ports and separated by commas: `host:port`.
    /// Then none are started, and only the mode that they have is measured.
    #[arg(
        long,
        value_name = "ADDRS",
        value_delimiter = ',',
        conflicts_with = "modes"
    )]
    pub target: Vec<Replica>,
    /// What is asked: the same for the same seed.
    #[arg(long, env = "LARDER_SEED", value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The shared tier of the replicas that are started: see `larder up`.
    #[arg(
        long,
        env = "REDIS_URL",
        value_name = "URL",
        default_value = "hub:",
        hide_env_values = true
    )]
    pub remote: Address,
    /// Whom they believe to be Redis.
    #[command(flatten)]
    pub redis_tls: RedisTls,
    /// What they seal entries and hints with.
    #[command(flatten)]
    pub sealing: Sealing,
    /// The database of the replicas that are started: see `larder up` [default: SQLite in a
    /// folder that is deleted afterwards].
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database: Option<Address>,
    /// Writes a page with plots, which needs nothing beside itself.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Writes a small picture of the first scenario, as SVG.
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, env = "LARDER_OUTPUT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
    /// Print the settings as they are understood, secrets starred, and end.
    #[arg(long)]
    pub print_config: bool,
}

fn theta(text: &str) -> Result<f64, String> {
    let theta = text.parse::<f64>().ok();
    let theta = theta.filter(|theta| (0.0..=5.0).contains(theta));
    theta.ok_or_else(|| "expected a number from 0 to 5".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected a number from 0.1 to 3600".to_owned())
}

impl Settings {
    /// The modes that have their turns.
    pub fn modes(&self) -> Vec<Mode> {
        let mut modes = match self.target.is_empty() {
            true => self.modes.clone(),
            false => vec![Mode::Target],
        };
        modes.sort_unstable();
        modes.dedup();
        modes
    }

    /// When requests are sent.
    pub fn pace(&self) -> Pace {
        self.rate
            .map_or(Pace::Closed, |rate| Pace::Open(f64::from(rate)))
    }

    /// Calls under way at once.
    pub fn callers(&self) -> usize {
        let [closed, open] = CALLERS;
        let usual = if self.rate.is_some() { open } else { closed };
        self.callers.unwrap_or(usual).into()
    }

    /// Replicas that are asked.
    pub fn replicas(&self) -> usize {
        match self.target.len() {
            0 => self.replicas.into(),
            targets => targets,
        }
    }

    /// Replicas that are started.
    pub fn started(&self) -> u8 {
        self.replicas
    }

    /// The replicas that run already, if there are to be such.
    pub fn connect(&self) -> anyhow::Result<Vec<Target>> {
        let connect = |replica: &Replica| {
            let target = Target::new(replica, Clock::machine(), None);
            target.with_context(|| format!("--target {}", replica.grpc))
        };
        self.target.iter().map(connect).collect()
    }

    /// How long a piece of the time is that is shown by itself.
    pub fn slot(&self) -> Duration {
        Duration::from_secs_f64(((self.warm_up + self.seconds) / 80.0).max(0.1))
    }

    /// Tenths of seconds that all turns take.
    pub fn tenths(&self) -> u64 {
        let turns = self.scenarios.len() * usize::from(self.rounds) * self.modes().len();
        (turns as f64 * 10.0 * (self.warm_up + self.seconds)) as u64
    }

    /// The settings as they are understood.
    pub fn shown(&self) -> Shown {
        let lines = self.lines().into_iter();
        let shown = lines.fold(Shown::default(), |shown, (name, value)| {
            shown.line(name, value)
        });
        shown.line("log", &self.logging.log)
    }

    /// The same by name, without what has no part in a measurement.
    pub fn lines(&self) -> BTreeMap<&'static str, String> {
        let mut lines = BTreeMap::from([
            ("scenarios", joined(&self.scenarios, |s| s.name())),
            ("modes", joined(&self.modes(), |mode| mode.name())),
            ("callers", self.callers().to_string()),
            ("rounds", self.rounds.to_string()),
            ("seconds", self.seconds.to_string()),
            ("warm-up", self.warm_up.to_string()),
            ("replicas", self.replicas().to_string()),
            ("seed", self.seed.to_string()),
        ]);
        match self.rate {
            Some(rate) => lines.insert("rate", rate.to_string()),
            None => None,
        };
        if let Some(requests) = self.requests {
            lines.insert("requests", requests.to_string());
        }
        match &self.trace {
            Some(file) => lines.insert("trace", file.display().to_string()),
            None => {
                lines.insert("products", self.products.to_string());
                lines.insert("zipf", self.zipf.to_string())
            }
        };
        if self.target.is_empty() {
            lines.insert("remote", self.remote.to_string());
            if let Some(database) = &self.database {
                lines.insert("database", database.to_string());
            }
        } else {
            lines.remove("modes");
            let targets = joined(&self.target, |target| {
                target.grpc.trim_start_matches("http://")
            });
            lines.insert("target", targets);
            lines.remove("replicas");
        }
        lines
    }

    /// What repeats the run, secrets starred, wherever the settings came from.
    pub fn command(&self) -> String {
        let words = self.lines().into_iter().map(|(name, value)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@".contains(c);
            match value.chars().all(plain) {
                true => format!(" --{name} {value}"),
                false => format!(" --{name} '{value}'"),
            }
        });
        format!("larder bench{}", words.collect::<String>())
    }

    /// What a reader of the result should know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "Callers, replicas and the servers behind them share this machine's cores, in every \
             mode alike. Absolute numbers are this machine's; compare modes within one run."
                .to_owned(),
            "Without a cache, every read is one load: no read joins another's, and Redis is \
             neither asked nor told. What bounds loads to the database's connections stays, and so \
             do the journal and its triggers, which a service that never caches could do without: \
             its writes would be quicker."
                .to_owned(),
            "With L2 only, reads of one key at one time in one replica share one answer."
                .to_owned(),
            "Of a hundred reads, 80 get one product, 10 get ten at once, and 10 list the first \
             twenty of a category. A write changes one price, which moves that product and the \
             lists of its category."
                .to_owned(),
            "Database queries are calls of loaders, rounds of the feed (ten a second and replica) \
             and writes, each of which counts as one whatever statements it takes."
                .to_owned(),
        ];
        notes.push(match self.rate {
            Some(_) => "Open loop: latency counts from when a request was due, also where it was \
                        sent late or never. Timers have a granularity of about a millisecond, \
                        which is in it; call_latency in the JSON counts from the sending."
                .to_owned(),
            None => "Closed loop: a caller that waits sends nothing, so that a stall is in one \
                     latency for each caller. Use --rate to have latency count from when requests \
                     were due."
                .to_owned(),
        });
        notes
    }
}

fn joined<T>(items: &[T], name: impl Fn(&T) -> &str) -> String {
    items.iter().map(name).collect::<Vec<_>>().join(",")
}
