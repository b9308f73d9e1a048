//! The cache's counters, under the names that dashboards rely on.

use larder::check::Checks;
use larder::remote::guard::{Counters, Guard};
use larder::stats::{
    EVICTIONS, LOAD_BUCKETS, MISSES, OUTCOMES, PROPAGATION_BUCKETS, ROUND_BUCKETS, SourceStats,
    Stats,
};
use larder::{AnyKeyspace, Larder, Source};
use larder_runtime::exposition::{Exemplar, Metric, Page, Sizes};
use std::collections::BTreeMap;
use std::sync::Arc;

const READS: Metric = Metric::counter("larder_reads_total", "Reads, by how they ended.");
const MISSED: Metric = Metric::counter(
    "larder_misses_total",
    "Why memory did not answer, or a value of the remote tier was not taken.",
);
const EVICTED: Metric = Metric::counter(
    "larder_evictions_total",
    "Entries that left memory, by why they did.",
);
const RESCUES: Metric = Metric::counter(
    "larder_rescues_total",
    "Entries that had moved and were shown by their label to be current.",
);
const LOADS: Metric = Metric::histogram(
    "larder_load_seconds",
    "Time that a load from the source took.",
);
const LOAD_ERRORS: Metric = Metric::counter("larder_load_errors_total", "Loads that failed.");
const ENTRIES: Metric = Metric::gauge("larder_entries", "Entries in memory, roughly.");
const BYTES: Metric = Metric::gauge("larder_bytes", "What they weigh, as roughly.");
const INCONSISTENCIES: Metric = Metric::counter(
    "larder_inconsistencies_total",
    "Copies that were compared with the source and found wrong.",
);
const CHECKS: Metric = Metric::counter(
    "larder_checks_total",
    "Other comparisons of copies with the source, by what they showed.",
);
const ROUNDS: Metric = Metric::counter("larder_rounds_total", "Rounds taken from the feed.");
const ROUND_ERRORS: Metric = Metric::counter(
    "larder_round_errors_total",
    "Rounds that could not be had, or not be used.",
);
const ROUND_LINES: Metric = Metric::histogram("larder_round_lines", "Changes in a round.");
const GAPS: Metric = Metric::counter(
    "larder_feed_gaps_total",
    "Times that lines of the journal may have been dropped unseen, so that all of it was read.",
);
const HINTS: Metric = Metric::counter(
    "larder_hints_total",
    "Hints of other processes by what came of them, and own ones that were lost.",
);
const INVALIDATIONS: Metric = Metric::counter(
    "larder_invalidations_total",
    "Changes that moved what depends on them, by how they were heard of.",
);
const SEAL_REFUSALS: Metric = Metric::counter(
    "larder_seal_refusals_total",
    "Entries and hints of the remote tier that were not sealed with the key.",
);
const PROVEN_AGE: Metric = Metric::gauge(
    "larder_proven_age_seconds",
    "Time since the last proof; nothing that is served as fresh is older.",
);
const OLDEST_WRITER: Metric = Metric::gauge(
    "larder_oldest_writer_seconds",
    "Time that the oldest open transaction which wrote before others did has been seen, or 0; until \
     it ends, values that changed since are loaded again and again.",
);
const PROPAGATION: Metric = Metric::histogram(
    "larder_propagation_seconds",
    "Time that hints took from their sender, by the wall clocks of both.",
);
const REMOTE_CALLS: Metric =
    Metric::counter("larder_remote_calls_total", "Calls of the remote tier.");
const REMOTE_ERRORS: Metric = Metric::counter(
    "larder_remote_errors_total",
    "Calls of the remote tier that failed, took too long, or were not made after others had.",
);

/// Adds the counters of these sources and of all their keyspaces.
pub fn measure(page: &mut Page, larder: &Larder, sources: &[Source]) {
    let keyspaces: Vec<Arc<dyn AnyKeyspace>> = sources.iter().flat_map(Source::keyspaces).collect();
    for keyspace in &keyspaces {
        measure_keyspace(page, keyspace.name(), &keyspace.stats());
        measure_checks(page, keyspace.name(), keyspace.checks());
    }
    for source in sources {
        measure_source(page, source.name(), &source.stats());
    }
    let (entries, hints) = larder.seal_refusals();
    for (kind, count) in [("entry", entries), ("hint", hints)] {
        page.count(SEAL_REFUSALS, &[("kind", kind)], count);
    }
}

