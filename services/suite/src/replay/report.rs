//! What a run is found to have done.

use super::tally::Tally;
use crate::scrape::Counters;
use crate::target::Tier;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The report of a run, as it is printed and as `--output json` gives it.
#[derive(Serialize)]
pub struct Report {
    /// Requests of the trace that were made.
    pub requests: u64,
    /// Of these, reads that were answered.
    pub reads: u64,
    /// Of these, writes that returned.
    pub writes: u64,
    /// Products that the trace asks for.
    pub products: usize,
    /// Replicas that it was spread over.
    pub replicas: usize,
    /// How long it took.
    pub seconds: f64,
    /// Requests in a second.
    pub requests_per_second: f64,
    /// Reads by the tier that answered.
    pub served: Served,
    /// The part of the reads that the caches answered.
    pub share_from_cache: f64,
    /// What the replicas counted meanwhile; absent where they could not be asked.
    #[serde(flatten)]
    pub counters: Option<Counted>,
    /// From a write's return until another replica showed it.
    pub propagation: Propagation,
    /// What was promised, and whether it was kept.
    pub coherence: Coherence,
    /// Calls that failed, by their code.
    pub failures: BTreeMap<String, u64>,
    /// What one of them said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Whether the run was stopped before its end.
    pub stopped_early: bool,
}

/// Reads by the tier that answered.
#[derive(Serialize)]
pub struct Served {
    l1: u64,
    l2: u64,
    db: u64,
    stale: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unknown: u64,
}

/// What the replicas counted.
#[derive(Serialize)]
pub struct Counted {
    loads: u64,
    evictions: u64,
    invalidations: u64,
}

/// From a write's return until another replica no longer served the old value, and until it
/// had answered with the new one.
#[derive(Serialize)]
pub struct Propagation {
    watched: u64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    shown_p50_us: u64,
    shown_p99_us: u64,
    old_answers: u64,
    never: u64,
}

/// What was promised, and whether it was kept.
#[derive(Serialize)]
pub struct Coherence {
    max_staleness_ms: u64,
    reads_checked: u64,
    reads_marked_stale: u64,
    reads_older_than_max_staleness: u64,
    reads_older_than_told: u64,
    farthest_behind_ms: f64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What the run was, beside what it counted.
pub struct Run {
    /// Products that the trace asks for.
    pub products: usize,
    /// Replicas that it was spread over.
    pub replicas: usize,
    /// How long it took.
    pub took: Duration,
    /// Δ.
    pub bound: Duration,
    /// What the replicas counted meanwhile.
    pub counters: Option<Counters>,
    /// Requests that were planned.
    pub planned: u64,
}

impl Report {
    /// The report of this run.
    pub fn new(run: &Run, tally: Tally) -> Self {
        let (reads, seconds) = (tally.reads(), run.took.as_secs_f64());
        let cached = tally.from(Tier::L1) + tally.from(Tier::L2);
        let counted = |counters: Counters| Counted {
            loads: counters.loads,
            evictions: counters.evictions,
            invalidations: counters.invalidations,
        };
        Self {
            requests: tally.requests,
            reads,
            writes: tally.writes,
            products: run.products,
            replicas: run.replicas,
            seconds,
            requests_per_second: ratio(tally.requests as f64, seconds),
            served: Served::of(&tally),
            share_from_cache: ratio(cached as f64, reads as f64),
            counters: run.counters.map(counted),
            propagation: Propagation::of(&tally),
            coherence: Coherence::of(&tally, run.bound),
            stopped_early: tally.requests < run.planned,
            failures: tally.failures,
            failure: tally.failure,
        }
    }

