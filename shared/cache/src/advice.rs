//! How well a keyspace is cut, and what would help: from its counters and its miss-ratio curve.
//!
//! A read hits if its entry is in memory, which is a matter of room, and if the rule and the TTL
//! let it be served, which is not. So the curve, which knows of nothing but room, is not the hit
//! ratio: what it says of presence is multiplied by the share of present entries that could be
//! served. What was measured is believed before what was estimated: more memory is never said to
//! hold less than this one does, nor less memory more.
//!
//! The curve is that of a memory from which the least recently used entry leaves. Where the policy
//! is [TinyLFU](crate::policy::Eviction::TinyLfu), memory of another size may do better where reads scan,
//! and does worse where interest moves on: on two traces of web shops by 3 to 25 points, most where
//! memory is smallest (`cargo bench -p larder --bench eviction`).

use crate::measure::Tally;
use crate::measure::shards::Curve;
use crate::policy::Policy;
use crate::stats::{MISSES, Miss};

/// Below this, one more doubling of memory is not worth it.
const WORTH: f64 = 0.01;

/// Fewer reads than this say little.
const FEW: u64 = 1_000;

/// What is said of a keyspace; see the words first.
#[derive(Clone, PartialEq, Debug)]
pub struct Advice {
    /// What the policy grants.
    pub capacity_bytes: u64,
    /// What is in use.
    pub used_bytes: u64,
    /// Reads that it is drawn from, in which those of an hour ago count half.
    pub reads: u64,
    /// The share of them that memory answered.
    pub hit_ratio: f64,
    /// What other capacities would do, from half of this one upwards.
    pub outlooks: Vec<Outlook>,
    /// The least capacity from which on no doubling would gain a hundredth of the reads.
    pub knee: Outlook,
    /// Why reads missed, the most frequent cause first; causes that never occurred are left out.
    pub causes: Vec<Cause>,
    /// All that matters of this, in sentences.
    pub words: Vec<String>,
}

/// What one capacity would do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outlook {
    /// The capacity.
    pub capacity_bytes: u64,
    /// The share of reads that memory would answer: an estimate.
    pub hit_ratio: f64,
}

/// A cause of misses.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cause {
    /// The cause.
    pub miss: Miss,
    /// Its share of all misses.
    pub share: f64,
}

/// What follows from what became of reads and from their curve.
pub(crate) fn advise(policy: &Policy, used_bytes: u64, tally: &Tally, curve: &Curve) -> Advice {
    let reads = tally.reads().max(1.0);
    let cut = Cut {
        capacity_bytes: policy.capacity_bytes,
        present: 1.0 - (tally.misses(Miss::Cold) + tally.misses(Miss::Evicted)) / reads,
        hit_ratio: tally.hits() / reads,
        curve,
    };
    let outlooks = [(1, 2), (1, 1), (2, 1), (4, 1), (8, 1), (16, 1)];
    let outlooks = outlooks.map(|(times, of)| cut.at(policy.capacity_bytes / of * times));
    let misses = (reads - tally.hits()).max(1.0);
    let mut causes: Vec<Cause> = MISSES
        .iter()
        .filter(|miss| miss.is_local() && tally.misses(**miss) > 0.0)
        .map(|&miss| Cause {
            miss,
            share: tally.misses(miss) / misses,
        })
        .collect();
    causes.sort_by(|a, b| b.share.total_cmp(&a.share));
    let mut advice = Advice {
        capacity_bytes: policy.capacity_bytes,
        used_bytes,
        reads: tally.reads() as u64,
        hit_ratio: cut.hit_ratio,
        outlooks: outlooks.into(),
        knee: cut.knee(),
        causes,
        words: Vec::new(),
    };
    advice.words = words(&advice);
    advice
}

/// A memory as it is now.
struct Cut<'a> {
    capacity_bytes: u64,
    /// The share of reads that find an entry.
    present: f64,
    hit_ratio: f64,
    curve: &'a Curve,
}

impl Cut<'_> {
    fn at(&self, capacity_bytes: u64) -> Outlook {
        let estimate = self.curve.hit_ratio(capacity_bytes);
        let present = match capacity_bytes.cmp(&self.capacity_bytes) {
            std::cmp::Ordering::Less => estimate.min(self.present),
            std::cmp::Ordering::Equal => self.present,
            std::cmp::Ordering::Greater => estimate.max(self.present),
        };
        let served = match self.present > 0.0 {
            true => self.hit_ratio / self.present,
            false => 1.0,
        };
        let hit_ratio = (present * served).clamp(0.0, 1.0);
        Outlook {
            capacity_bytes,
            hit_ratio,
        }
    }

    /// From the largest capacity downwards by a sixth at a time, as long as no doubling is worth
    /// its bytes: so a cliff behind a plain is seen.
    fn knee(&self) -> Outlook {
        let most = self.capacity_bytes.saturating_mul(256);
        let mut knee = self.at(most);
        loop {
            let smaller = self.at(knee.capacity_bytes / 6 * 5);
            let doubled = self.at(smaller.capacity_bytes.saturating_mul(2));
            if smaller.capacity_bytes < 1024 || doubled.hit_ratio - smaller.hit_ratio >= WORTH {
                return knee;
            }
            knee = smaller;
        }
    }
}