/// Adds the calls of the remote tier that went through these guards, which are all that a process
/// has.
pub fn measure_remote<'a>(page: &mut Page, guards: impl IntoIterator<Item = &'a Guard>) {
    let mut sums: BTreeMap<&str, Counters> = BTreeMap::new();
    for (kind, counters) in guards.into_iter().flat_map(Guard::counters_by_kind) {
        *sums.entry(kind).or_default() += counters;
    }
    for (kind, counters) in sums {
        let own = ("call", kind);
        page.count(REMOTE_CALLS, &[own], counters.calls);
        for (cause, count) in [
            ("failed", counters.failures),
            ("timed_out", counters.timeouts),
            ("refused", counters.refused),
        ] {
            page.count(REMOTE_ERRORS, &[own, ("cause", cause)], count);
        }
    }
}

fn measure_keyspace(page: &mut Page, name: &str, stats: &Stats) {
    let own = ("keyspace", name);
    for &outcome in OUTCOMES {
        let labels = [own, ("outcome", outcome.name())];
        page.count(READS, &labels, stats.reads(outcome));
    }
    for &miss in MISSES {
        page.count(MISSED, &[own, ("cause", miss.name())], stats.misses(miss));
    }
    for &cause in EVICTIONS {
        let labels = [own, ("cause", cause.name())];
        page.count(EVICTED, &labels, stats.evictions(cause));
    }
    page.count(RESCUES, &[own], stats.rescues);
    page.count(LOAD_ERRORS, &[own], stats.load_errors);
    page.count(ENTRIES, &[own], stats.entries);
    page.count(BYTES, &[own], stats.bytes);
    let loads = Sizes {
        bounds: &LOAD_BUCKETS,
        counts: stats.load_buckets.to_vec(),
        sum: stats.load_time.as_secs_f64(),
        exemplars: stats
            .load_exemplars
            .iter()
            .map(|one| Exemplar {
                size: one.took.as_secs_f64(),
                trace: one.trace,
                at: one.at,
            })
            .collect(),
    };
    page.sizes(LOADS, &[own], loads);
}

fn measure_checks(page: &mut Page, name: &str, checks: Checks) {
    let own = ("keyspace", name);
    for (tier, count) in [
        ("l1", checks.inconsistent_l1),
        ("l2", checks.inconsistent_l2),
    ] {
        page.count(INCONSISTENCIES, &[own, ("tier", tier)], count);
    }
    for (outcome, count) in [
        ("same", checks.same),
        ("explained", checks.explained),
        ("undecided", checks.undecided),
    ] {
        page.count(CHECKS, &[own, ("outcome", outcome)], count);
    }
}

fn measure_source(page: &mut Page, name: &str, stats: &SourceStats) {
    let own = ("source", name);
    page.count(ROUNDS, &[own], stats.rounds);
    page.count(ROUND_ERRORS, &[own], stats.round_errors);
    let lines = Sizes {
        bounds: &ROUND_BUCKETS,
        counts: stats.round_sizes.to_vec(),
        sum: stats.round_lines as f64,
        exemplars: Vec::new(),
    };
    page.sizes(ROUND_LINES, &[own], lines);
    page.count(GAPS, &[own], stats.gaps);
    for (outcome, count) in [
        ("applied", stats.hints_applied),
        ("known", stats.hints_known),
        ("foreign", stats.hints_foreign),
        ("malformed", stats.hints_malformed),
        ("lost", stats.hints_lost),
    ] {
        page.count(HINTS, &[own, ("outcome", outcome)], count);
    }
    for (origin, count) in [
        ("own", stats.moved_own),
        ("hint", stats.moved_hint),
        ("round", stats.moved_round),
    ] {
        page.count(INVALIDATIONS, &[own, ("origin", origin)], count);
    }
    if let Some(age) = stats.proven_age {
        page.add(PROVEN_AGE, &[own], age.as_secs_f64());
    }
    let oldest = stats.oldest_writer.unwrap_or_default();
    page.add(OLDEST_WRITER, &[own], oldest.as_secs_f64());
    let propagation = Sizes {
        bounds: &PROPAGATION_BUCKETS,
        counts: stats.propagation.to_vec(),
        sum: stats.propagation_time.as_secs_f64(),
        exemplars: Vec::new(),
    };
    page.sizes(PROPAGATION, &[own], propagation);
}
