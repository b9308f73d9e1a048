//! `stats`, `hot` and `advise`: numbers of every replica.

use super::find::all_answered;
use crate::output::Output;
use anyhow::bail;
use clap::Args;
use larder_proto::cache::v1::{GetAdviceRequest, GetStatsRequest};
use larder_survey::hot::{self, hottest};
use larder_survey::stats::KeyspaceStats;
use larder_survey::{Answers, Failure, Replicas};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The settings of `larder cache stats`.
#[derive(Args, Clone, Debug)]
pub struct Stats {
    /// Only these keyspaces.
    keyspaces: Vec<String>,
}

/// The settings of `larder cache hot`.
#[derive(Args, Clone, Debug)]
pub struct Hot {
    /// Only these keyspaces.
    keyspaces: Vec<String>,
    /// At most so many keys.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// The settings of `larder cache advise`.
#[derive(Args, Clone, Debug)]
pub struct Advise {
    /// Only these keyspaces.
    keyspaces: Vec<String>,
}

/// Rows of a table, and the replicas that did not answer.
#[derive(Serialize)]
struct Table<R> {
    rows: Vec<R>,
    failures: Vec<Failure>,
}

fn wanted(keyspaces: &[String], name: &str) -> bool {
    keyspaces.is_empty() || keyspaces.iter().any(|keyspace| keyspace == name)
}

/// A row that is about one keyspace of one replica.
trait Row {
    fn place(&self) -> (&str, &str);
}

/// Prints the rows of these keyspaces, by keyspace and replica. A keyspace that nobody has is a
/// mistake, and no empty table.
fn show<R: Row + Serialize>(
    rows: impl Iterator<Item = R>,
    failures: Vec<Failure>,
    keyspaces: &[String],
    output: Output,
) -> anyhow::Result<()>
where
    Table<R>: fmt::Display,
{
    let mut rows: Vec<R> = rows
        .filter(|row| wanted(keyspaces, row.place().0))
        .collect();
    let missing = |name: &&String| !rows.iter().any(|row| row.place().0 == name.as_str());
    if let Some(keyspace) = keyspaces.iter().find(missing) {
        bail!("there is no keyspace {keyspace}");
    }
    rows.sort_by(|a, b| a.place().cmp(&b.place()));
    let table = Table { rows, failures };
    output.print(&table)?;
    all_answered(&table.failures)
}

#[derive(Serialize)]
struct StatsRow {
    replica: String,
    /// The share of the reads that memory answered.
    hit_ratio: Option<f64>,
    #[serde(flatten)]
    stats: KeyspaceStats,
}

impl Row for StatsRow {
    fn place(&self) -> (&str, &str) {
        (&self.stats.keyspace, &self.replica)
    }
}

impl StatsRow {
    fn of(replica: &str, stats: KeyspaceStats) -> Self {
        Self {
            replica: replica.to_owned(),
            hit_ratio: stats.hit_ratio(),
            stats,
        }
    }

    fn reads(&self, outcome: &str) -> u64 {
        self.stats.reads.get(outcome).copied().unwrap_or_default()
    }

    /// The causes of misses, the most frequent first, in one line.
    fn why(&self) -> String {
        let misses = self.stats.misses.iter();
        let mut misses: Vec<_> = misses.filter(|(_, count)| **count > 0).collect();
        misses.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let told: Vec<_> = misses
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        told.join(", ")
    }
}

impl fmt::Display for Table<StatsRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:<12} {:>10} {:>6} {:>9} {:>9} {:>8} {:>9} {:>13}  misses",
            "keyspace", "replica", "reads", "hit", "l2", "loads", "joined", "entries", "MiB"
        )?;
        for row in &self.rows {
            let hit = row
                .hit_ratio
                .map_or_else(|| "-".to_owned(), |r| format!("{:.1}%", 100.0 * r));
            let stats = &row.stats;
            let room = format!(
                "{:.1}/{:.0}",
                mebibytes(stats.bytes),
                mebibytes(stats.capacity_bytes)
            );
            writeln!(
                f,
                "{:<16} {:<12} {:>10} {hit:>6} {:>9} {:>9} {:>8} {:>9} {room:>13}  {}",
                stats.keyspace,
                row.replica,
                stats.reads.values().sum::<u64>(),
                row.reads("l2"),
                stats.loads,
                row.reads("joined"),
                stats.entries,
                row.why(),
            )?;
        }
        Ok(())
    }
}