    /// What is wrong with the run, if anything is: the reason to end with a failure.
    pub fn complaint(&self) -> Option<String> {
        let late = self.coherence.reads_older_than_max_staleness;
        let liars = self.coherence.reads_older_than_told;
        let failed: u64 = self.failures.values().sum();
        if late > 0 {
            let bound = self.coherence.max_staleness_ms;
            return Some(format!("{late} reads were older than {bound} ms"));
        }
        if liars > 0 {
            return Some(format!("{liars} reads were older than they said"));
        }
        if self.propagation.never > 0 {
            return Some(format!(
                "{} writes were not shown in time",
                self.propagation.never
            ));
        }
        if failed > 0 {
            let why = self.failure.as_deref().unwrap_or("no reason given");
            return Some(format!("{failed} calls failed, one of them with: {why}"));
        }
        (self.coherence.reads_checked == 0).then(|| "no read was checked".to_owned())
    }
}

impl Served {
    fn of(tally: &Tally) -> Self {
        Self {
            l1: tally.from(Tier::L1),
            l2: tally.from(Tier::L2),
            db: tally.from(Tier::Database),
            stale: tally.from(Tier::Stale),
            unknown: tally.from(Tier::Unknown),
        }
    }
}

impl Propagation {
    fn of(tally: &Tally) -> Self {
        let (gone, shown) = (&tally.gone, &tally.shown);
        Self {
            watched: gone.len() + tally.never_propagated,
            p50_us: gone.value_at_quantile(0.5),
            p99_us: gone.value_at_quantile(0.99),
            max_us: gone.max(),
            shown_p50_us: shown.value_at_quantile(0.5),
            shown_p99_us: shown.value_at_quantile(0.99),
            old_answers: tally.old_after_write,
            never: tally.never_propagated,
        }
    }
}

impl Coherence {
    fn of(tally: &Tally, bound: Duration) -> Self {
        Self {
            max_staleness_ms: u64::try_from(bound.as_millis()).unwrap_or(u64::MAX),
            reads_checked: tally.checked,
            reads_marked_stale: tally.marked_stale,
            reads_older_than_max_staleness: tally.older_than_bound,
            reads_older_than_told: tally.older_than_told,
            farthest_behind_ms: tally.farthest_behind.as_secs_f64() * 1e3,
        }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            writeln!(f, "{name:<26}{value}")
        };
        let share = |count: u64| {
            let percent = 100.0 * ratio(count as f64, self.reads as f64);
            format!("{count:>10}  {percent:6.2} %")
        };
        let count = |count: u64| format!("{count:>10}");
        line(f, "requests", count(self.requests))?;
        line(f, "  reads", count(self.reads))?;
        line(f, "  writes", count(self.writes))?;
        line(f, "products", count(self.products as u64))?;
        line(f, "replicas", count(self.replicas as u64))?;
        let (rate, seconds) = (self.requests_per_second, self.seconds);
        line(
            f,
            "throughput",
            format!("{rate:>10.0}  /s in {seconds:.1} s"),
        )?;
        line(f, "hit ratio", String::new())?;
        line(f, "  l1", share(self.served.l1))?;
        line(f, "  l2", share(self.served.l2))?;
        line(f, "  db", share(self.served.db))?;
        line(f, "  stale (marked)", share(self.served.stale))?;
        line(
            f,
            "served from cache",
            format!("{:>20.2} %", 100.0 * self.share_from_cache),
        )?;
        match &self.counters {
            Some(counted) => {
                line(f, "loads", count(counted.loads))?;
                line(f, "evictions", count(counted.evictions))?;
                line(f, "invalidations", count(counted.invalidations))?;
            }
            None => line(
                f,
                "loads, evictions",
                "unknown: /metrics could not be read".into(),
            )?,
        }
        let spread = &self.propagation;
        line(
            f,
            "propagation",
            format!("{:>10}  writes watched", spread.watched),
        )?;
        let millis = |micros: u64| format!("{:>10.3}  ms", micros as f64 / 1e3);
        line(f, "  p50", millis(spread.p50_us))?;
        line(f, "  p99", millis(spread.p99_us))?;
        line(f, "  max", millis(spread.max_us))?;
        line(f, "  old answers until then", count(spread.old_answers))?;
        line(f, "  new value in hand p50", millis(spread.shown_p50_us))?;
        line(f, "  new value in hand p99", millis(spread.shown_p99_us))?;
        let kept = &self.coherence;
        line(f, "reads checked", count(kept.reads_checked))?;
        let older = format!("  older than {} ms", kept.max_staleness_ms);
        line(f, &older, count(kept.reads_older_than_max_staleness))?;
        line(
            f,
            "  older than they said",
            count(kept.reads_older_than_told),
        )?;
        line(
            f,
            "  farthest behind",
            format!("{:>10.3}  ms", kept.farthest_behind_ms),
        )?;
        for (code, calls) in &self.failures {
            line(f, &format!("failed: {code}"), count(*calls))?;
        }
        if self.stopped_early {
            writeln!(f, "stopped before the end of the trace")?;
        }
        Ok(())
    }
}
