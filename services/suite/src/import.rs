//! `larder import`: orders from a file of comma-separated values, written straight into the
//! database. Replicas that run meanwhile notice with their next round.
//!
//! A line that is no order is told with its number, and the rest is recorded; an order that is
//! known by its id stays as it is, so that a mended file may simply be imported again.

use crate::load::open;
use crate::output::Output;
use crate::progress::bytes;
use anyhow::{Context as _, bail};
use clap::Args;
use larder_reports::Reports;
use larder_reports::csv;
use larder_runtime::config::{Address, Logging, Shown};
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;

/// The settings of `larder import`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The file, or `-` for what comes on standard input. Its first line names the columns: id,
    /// customer_id, product_id, region, ordered_at, quantity, price_cents.
    #[arg(value_name = "FILE", required_unless_present = "print_config")]
    file: Option<PathBuf>,
    /// The database: see `larder up`.
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite://larder-data",
        hide_env_values = true
    )]
    database: Address,
    /// How the result is printed.
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
        Shown::default()
            .line("database", &self.database)
            .line("log", &self.logging.log)
    }
}

/// What became of the file.
#[derive(Serialize)]
struct Imported {
    recorded: u64,
    known: u64,
    refused: u64,
    /// The first of the refused lines.
    refusals: Vec<Refusal>,
}

#[derive(Serialize)]
struct Refusal {
    line: u64,
    problem: String,
}

/// Records what is in the file; fails in the end if some of it was refused.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let path = settings.file.context("FILE is missing")?;
    let (file, size) = read(&path).with_context(|| format!("FILE {}", path.display()))?;
    let journal = open(&Reports::detached(), &settings.database).await?;
    let progress = bytes(size, "orders");
    let imported = csv::import(&journal, file, |read| progress.set_position(read)).await;
    progress.finish();
    let imported = imported.with_context(|| format!("FILE {}", path.display()))?;
    let refusals = imported.refusals.into_iter();
    let refused = imported.refused;
    settings.output.print(&Imported {
        recorded: imported.recorded,
        known: imported.known,
        refused,
        refusals: refusals
            .map(|csv::Refusal { line, problem }| Refusal { line, problem })
            .collect(),
    })?;
    if refused > 0 {
        bail!("{refused} lines of {} were refused", path.display());
    }
    Ok(())
}

/// The file and its size, which standard input has not.
fn read(path: &Path) -> io::Result<(Box<dyn BufRead>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::with_capacity(BUFFER, io::stdin())), 0));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((Box::new(BufReader::with_capacity(BUFFER, file)), size))
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Refusal { line, problem } in &self.refusals {
            writeln!(f, "line {line}: {problem}")?;
        }
        if self.refused > self.refusals.len() as u64 {
            let more = self.refused - self.refusals.len() as u64;
            writeln!(f, "and {more} more lines")?;
        }
        let Self {
            recorded,
            known,
            refused,
            ..
        } = self;
        writeln!(
            f,
            "{recorded} orders recorded, {known} known already, {refused} lines refused"
        )
    }
}