pub async fn stats(replicas: &Replicas, asked: Stats, output: Output) -> anyhow::Result<()> {
    let ask = |mut client: larder_survey::Way| async move {
        client.get_stats(GetStatsRequest::default()).await
    };
    let Answers { answers, failures } = replicas.ask(ask).await.whole()?;
    let rows = answers.into_iter().flat_map(|(replica, stats)| {
        let rows = stats.keyspaces.into_iter();
        rows.map(move |stats| StatsRow::of(&replica, stats.into()))
    });
    show(rows, failures, &asked.keyspaces, output)
}

impl fmt::Display for Table<hot::Hot> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:>12}  {:<40} replicas",
            "keyspace", "reads", "key"
        )?;
        for row in &self.rows {
            let replicas: Vec<_> = row
                .replicas
                .iter()
                .map(|(name, n)| format!("{name} {n}"))
                .collect();
            let replicas = replicas.join(", ");
            writeln!(
                f,
                "{:<16} {:>12}  {:<40} {replicas}",
                row.keyspace, row.reads, row.key
            )?;
        }
        Ok(())
    }
}

pub async fn hot(replicas: &Replicas, asked: Hot, output: Output) -> anyhow::Result<()> {
    let told = replicas.hot(&asked.keyspaces, asked.limit).await?;
    let failures = told.failures;
    let rows = hottest(told.answers, &asked.keyspaces, asked.limit as usize);
    let table = Table { rows, failures };
    output.print(&table)?;
    all_answered(&table.failures)
}

#[derive(Serialize)]
struct AdviceRow {
    keyspace: String,
    replica: String,
    capacity_bytes: u64,
    hit_ratio: Option<f64>,
    /// Sizes, and the share of reads that would hit.
    curve: Vec<(u64, f64)>,
    /// From which on more does not help.
    knee_bytes: Option<u64>,
    misses: BTreeMap<String, f64>,
    sentences: Vec<String>,
    sampled_reads: u64,
}

impl Row for AdviceRow {
    fn place(&self) -> (&str, &str) {
        (&self.keyspace, &self.replica)
    }
}

impl fmt::Display for Table<AdviceRow> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{} on {}", row.keyspace, row.replica)?;
            for sentence in &row.sentences {
                writeln!(f, "  {sentence}")?;
            }
            let told = row.curve.iter().filter(|_| row.sampled_reads > 0);
            let told: Vec<_> = told
                .map(|(size, ratio)| format!("{:.1} MiB {:.1} %", mebibytes(*size), 100.0 * ratio))
                .collect();
            if !told.is_empty() {
                writeln!(f, "  estimated hits: {}", told.join(", "))?;
            }
        }
        Ok(())
    }
}

pub async fn advise(replicas: &Replicas, asked: Advise, output: Output) -> anyhow::Result<()> {
    let ask = |mut client: larder_survey::Way| async move {
        client.get_advice(GetAdviceRequest::default()).await
    };
    let Answers { answers, failures } = replicas.ask(ask).await.whole()?;
    let rows = answers.into_iter().flat_map(|(replica, advice)| {
        advice.advice.into_iter().map(move |advice| AdviceRow {
            keyspace: advice.keyspace,
            replica: replica.clone(),
            capacity_bytes: advice.capacity_bytes,
            hit_ratio: advice.hit_ratio,
            curve: advice
                .curve
                .iter()
                .map(|p| (p.capacity_bytes, p.hit_ratio))
                .collect(),
            knee_bytes: advice.knee.map(|knee| knee.capacity_bytes),
            misses: advice
                .misses
                .into_iter()
                .map(|share| (share.name, share.share))
                .collect(),
            sentences: advice.sentences,
            sampled_reads: advice.sampled_reads,
        })
    });
    show(rows, failures, &asked.keyspaces, output)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
