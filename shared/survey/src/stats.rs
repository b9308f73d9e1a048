//! What a replica has counted since it started, with a name for every number.

use crate::seconds;
use larder_proto::cache::v1 as wire;
use serde::Serialize;
use std::collections::BTreeMap;

/// The counters of a keyspace.
#[derive(Serialize, Clone, Debug)]
pub struct KeyspaceStats {
    /// Its name.
    pub keyspace: String,
    /// The source that it belongs to.
    pub source: String,
    /// Reads by outcome.
    pub reads: BTreeMap<String, u64>,
    /// Misses by cause.
    pub misses: BTreeMap<String, u64>,
    /// Entries that left memory, by cause.
    pub evictions: BTreeMap<String, u64>,
    /// Copies that were held against the source, by verdict.
    pub checks: BTreeMap<String, u64>,
    /// Entries that were still good although something in their cells had moved.
    pub rescues: u64,
    /// Loads, failed ones too.
    pub loads: u64,
    /// Those of them that failed.
    pub load_errors: u64,
    /// What the loads took together.
    pub load_seconds: f64,
    /// Entries in memory.
    pub entries: u64,
    /// What they take.
    pub bytes: u64,
    /// What they may take.
    pub capacity_bytes: u64,
}

/// The counters of a source.
#[derive(Serialize, Clone, Debug)]
pub struct SourceStats {
    /// Its name.
    pub source: String,
    /// Absent before the first proof.
    pub proven_age_seconds: Option<f64>,
    /// Rounds of its feed.
    pub rounds: u64,
    /// Rounds that failed.
    pub round_errors: u64,
    /// How often the feed had to be taken whole.
    pub gaps: u64,
    /// Hints by what became of them.
    pub hints: BTreeMap<String, u64>,
    /// What was moved, by who said so.
    pub invalidations: BTreeMap<String, u64>,
    /// How long hints were on their way.
    pub propagation: Vec<Bucket>,
}

/// A bucket of a histogram.
#[derive(Serialize, Clone, Debug)]
pub struct Bucket {
    /// Absent for the last, which has no bound.
    pub most_seconds: Option<f64>,
    /// How many fell into it, and into none before it.
    pub count: u64,
}

impl KeyspaceStats {
    /// Of all reads, the share that memory answered; `None` where there were none.
    pub fn hit_ratio(&self) -> Option<f64> {
        let hits = self.reads.get("l1").copied().unwrap_or_default();
        let reads: u64 = self.reads.values().sum();
        (reads > 0).then(|| hits as f64 / reads as f64)
    }
}

impl From<wire::KeyspaceStats> for KeyspaceStats {
    fn from(stats: wire::KeyspaceStats) -> Self {
        Self {
            keyspace: stats.keyspace,
            source: stats.source,
            reads: counts(stats.reads),
            misses: counts(stats.misses),
            evictions: counts(stats.evictions),
            checks: counts(stats.checks),
            rescues: stats.rescues,
            loads: stats.loads,
            load_errors: stats.load_errors,
            load_seconds: seconds(stats.load_time.as_ref()),
            entries: stats.entries,
            bytes: stats.bytes,
            capacity_bytes: stats.capacity_bytes,
        }
    }
}

impl From<wire::SourceStats> for SourceStats {
    fn from(stats: wire::SourceStats) -> Self {
        let buckets = stats.propagation.into_iter().map(|bucket| Bucket {
            most_seconds: bucket.most.as_ref().map(|most| seconds(Some(most))),
            count: bucket.count,
        });
        Self {
            source: stats.source,
            proven_age_seconds: stats.proven_age.as_ref().map(|age| seconds(Some(age))),
            rounds: stats.rounds,
            round_errors: stats.round_errors,
            gaps: stats.gaps,
            hints: counts(stats.hints),
            invalidations: counts(stats.invalidations),
            propagation: buckets.collect(),
        }
    }
}

fn counts(counts: Vec<wire::Count>) -> BTreeMap<String, u64> {
    let counts = counts.into_iter();
    counts.map(|count| (count.name, count.count)).collect()
}
