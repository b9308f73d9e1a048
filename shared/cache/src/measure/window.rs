//! What became of reads, from counters that only grow, as a sum in which old reads fade.

use crate::stats::{MISSES, Miss, Outcome, Stats};

const COUNTS: usize = 1 + MISSES.len();

/// Hits in memory, and misses by their cause.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tally([f64; COUNTS]);

impl Default for Tally {
    fn default() -> Self {
        Self([0.0; COUNTS])
    }
}

impl Tally {
    /// What these counters say, without as many hits and misses that nobody asked for.
    pub(super) fn of(stats: &Stats, unasked_hits: u64, unasked_misses: u64) -> Self {
        let mut counts = [0; COUNTS];
        counts[0] = stats.reads(Outcome::L1).saturating_sub(unasked_hits);
        for &miss in MISSES {
            counts[1 + miss as usize] = stats.misses(miss);
        }
        let cold = &mut counts[1 + Miss::Cold as usize];
        *cold = cold.saturating_sub(unasked_misses);
        Self(counts.map(|count| count as f64))
    }

    pub(crate) fn hits(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn misses(&self, miss: Miss) -> f64 {
        self.0[1 + miss as usize]
    }

    /// Reads of which memory was asked.
    pub(crate) fn reads(&self) -> f64 {
        let misses = MISSES.iter().filter(|miss| miss.is_local());
        self.hits() + misses.map(|&miss| self.misses(miss)).sum::<f64>()
    }

    #[cfg(test)]
    pub(crate) fn made_of(hits: f64, misses: &[(Miss, f64)]) -> Self {
        let mut tally = Self::default();
        tally.0[0] = hits;
        for &(miss, count) in misses {
            tally.0[1 + miss as usize] = count;
        }
        tally
    }
}

/// A sum of tallies, to which the counters are added as they grow.
#[derive(Default)]
pub(super) struct Window {
    kept: Tally,
    counted: Tally,
}

impl Window {
    /// The sum up to these counts.
    pub(super) fn until(&self, now: &Tally) -> Tally {
        let sum = |n: usize| self.kept.0[n] + (now.0[n] - self.counted.0[n]).max(0.0);
        Tally(std::array::from_fn(sum))
    }

    /// Counts everything up to these counts for no more than this share of it.
    pub(super) fn fade(&mut self, now: &Tally, share: f64) {
        self.kept = Tally(self.until(now).0.map(|count| count * share));
        self.counted = now.clone();
    }
}
