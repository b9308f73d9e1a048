//! What a run has found: all of it, as `--output json` gives it.

use super::mix::Scenario;
use super::tally::{Slot, Tally};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use larder::Tiers;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Grows when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// What is in front of the database.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No cache: every read is a load of its own.
    None,
    /// The shared tier alone.
    L2,
    /// Memory and the shared tier.
    Both,
    /// What a suite has that runs already.
    #[value(skip)]
    Target,
}

impl Mode {
    /// What the larders of its replicas are told.
    pub fn tiers(self) -> Tiers {
        match self {
            Self::None => Tiers::None,
            Self::L2 => Tiers::RemoteOnly,
            Self::Both | Self::Target => Tiers::Both,
        }
    }

    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::None => "no cache",
            Self::L2 => "L2 only",
            Self::Both => "L1 + L2",
            Self::Target => "as it runs",
        }
    }

    /// As the command line and style sheets call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::L2 => "l2",
            Self::Both => "both",
            Self::Target => "target",
        }
    }
}

/// A run.
#[derive(Serialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// What repeats it, secrets starred.
    pub command: String,
    /// Where it ran.
    pub environment: BTreeMap<&'static str, String>,
    /// What it was told.
    pub settings: BTreeMap<&'static str, String>,
    /// What was measured.
    pub scenarios: Vec<Measured>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Whether it was stopped before its end.
    pub stopped_early: bool,
}

/// One scenario in all its modes.
#[derive(Serialize)]
pub struct Measured {
    /// Which.
    pub scenario: Scenario,
    /// Which part of its requests are writes.
    pub write_share: f64,
    /// Each mode, all rounds together.
    pub modes: Vec<Outcome>,
    /// Each mode over the first, by the medians of the rounds' ratios.
    pub ratios: Vec<Ratio>,
}

/// One turn of one mode.
pub struct Turn {
    /// The measured part.
    pub tally: Tally,
    /// How long that took.
    pub took: Duration,
    /// From the beginning of its warm-up.
    pub slots: Vec<Slot>,
    /// How many of these were warm-up.
    pub warm_up: usize,
    /// Questions to the database, if they could be counted.
    pub queries: Option<u64>,
    /// Transactions of the PostgreSQL server meanwhile, about.
    pub transactions: Option<u64>,
}

/// What one mode did.
#[derive(Serialize)]
pub struct Outcome {
    /// Which.
    pub mode: Mode,
    /// Requests that came to a good end, in all rounds.
    pub requests: u64,
    /// How long they took.
    pub seconds: f64,
    /// Requests in a second.
    pub requests_per_second: f64,
    /// What it served, and what failed.
    pub served: Slot,
    /// The part of the reads that a cache answered.
    pub hit_ratio: f64,
    /// Reads, from when they were due.
    pub read_latency: Latency,
    /// Writes, from when they were due.
    pub write_latency: Latency,
    /// All calls, from when they were sent.
    pub call_latency: Latency,
    /// Questions to the database in a second: calls of loaders, rounds of the feed, and writes.
    pub queries_per_second: Option<f64>,
    /// Transactions of the PostgreSQL server in a second, about: its counters are late by up to a
    /// second.
    pub transactions_per_second: Option<f64>,
    /// Unmarked answers that were older than they may be.
    pub reads_too_old: u64,
    /// Requests of an open loop that were due and never sent.
    pub unsent: u64,
    /// Calls that failed, by their code.
    pub failures: BTreeMap<String, u64>,
    /// What one of them said.
    pub failure: Option<String>,
    /// Each round by itself.
    pub rounds: Vec<Round>,
    /// The first round over time.
    pub timeline: Timeline,
}

/// One round of one mode.
#[derive(Serialize)]
pub struct Round {
    /// Requests in a second.
    pub requests_per_second: f64,
    /// The median of the reads, in microseconds.
    pub read_p50_us: u64,
    /// Their 99th percentile.
    pub read_p99_us: u64,
    /// Questions to the database in a second.
    pub queries_per_second: Option<f64>,
}

/// A distribution, in microseconds.
#[derive(Serialize, Default)]
pub struct Latency {
    /// The median.
    pub p50_us: u64,
    /// One in ten is slower.
    pub p90_us: u64,
    /// One in a hundred.
    pub p99_us: u64,
    /// One in a thousand.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
    /// Percentiles and what they are, as finely as a plot needs.
    pub curve: Vec<(f64, u64)>,
}

/// What became of requests over time.
#[derive(Serialize)]
pub struct Timeline {
    /// How long a slot is.
    pub slot_ms: u64,
    /// How many of the slots are warm-up.
    pub warm_up: usize,
    /// One after the other.
    pub slots: Vec<Slot>,
}

/// One mode over another; above 1 is more. The middle of the rounds' ratios, the least and the
/// greatest.
#[derive(Serialize)]
pub struct Ratio {
    /// This mode
    pub of: Mode,
    /// over that one.
    pub over: Mode,
    /// Requests in a second.
    pub throughput: [f64; 3],
    /// The median of the reads.
    pub read_p50: [f64; 3],
    /// Their 99th percentile.
    pub read_p99: [f64; 3],
    /// Questions to the database for one request.
    pub queries: Option<[f64; 3]>,
}

