//! What is measured beside the history: latencies, and what the processes and PostgreSQL count.

use super::world::{World, locked};
use crate::{Kind, metrics};
use larder_testkit::history::Origin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Latencies of what was answered.
#[derive(Clone, Default, Debug)]
pub struct Latencies {
    /// Answers marked stale, in microseconds.
    pub(crate) stale: Vec<u32>,
    /// UNAVAILABLE, in microseconds.
    pub(crate) unavailable: Vec<u32>,
}

/// More are not kept.
const MOST: usize = 2_000_000;

impl Latencies {
    pub(crate) fn answered(&mut self, origin: Origin, took: Duration) {
        if origin == Origin::Stale && self.stale.len() < MOST {
            self.stale.push(micros(took));
        }
    }

    pub(crate) fn unavailable(&mut self, took: Duration) {
        if self.unavailable.len() < MOST {
            self.unavailable.push(micros(took));
        }
    }
}

fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// The value at a quantile, of 1.
pub(crate) fn quantile(values: &mut [u32], quantile: f64) -> Option<Duration> {
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    let place = (last as f64 * quantile).round() as usize;
    Some(Duration::from_micros(values[place].into()))
}

/// How long a counter is waited for.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often proofs are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Counters of everything, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    /// Of each process, with its id: a process that was started again counts from nothing.
    loads: Vec<Option<(u32, u64)>>,
    /// Lines that the rounds of all processes brought.
    lines: Vec<Option<u64>>,
    statements: Option<u64>,
}

impl Sample {
    pub(crate) async fn take(world: &World) -> Self {
        let (mut loads, mut lines) = (Vec::new(), Vec::new());
        for node in &world.nodes {
            // A process that is stopped does not answer, and is not waited for.
            let counted = tokio::time::timeout(PATIENCE, counts_of(node)).await;
            let counted = counted.ok().flatten();
            loads.push(counted.map(|(id, loads, _)| (id, loads)));
            lines.push(counted.map(|(.., lines)| lines));
        }
        Self {
            at: Instant::now(),
            loads,
            lines,
            statements: statements(world).await,
        }
    }

    /// Loads and database transactions per second, since an earlier sample.
    pub(crate) fn since(&self, earlier: &Self) -> (f64, Option<f64>) {
        let seconds = (self.at - earlier.at).as_secs_f64().max(0.001);
        let loads = self.loads.iter().zip(&earlier.loads);
        let loads = loads.map(|(now, before)| match (now, before) {
            (Some((id, now)), Some((old, before))) if id == old => now.saturating_sub(*before),
            (Some((_, now)), Some(_)) => *now,
            _ => 0,
        });
        let loads: u64 = loads.sum();
        let statements = self.statements.zip(earlier.statements);
        let statements = statements.map(|(now, before)| now.saturating_sub(before) as f64);
        (
            loads as f64 / seconds,
            statements.map(|count| count / seconds),
        )
    }

    /// Lines of rounds that came since an earlier sample, at the process that most came to.
    pub(crate) fn lines_since(&self, earlier: &Self) -> u64 {
        let lines = self.lines.iter().zip(&earlier.lines);
        let lines = lines.filter_map(|(now, before)| Some((*now)?.saturating_sub((*before)?)));
        lines.max().unwrap_or_default()
    }
}

/// The oldest proof of any process that answers, looked at again and again until this is dropped.
pub(crate) async fn watch_proofs(world: &World, oldest: &Mutex<Duration>) {
    loop {
        for node in &world.nodes {
            let age = tokio::time::timeout(LOOK, node.proven_age()).await;
            if let Ok(Some(age)) = age {
                let mut oldest = locked(oldest);
                *oldest = oldest.max(age);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn counts_of(node: &super::node::Node) -> Option<(u32, u64, u64)> {
    let running = node.running()?;
    let (mut sum, mut lines) = (0, 0);
    for kind in [Kind::Profiles, Kind::Products, Kind::Comments] {
        let admin = running.suite.replica(kind, 1).admin;
        let (_, page) = metrics::get(admin, "/metrics").await.ok()?;
        sum += metrics::sum(&page, "larder_load_seconds_count", &[]);
        lines += metrics::sum(&page, "larder_round_lines_sum", &[]);
    }
    Some((running.suite.process().id(), sum, lines))
}

async fn statements(world: &World) -> Option<u64> {
    let sql = "SELECT sum(xact_commit + xact_rollback)::bigint FROM pg_stat_database";
    let asked = world.psql(Kind::Profiles, sql);
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    asked.ok()?.ok()?.trim().parse().ok()
}
