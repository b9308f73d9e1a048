//! `larder bench`: the suite with its cache and without, measured in one run.
//!
//! For each scenario, rounds follow each other, and in each of them every mode has its turn:
//! replicas of its own, a warm-up, a measurement. All turns are asked the same requests, in an
//! order that depends on the seed alone. Only ratios of modes within a run mean anything on
//! another machine, and the report leads with them.
//!
//! Reading order: `mix.rs` and `keys.rs` say what is asked, `pace.rs` when, `drive.rs` asks,
//! `turn.rs` is one mode's turn, `report.rs` what is found, and `table.rs`, `page.rs` and
//! `plot.rs` show it.

mod drive;
mod keys;
mod machine;
mod mix;
mod pace;
mod page;
mod plot;
mod report;
mod settings;
mod table;
mod tally;
mod turn;

use crate::progress::bar;
use crate::services::Seams;
use crate::{prepare, trace};
use anyhow::{Context as _, bail};
use keys::Keys;
use larder::Clock;
use larder_runtime::shutdown;
use mix::Mix;
use report::{Measured, Mode, Outcome, Report, Turn};
use std::time::Duration;
use turn::Stage;

pub use settings::Settings;

/// Measures, and prints and writes what was found.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let keys = settings.check()?;
    let folder = tempfile::Builder::new().prefix("larder-bench-").tempdir()?;
    let database = match &settings.database {
        Some(database) => database.clone(),
        None => format!("sqlite://{}", folder.path().display()).parse()?,
    };
    let (tls, sealing) = (&settings.redis_tls, &settings.sealing);
    let seams = Seams::new(&settings.remote, database, tls, sealing)?;
    let report = measure(&settings, keys, &seams).await?;
    if let Some(path) = &settings.report {
        let page = page::render(&report);
        std::fs::write(path, page)
            .with_context(|| format!("--report: cannot write {}", path.display()))?;
    }
    if let Some(path) = &settings.picture {
        let picture = plot::picture(&report);
        std::fs::write(path, picture)
            .with_context(|| format!("--picture: cannot write {}", path.display()))?;
    }
    settings.output.print(&report)?;
    match report.complaint() {
        Some(complaint) => bail!("{complaint}"),
        None => Ok(()),
    }
}

impl Settings {
    /// What is wrong with them, before anything is started or written; the keys, if nothing is.
    fn check(&self) -> anyhow::Result<Keys> {
        let keys = match &self.trace {
            Some(file) => Keys::trace(&trace::read(file).context("--trace")?),
            None => Keys::zipf(self.products as usize, self.zipf),
        };
        for (flag, path) in [("--report", &self.report), ("--picture", &self.picture)] {
            let Some(path) = path else { continue };
            // It is there from now on, and what was in it before stays until it is written.
            let opened = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path);
            opened.with_context(|| format!("{flag}: cannot write {}", path.display()))?;
        }
        Ok(keys)
    }
}

/// All turns of all scenarios, or those before somebody stops it.
async fn measure(settings: &Settings, keys: Keys, seams: &Seams) -> anyhow::Result<Report> {
    let connected = settings.connect()?;
    let products = keys.products();
    let ids = match connected.is_empty() {
        true => prepare::in_database(seams, products, settings.seed).await?,
        false => prepare::over_grpc(&connected, products).await?,
    };
    let categories: Vec<String> = larder_products::sample::categories()
        .map(str::to_owned)
        .collect();
    let mut stage = Stage {
        seams,
        settings,
        mix: Mix {
            keys,
            scenario: settings.scenarios[0],
            seed: settings.seed,
            replicas: settings.replicas(),
            categories: categories.len(),
        }
        .into(),
        ids: ids.into(),
        categories: categories.into(),
        progress: bar(settings.tenths(), "measuring"),
        clock: Clock::machine(),
    };
    let mut scenarios = Vec::new();
    let mut stopped = false;
    let requested = async { _ = shutdown::requested().await };
    tokio::pin!(requested);
    let mut stop = futures_util::future::FutureExt::shared(requested);
    for &scenario in &settings.scenarios {
        if stopped {
            break;
        }
        stage.asks(scenario);
        let (turns, ended) = rounds(&stage, &mut stop).await?;
        stopped = ended;
        let outcomes = turns
            .into_iter()
            .filter_map(|(mode, turns)| Outcome::of(mode, turns));
        scenarios.push(Measured::of(scenario, outcomes.collect()));
    }
    stage.progress.finish_and_clear();
    Ok(Report {
        version: report::VERSION,
        command: settings.command(),
        environment: machine::environment(settings, &seams.database).await,
        settings: settings.lines(),
        scenarios,
        notes: settings.notes(),
        stopped_early: stopped,
    })
}

/// Each mode's turns of one scenario, and whether somebody stopped it. The order of the modes
/// moves on from round to round, so that none is always the first.
async fn rounds(
    stage: &Stage<'_>,
    stop: &mut (impl Future<Output = ()> + Clone + Unpin),
) -> anyhow::Result<(Vec<(Mode, Vec<Turn>)>, bool)> {
    let modes = stage.settings.modes();
    let mut turns: Vec<(Mode, Vec<Turn>)> = modes.iter().map(|&mode| (mode, Vec::new())).collect();
    for round in 0..usize::from(stage.settings.rounds) {
        for nth in 0..modes.len() {
            let place = (round + nth) % modes.len();
            let (turn, stopped) = stage.turn(modes[place], stop.clone()).await?;
            turns[place].1.extend(turn);
            if stopped {
                return Ok((turns, true));
            }
        }
    }
    Ok((turns, false))
}

impl Report {
    /// What is wrong with the run, if anything is: the reason to end with a failure.
    fn complaint(&self) -> Option<String> {
        let outcomes = || self.scenarios.iter().flat_map(|scenario| &scenario.modes);
        let too_old: u64 = outcomes().map(|outcome| outcome.reads_too_old).sum();
        if too_old > 0 {
            return Some(format!("{too_old} reads were older than they may be"));
        }
        if !self.stopped_early && outcomes().any(|outcome| outcome.requests == 0) {
            let why = outcomes().find_map(|outcome| outcome.failure.as_deref());
            let why = why.unwrap_or("no reason given");
            return Some(format!("a mode answered no request: {why}"));
        }
        None
    }
}

/// Δ of the products' keyspaces.
const BOUND: Duration = Duration::from_secs(1);
