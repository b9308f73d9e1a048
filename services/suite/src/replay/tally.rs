//! What a run has counted.

use crate::history::Verdict;
use crate::target::Tier;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Status;

/// Longer than anything that is watched.
const MOST_MICROS: u64 = 3_600_000_000;

/// Counts of one worker, or of all together.
pub struct Tally {
    /// Requests of the trace that were made, whatever became of them.
    pub requests: u64,
    /// Writes that returned.
    pub writes: u64,
    /// Reads of the trace by the tier that answered.
    pub tiers: [u64; 5],
    /// Answers that came unmarked, and so were held against Δ; those of the watch included.
    pub checked: u64,
    /// Answers that were marked as stale, for which only their own word counts.
    pub marked_stale: u64,
    /// Unmarked answers older than Δ.
    pub older_than_bound: u64,
    /// Answers older than they said themselves.
    pub older_than_told: u64,
    /// The farthest that an unmarked answer was behind.
    pub farthest_behind: Duration,
    /// Microseconds from a write's return until another replica served the old value no more.
    pub gone: Histogram<u64>,
    /// Microseconds from a write's return until another replica had answered with the new one.
    pub shown: Histogram<u64>,
    /// Old answers that came from the other replica after a watched write had returned.
    pub old_after_write: u64,
    /// Watched writes that the other replica did not show in time.
    pub never_propagated: u64,
    /// Calls that failed, by their code.
    pub failures: BTreeMap<String, u64>,
    /// What one of them said.
    pub failure: Option<String>,
    /// Workers that did not come to their end.
    pub lost_workers: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: 0,
            writes: 0,
            tiers: [0; 5],
            checked: 0,
            marked_stale: 0,
            older_than_bound: 0,
            older_than_told: 0,
            farthest_behind: Duration::ZERO,
            gone: micros(),
            shown: micros(),
            old_after_write: 0,
            never_propagated: 0,
            failures: BTreeMap::new(),
            failure: None,
            lost_workers: 0,
        }
    }
}

impl Tally {
    /// A read of the trace was answered.
    pub fn answered(&mut self, tier: Tier) {
        self.tiers[tier as usize] += 1;
    }

    /// Reads of the trace that this tier answered.
    pub fn from(&self, tier: Tier) -> u64 {
        self.tiers[tier as usize]
    }

    /// Reads of the trace that were answered.
    pub fn reads(&self) -> u64 {
        self.tiers.iter().sum()
    }

    /// An answer was held against what was known: one that is marked as stale against its own
    /// word only.
    pub fn judged(&mut self, verdict: Verdict, is_marked: bool, bound: Duration) {
        self.older_than_told += u64::from(verdict.older_than_told);
        if is_marked {
            self.marked_stale += 1;
            return;
        }
        let behind = verdict.behind.unwrap_or_default();
        self.checked += 1;
        self.older_than_bound += u64::from(behind > bound);
        self.farthest_behind = self.farthest_behind.max(behind);
    }

    /// A watched write was shown.
    pub fn propagated(&mut self, gone: Duration, shown: Duration) {
        for (times, after) in [(&mut self.gone, gone), (&mut self.shown, shown)] {
            let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            times.saturating_record(micros.max(1));
        }
    }

    /// A call failed.
    pub fn failed(&mut self, status: &Status) {
        *self
            .failures
            .entry(format!("{:?}", status.code()))
            .or_default() += 1;
        self.failure
            .get_or_insert_with(|| status.message().to_owned());
    }

    /// Calls that failed.
    pub fn failed_calls(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Nothing worked, and that often.
    pub fn is_hopeless(&self, limit: u64) -> bool {
        self.checked + self.writes + self.marked_stale == 0 && self.failed_calls() >= limit
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.writes += other.writes;
        self.tiers
            .iter_mut()
            .zip(other.tiers)
            .for_each(|(sum, more)| *sum += more);
        self.checked += other.checked;
        self.marked_stale += other.marked_stale;
        self.older_than_bound += other.older_than_bound;
        self.older_than_told += other.older_than_told;
        self.farthest_behind = self.farthest_behind.max(other.farthest_behind);
        // Both were made with the same limits, so that everything fits.
        _ = self.gone.add(other.gone);
        _ = self.shown.add(other.shown);
        self.old_after_write += other.old_after_write;
        self.never_propagated += other.never_propagated;
        for (code, count) in other.failures {
            *self.failures.entry(code).or_default() += count;
        }
        self.failure = self.failure.take().or(other.failure);
    }
}

fn micros() -> Histogram<u64> {
    Histogram::new_with_max(MOST_MICROS, 3).expect("within its limits")
}
