//! How often memory of any size would hit, from a sample of the keys: SHARDS of fixed size, with
//! the correction of its authors (Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC
//! construction with SHARDS", FAST 2015). Pure code: no clock, no lock, no I/O.
//!
//! A least-recently-used cache hits iff the entries read since the key's last read, and its own,
//! fit in. So for each read of a sampled key (one whose hash lies below a threshold) it is noted
//! how many bytes lie above the key in a stack, scaled up by the share of keys that is sampled.
//! Bytes and not entries, because it is bytes that a policy grants, and one large value takes the
//! place of many small ones. A key that was not in memory counts with the mean of all until it was
//! loaded.
//!
//! When more than [`KEYS`] keys are sampled the threshold is lowered, and those above are let go.
//! Reads noted before count for as many as their share was then. What chance put into the sample
//! or left out are mostly the hottest keys, which any memory holds: the difference between what
//! the sampled reads stand for and all reads is credited to the smallest distance.

use super::stack::Stack;
use std::collections::{BinaryHeap, HashMap};

/// Keys in the sample. Half a megabyte holds them.
pub(crate) const KEYS: usize = 8192;

/// Places in the stack; it is closed up after as many reads as there are more places than keys.
const PLACES: usize = 4 * KEYS;

/// Distances up to `FINE` have a bucket each, those above `FINE / 2` to a doubling.
const FINE: u64 = 64;
const BUCKETS: usize = (FINE + (64 - FINE.ilog2() as u64) * FINE / 2) as usize;

/// The sample.
pub(crate) struct Shards {
    threshold: u64,
    keys: HashMap<u64, Seen, foldhash::fast::FixedState>,
    /// The hashes of all keys, the highest first.
    highest: BinaryHeap<u64>,
    stack: Stack,
    /// Reads by distance in bytes.
    histogram: Vec<f64>,
    /// How many reads the sampled ones stand for, those of new keys included.
    stood_for: f64,
}

struct Seen {
    place: usize,
    weight: u64,
}

impl Default for Shards {
    fn default() -> Self {
        Self {
            threshold: u64::MAX,
            keys: HashMap::default(),
            highest: BinaryHeap::new(),
            stack: Stack::new(PLACES),
            histogram: vec![0.0; BUCKETS],
            stood_for: 0.0,
        }
    }
}

impl Shards {
    /// Keys whose hashes lie below are sampled.
    pub(crate) fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Keys in the sample.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key of this hash was read; its entry weighed so much, if it was in memory.
    pub(crate) fn note(&mut self, hash: u64, weight: Option<u64>) {
        if hash >= self.threshold {
            return;
        }
        let rate = self.threshold as f64 / 2f64.powi(64);
        self.stood_for += 1.0 / rate;
        let weight = match self.keys.remove(&hash) {
            Some(seen) => {
                let weight = weight.unwrap_or(seen.weight);
                let above = self.stack.above(seen.place) as f64 / rate;
                let distance = above + weight as f64;
                self.histogram[bucket(distance as u64)] += 1.0 / rate;
                self.stack.remove(seen.place, seen.weight);
                weight
            }
            None => {
                self.highest.push(hash);
                weight.unwrap_or_else(|| self.mean())
            }
        };
        if self.stack.is_used_up() {
            self.close_up();
        }
        let place = self.stack.push(hash, weight);
        self.keys.insert(hash, Seen { place, weight });
        if self.keys.len() > KEYS {
            self.shrink(KEYS);
        }
    }

    /// The entry of this hash's key weighs so much, as is known now that it was loaded.
    pub(crate) fn weigh(&mut self, hash: u64, weight: u64) {
        if let Some(seen) = self.keys.get_mut(&hash) {
            self.stack.reweigh(seen.place, seen.weight, weight);
            seen.weight = weight;
        }
    }

    /// Lowers the threshold until at most this many keys are sampled.
    pub(crate) fn shrink(&mut self, keys: usize) {
        while self.keys.len() > keys
            && let Some(highest) = self.highest.pop()
        {
            self.threshold = highest;
            if let Some(seen) = self.keys.remove(&highest) {
                self.stack.remove(seen.place, seen.weight);
            }
        }
    }

    /// What was noted so far counts this much from now on.
    pub(crate) fn fade(&mut self, share: f64) {
        self.histogram.iter_mut().for_each(|reads| *reads *= share);
        self.stood_for *= share;
    }

    /// What it all says, where there were so many reads in truth.
    pub(crate) fn curve(&self, reads: f64) -> Curve {
        let reads = reads.max(1.0);
        let mut sum = reads - self.stood_for;
        let share = |reads_within: &f64| {
            sum += reads_within;
            (sum / reads).clamp(0.0, 1.0)
        };
        Curve(self.histogram.iter().map(share).collect())
    }

    fn mean(&self) -> u64 {
        self.stack.total() / (self.keys.len() as u64).max(1)
    }

    fn close_up(&mut self) {
        let keys = &mut self.keys;
        self.stack.close_up(|key, place| {
            let seen = keys.get_mut(&key);
            seen.map_or(0, |seen| {
                seen.place = place;
                seen.weight
            })
        });
    }
}

/// How often memory of any size would hit, in theory: all entries live for ever, and the least
/// recently used one leaves.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve(Vec<f64>);

impl Curve {
    /// The share of reads that memory of this many bytes would answer.
    pub fn hit_ratio(&self, capacity_bytes: u64) -> f64 {
        let bucket = bucket(capacity_bytes).min(self.0.len() - 1);
        let below = bucket.checked_sub(1).map_or(0.0, |below| self.0[below]);
        let (from, to) = (floor(bucket), floor(bucket + 1));
        // A distance of exactly the capacity is a hit.
        let within = (capacity_bytes - from + 1) as f64 / (to - from).max(1) as f64;
        below + (self.0[bucket] - below) * within.clamp(0.0, 1.0)
    }
}

/// The bucket of a distance, and below the least distance of a bucket.
fn bucket(distance: u64) -> usize {
    if distance < FINE {
        return distance as usize;
    }
    let octave = u64::from(distance.ilog2() - FINE.ilog2());
    let step = (distance >> (octave + 1)) - FINE / 2;
    (FINE + octave * FINE / 2 + step) as usize
}

fn floor(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let (octave, step) = ((bucket - FINE) / (FINE / 2), (bucket - FINE) % (FINE / 2));
    let floor = u128::from(FINE / 2 + step) << (octave + 1);
    u64::try_from(floor).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