fn words(advice: &Advice) -> Vec<String> {
    let capacity = bytes(advice.capacity_bytes);
    let percent = |ratio: f64| format!("{:.0} %", ratio * 100.0);
    if advice.reads < FEW {
        let reads = advice.reads;
        return vec![format!("{reads} reads are too few to say anything yet.")];
    }
    let (now, knee) = (percent(advice.hit_ratio), advice.knee);
    let mut words = Vec::new();
    if knee.hit_ratio - advice.hit_ratio >= WORTH {
        let (size, would) = (bytes(knee.capacity_bytes), percent(knee.hit_ratio));
        words.push(format!(
            "{size} would hit {would}, you have {capacity} at {now}."
        ));
    } else if knee.capacity_bytes <= advice.capacity_bytes / 2 {
        let (size, would) = (bytes(knee.capacity_bytes), percent(knee.hit_ratio));
        words.push(format!(
            "You have {capacity} at {now}, and {size} would hit {would}."
        ));
    } else {
        words.push(format!(
            "You have {capacity} at {now}, and more would not help."
        ));
    }
    let large = advice.causes.iter().filter(|cause| cause.share >= 0.1);
    words.extend(large.map(|cause| {
        let share = percent(cause.share);
        format!(
            "{} the cause of {share} of the misses.",
            subject(cause.miss)
        )
    }));
    words
}

/// A cause, as the beginning of a sentence.
fn subject(miss: Miss) -> &'static str {
    match miss {
        Miss::Cold => "First reads of a key are",
        Miss::Evicted => "Want of room is",
        Miss::Expired => "TTL is",
        Miss::Moved => "Writes are",
        Miss::Unproven => "Proofs that came later than max_staleness are",
        Miss::Token => "Callers that had just written are",
        Miss::Strong => "Strong reads are",
        _ => "The remote tier is",
    }
}

/// A size as people write it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (count as f64, 0);
    while size >= 1023.5 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    match size < 9.95 && unit > 0 && (size - size.round()).abs() >= 0.05 {
        true => format!("{size:.1} {}", UNITS[unit]),
        false => format!("{size:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::shards::Shards;
    use std::hash::BuildHasher as _;

    const MIB: u64 = 1 << 20;

    /// The curve of a loop over 4,096 keys of 10 KiB: 40 MiB.
    fn looped() -> (Curve, f64) {
        let hasher = foldhash::quality::FixedState::default();
        let mut shards = Shards::default();
        for key in (0..50).flat_map(|_| 0..4_096u64) {
            shards.note(hasher.hash_one(key), Some(10 << 10));
        }
        (shards.curve(204_800.0), 204_800.0)
    }

    fn policy(capacity_bytes: u64) -> Policy {
        Policy {
            capacity_bytes,
            ..Policy::default()
        }
    }

    #[test]
    fn a_cliff_above_the_capacity_is_named_with_its_size() {
        let (curve, reads) = looped();
        let tally = Tally::made_of(
            0.0,
            &[(Miss::Cold, 4096.0), (Miss::Evicted, reads - 4096.0)],
        );
        let advice = advise(&policy(16 * MIB), 16 * MIB, &tally, &curve);
        let at = |times: u64| {
            let mut all = advice.outlooks.iter();
            let found = all.find(|outlook| outlook.capacity_bytes == 16 * MIB * times);
            found.expect("an outlook").hit_ratio
        };
        assert!(at(1) == 0.0 && at(2) < 0.01 && at(4) > 0.97, "{advice:?}");
        let knee = advice.knee.capacity_bytes;
        assert!((40 * MIB..50 * MIB).contains(&knee), "{knee}");
        assert!(advice.words[0].contains("MiB would hit 98 %, you have 16 MiB at 0 %"));
        assert_eq!(
            advice.words[1],
            "Want of room is the cause of 98 % of the misses."
        );
    }

    #[test]
    fn what_ttl_costs_no_memory_brings_back() {
        let (curve, reads) = looped();
        let tally = Tally::made_of(
            reads * 0.5,
            &[
                (Miss::Cold, reads * 0.02),
                (Miss::Expired, reads * 0.38),
                (Miss::Moved, reads * 0.1),
            ],
        );
        let advice = advise(&policy(64 * MIB), 41 * MIB, &tally, &curve);
        let last = advice.outlooks.last().expect("outlooks");
        assert!((last.hit_ratio - 0.5).abs() < 0.01, "{advice:?}");
        assert_eq!(
            advice.words,
            [
                "You have 64 MiB at 50 %, and more would not help.",
                "TTL is the cause of 76 % of the misses.",
                "Writes are the cause of 20 % of the misses.",
            ]
        );
    }

    #[test]
    fn memory_that_nobody_needs_is_said_to_be_too_much() {
        let (curve, reads) = looped();
        let tally = Tally::made_of(reads * 0.98, &[(Miss::Cold, reads * 0.02)]);
        let advice = advise(&policy(512 * MIB), 40 * MIB, &tally, &curve);
        assert!(
            advice.words[0].starts_with("You have 512 MiB at 98 %, and 4"),
            "{advice:?}"
        );
    }

    #[test]
    fn few_reads_say_nothing_and_sizes_are_written_as_people_do() {
        let advice = advise(&policy(MIB), 0, &Tally::default(), &looped().0);
        assert_eq!(advice.words, ["0 reads are too few to say anything yet."]);
        let sizes = [0, 1023, 1536, 10 << 10, 64 << 20, 3 << 29].map(bytes);
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1.5 KiB", "10 KiB", "64 MiB", "1.5 GiB"]
        );
    }
}