impl Outcome {
    /// All turns of a mode together; `None` where there is none.
    pub fn of(mode: Mode, turns: Vec<Turn>) -> Option<Self> {
        let rounds: Vec<Round> = turns.iter().map(Round::of).collect();
        let seconds: f64 = turns.iter().map(|turn| turn.took.as_secs_f64()).sum();
        let per_second = |counts: Option<u64>| counts.map(|count| ratio(count as f64, seconds));
        let queries = turns.iter().map(|turn| turn.queries).sum::<Option<u64>>();
        let transactions = turns.iter().map(|turn| turn.transactions).sum();
        let first = turns.first()?;
        let slot = first.tally.slot;
        let timeline = Timeline {
            slot_ms: u64::try_from(slot.as_millis()).unwrap_or(u64::MAX),
            warm_up: first.warm_up,
            slots: first.slots.clone(),
        };
        let mut sum = Tally::new(slot);
        turns.into_iter().for_each(|turn| sum.add(turn.tally, 0));
        let served = sum.total;
        Some(Self {
            mode,
            requests: served.done(),
            seconds,
            requests_per_second: ratio(served.done() as f64, seconds),
            served,
            hit_ratio: ratio((served.l1 + served.l2) as f64, served.reads() as f64),
            read_latency: Latency::of(&sum.reads),
            write_latency: Latency::of(&sum.writes),
            call_latency: Latency::of(&sum.calls),
            queries_per_second: per_second(queries),
            transactions_per_second: per_second(transactions),
            reads_too_old: sum.too_old,
            unsent: sum.unsent,
            failures: sum.failures,
            failure: sum.failure,
            rounds,
            timeline,
        })
    }
}

impl Round {
    fn of(turn: &Turn) -> Self {
        let (seconds, reads) = (turn.took.as_secs_f64(), &turn.tally.reads);
        Self {
            requests_per_second: ratio(turn.tally.total.done() as f64, seconds),
            read_p50_us: reads.value_at_quantile(0.5),
            read_p99_us: reads.value_at_quantile(0.99),
            queries_per_second: turn.queries.map(|count| ratio(count as f64, seconds)),
        }
    }
}

impl Latency {
    fn of(times: &Histogram<u64>) -> Self {
        let at = |share: f64| times.value_at_quantile(share);
        // Evenly on an axis of nines, as far as there are samples for.
        let nines = (0..=60).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 12.0));
        let there = nines.filter(|share| (1.0 - share) * times.len() as f64 >= 1.0);
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: times.max(),
            curve: there.map(|share| (100.0 * share, at(share))).collect(),
        }
    }
}

impl Measured {
    /// A scenario, and how its modes compare with the first of them.
    pub fn of(scenario: Scenario, modes: Vec<Outcome>) -> Self {
        let ratios = match modes.split_first() {
            Some((first, rest)) => rest.iter().map(|mode| Ratio::of(mode, first)).collect(),
            None => Vec::new(),
        };
        Self {
            scenario,
            write_share: scenario.write_share(),
            modes,
            ratios,
        }
    }

    /// Two tiers over none, if both were measured.
    pub fn headline(&self) -> Option<&Ratio> {
        let wanted = |ratio: &&Ratio| ratio.of == Mode::Both && ratio.over == Mode::None;
        self.ratios.iter().find(wanted)
    }
}

impl Ratio {
    fn of(mode: &Outcome, over: &Outcome) -> Self {
        let pairs = || mode.rounds.iter().zip(&over.rounds);
        let spread = |measure: &dyn Fn(&Round) -> f64| {
            let ratios = pairs().map(|(one, other)| ratio(measure(one), measure(other)));
            middle(ratios.collect())
        };
        let queries = |round: &Round| {
            let queries = round.queries_per_second.unwrap_or_default();
            ratio(queries, round.requests_per_second)
        };
        let counted = pairs().all(|(one, other)| {
            one.queries_per_second.is_some() && other.queries_per_second.is_some()
        });
        Self {
            of: mode.mode,
            over: over.mode,
            throughput: spread(&|round| round.requests_per_second),
            read_p50: spread(&|round| round.read_p50_us as f64),
            read_p99: spread(&|round| round.read_p99_us as f64),
            queries: counted.then(|| spread(&queries)),
        }
    }
}

/// The middle, the least and the greatest; of an even number the mean of the two in the middle.
fn middle(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    let last = values.len().saturating_sub(1);
    [(at(last / 2) + at(last.div_ceil(2))) / 2.0, at(0), at(last)]
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Ended;
    use super::*;
    use crate::target::Tier;

    fn turn(requests: u64, micros: u64) -> Turn {
        let mut tally = Tally::new(Duration::from_secs(1));
        for _ in 0..requests {
            let took = Duration::from_micros(micros);
            tally.note(took, took, took, Ended::Read(Tier::Database, false));
        }
        Turn {
            tally,
            took: Duration::from_secs(1),
            slots: Vec::new(),
            warm_up: 0,
            queries: Some(requests),
            transactions: None,
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_those_of_the_rounds() {
        let none = vec![turn(100, 500), turn(50, 500), turn(100, 500)];
        let both = vec![turn(300, 100), turn(300, 100), turn(200, 100)];
        let modes = [(Mode::None, none), (Mode::Both, both)];
        let modes = modes.map(|(mode, turns)| Outcome::of(mode, turns).expect("turns"));
        let measured = Measured::of(Scenario::ReadOnly, modes.into());
        let ratio = measured.headline().expect("both were measured");
        assert_eq!(ratio.throughput, [3.0, 2.0, 6.0]);
        assert!((ratio.read_p50[0] - 0.2).abs() < 0.01);
        assert_eq!(ratio.queries, Some([1.0; 3]), "for one request");
    }

    #[test]
    fn a_curve_ends_where_samples_do() {
        let latency = Latency::of(&turn(1_000, 100).tally.reads);
        let (last, _) = latency.curve.last().expect("points");
        assert!((99.8..=99.91).contains(last), "{last}");
    }
}
