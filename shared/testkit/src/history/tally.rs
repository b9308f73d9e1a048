//! What was counted.

use super::Origin;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Counts of a part of a run.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Answers that were judged.
    pub reads: u64,
    /// What they showed of single rows.
    pub facts: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Broken promises.
    pub violations: u64,
    /// The longest that an unmarked answer was behind.
    pub longest: Duration,
    /// The longest that an answer marked stale was behind.
    pub longest_marked: Duration,
    origins: [u64; 5],
    /// By how many microseconds unmarked answers were behind.
    behind: Histogram<u64>,
}

const SLOWEST_MICROS: u64 = 600_000_000;

impl Default for Tally {
    fn default() -> Self {
        let behind = Histogram::new_with_max(SLOWEST_MICROS, 3);
        Self {
            reads: 0,
            facts: 0,
            writes: 0,
            violations: 0,
            longest: Duration::ZERO,
            longest_marked: Duration::ZERO,
            origins: [0; 5],
            behind: behind.expect("the bounds are in order"),
        }
    }
}

impl Tally {
    pub(super) fn read(&mut self, origin: Origin, facts: usize, behind: Duration, broken: usize) {
        self.reads += 1;
        self.facts += facts as u64;
        self.violations += broken as u64;
        self.origins[origin as usize] += 1;
        if origin == Origin::Stale {
            self.longest_marked = self.longest_marked.max(behind);
            return;
        }
        self.longest = self.longest.max(behind);
        let micros = u64::try_from(behind.as_micros()).unwrap_or(u64::MAX);
        self.behind.saturating_record(micros);
    }

    /// Answers of this origin.
    pub fn of(&self, origin: Origin) -> u64 {
        self.origins[origin as usize]
    }

    /// The share of the answers that came from memory or the shared tier.
    pub fn share_cached(&self) -> f64 {
        let cached = self.of(Origin::L1) + self.of(Origin::L2);
        cached as f64 / (self.reads as f64).max(1.0)
    }

    /// By how much the unmarked answer at this quantile, of 1, was behind.
    pub fn behind(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.behind.value_at_quantile(quantile))
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.facts += other.facts;
        self.writes += other.writes;
        self.violations += other.violations;
        self.longest = self.longest.max(other.longest);
        self.longest_marked = self.longest_marked.max(other.longest_marked);
        for (sum, count) in self.origins.iter_mut().zip(other.origins) {
            *sum += count;
        }
        // Both have the same bounds.
        let _ = self.behind.add(&other.behind);
    }
}
