//! The keys that are read most, in bounded memory: Space-Saving (Metwally, Agrawal and El Abbadi,
//! "Efficient computation of frequent and top-k elements in data streams", ICDT 2005), with
//! weights, and with halving for age.
//!
//! There are [`SLOTS`] counters. A key that has none takes the lowest one over, with its count,
//! which becomes the bound of what its own count may be too high by. So a key with more than one
//! in `SLOTS` of all reads is never missed, and no estimate is too low but by what was not
//! sampled. Every [`HALF_LIFE`] all counts are halved: yesterday's hot keys give way to today's.

use crate::clock::Stamp;
use std::collections::HashMap;
use std::time::Duration;

/// Keys that are counted at a time.
const SLOTS: usize = 2048;

/// After this, a read counts half.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// A text that is longer gives its memory back when another key takes its place.
const TEXT_BYTES: usize = 128;

/// A key that is read much.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hot {
    /// Its text.
    pub key: String,
    /// How often it was read lately: an estimate from a sample, in which reads of ten minutes ago
    /// count half.
    pub reads: u64,
    /// What `reads` may be too high by, beside the error of sampling.
    pub error: u64,
}

#[derive(Default)]
pub(crate) struct Sketch {
    /// A binary heap, the lowest count first.
    slots: Vec<Slot>,
    /// Where the slot of a key is, by the key's hash. Keys whose hashes collide count as one.
    places: HashMap<u64, usize, foldhash::fast::FixedState>,
    aged_at: Stamp,
}

struct Slot {
    hash: u64,
    text: String,
    reads: u64,
    error: u64,
}

impl Sketch {
    /// The key of this hash was read so often; `write` writes its text.
    pub(crate) fn note(
        &mut self,
        hash: u64,
        reads: u64,
        now: Stamp,
        write: impl FnOnce(&mut String),
    ) {
        self.age(now);
        if let Some(&place) = self.places.get(&hash) {
            self.slots[place].reads += reads;
            self.sink(place);
        } else if self.slots.len() < SLOTS {
            let mut text = String::with_capacity(TEXT_BYTES);
            write(&mut text);
            let error = 0;
            self.slots.push(Slot {
                hash,
                text,
                reads,
                error,
            });
            self.places.insert(hash, self.slots.len() - 1);
            self.rise(self.slots.len() - 1);
        } else {
            let lowest = &mut self.slots[0];
            self.places.remove(&lowest.hash);
            lowest.hash = hash;
            lowest.error = lowest.reads;
            lowest.reads += reads;
            lowest.text.clear();
            lowest.text.shrink_to(TEXT_BYTES);
            write(&mut lowest.text);
            self.places.insert(hash, 0);
            self.sink(0);
        }
    }

    /// The hottest keys, those first that were surely read most.
    pub(crate) fn hottest(&mut self, most: usize, now: Stamp) -> Vec<Hot> {
        self.age(now);
        let mut slots: Vec<&Slot> = self.slots.iter().filter(|slot| slot.reads > 0).collect();
        slots.sort_by_key(|slot| std::cmp::Reverse((slot.reads - slot.error, slot.reads)));
        let hot = |slot: &Slot| Hot {
            key: slot.text.clone(),
            reads: slot.reads,
            error: slot.error,
        };
        slots.into_iter().take(most).map(hot).collect()
    }

    /// Halves all counts for every half-life that has passed; that leaves the heap a heap.
    fn age(&mut self, now: Stamp) {
        if self.aged_at == Stamp::NEVER {
            self.aged_at = now;
        }
        let passed = now.since(self.aged_at).as_nanos() / HALF_LIFE.as_nanos();
        if passed == 0 {
            return;
        }
        // Beyond 63 halvings nothing is left.
        let halvings = passed.min(63) as u32;
        for slot in &mut self.slots {
            slot.reads >>= halvings;
            slot.error >>= halvings;
        }
        self.aged_at = match passed {
            1..=63 => self.aged_at.after(HALF_LIFE * halvings),
            _ => now,
        };
    }

    /// Moves a slot whose count grew away from the top.
    fn sink(&mut self, mut place: usize) {
        loop {
            let children = 2 * place + 1..(2 * place + 3).min(self.slots.len());
            let Some(lower) = children.min_by_key(|&child| self.slots[child].reads) else {
                break;
            };
            if self.slots[place].reads <= self.slots[lower].reads {
                break;
            }
            self.swap(place, lower);
            place = lower;
        }
    }

    /// Moves a new slot towards the top.
    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.slots[parent].reads <= self.slots[place].reads {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.slots.swap(one, other);
        for place in [one, other] {
            self.places.insert(self.slots[place].hash, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Stamp {
        Stamp::from_nanos((3600 + seconds) * 1_000_000_000)
    }

    fn note(sketch: &mut Sketch, key: u64, reads: u64, now: Stamp) {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sketch.note(hash, reads, now, |text| text.push_str(&key.to_string()));
    }

    /// A hundred keys, each read often, among a flood of keys that are read once.
    #[test]
    fn heavy_keys_are_found_in_a_flood_and_their_counts_bounded() {
        let mut sketch = Sketch::default();
        let mut flood = 1_000_000;
        for round in 0..500 {
            for key in 0..100 {
                if round < 500 - key {
                    note(&mut sketch, key, 1, at(0));
                }
                for _ in 0..3 {
                    flood += 1;
                    note(&mut sketch, flood, 1, at(0));
                }
            }
        }
        assert_eq!(sketch.slots.len(), SLOTS);
        let hot = sketch.hottest(100, at(0));
        for (rank, hot) in hot.iter().enumerate() {
            let key: u64 = hot.key.parse().unwrap();
            let exact = 500 - key;
            assert!(key < 100, "rank {rank} is of the flood: {hot:?}");
            assert!(
                hot.reads >= exact && hot.reads - hot.error <= exact,
                "{hot:?}"
            );
        }
    }

    #[test]
    fn yesterdays_hot_keys_give_way_to_todays() {
        let mut sketch = Sketch::default();
        note(&mut sketch, 1, 1_000_000, at(0));
        assert_eq!(sketch.hottest(1, at(599))[0].reads, 1_000_000);
        note(&mut sketch, 2, 1_000, at(3600));
        assert_eq!(sketch.hottest(1, at(3600))[0].reads, 15_625);
        note(&mut sketch, 3, 7, at(24 * 3600));
        let hot = sketch.hottest(9, at(24 * 3600));
        assert_eq!(hot.len(), 1, "{hot:?}");
        assert_eq!((hot[0].key.as_str(), hot[0].reads), ("3", 7));
    }
}
