//! Which keys left memory for room, so that a miss of theirs is told from the first read of a
//! key: a Bloom filter in two halves (Bloom, CACM 1970). The newer half takes keys until it is
//! full; then the older one is forgotten and becomes the newer. Without a lock.
//!
//! It remembers as many keys as memory may hold entries, up to what [`MOST_BYTES`] allow; of keys
//! that it never took it knows about one in a hundred all the same.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What both halves take at the most.
const MOST_BYTES: u64 = 256 << 10;
const LEAST_BYTES: u64 = 2 << 10;

/// Bits for a key, and how many of them it sets.
const BITS: u32 = 10;
const PROBES: u64 = 4;

/// The size of an entry with which its capacity is made to a number of keys.
const ENTRY_BYTES: u64 = 1024;

pub(crate) struct Ghost {
    halves: [Box<[AtomicU64]>; 2],
    newer: AtomicUsize,
    /// Keys in the newer half.
    taken: AtomicU32,
}

impl Ghost {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let keys = capacity_bytes / ENTRY_BYTES;
        let bytes = keys.saturating_mul(u64::from(2 * BITS)) / 8;
        let words = bytes.clamp(LEAST_BYTES, MOST_BYTES).next_power_of_two() / 16;
        let half = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self {
            halves: [half(), half()],
            newer: AtomicUsize::new(0),
            taken: AtomicU32::new(0),
        }
    }

    /// The key of this hash left for room.
    pub(crate) fn take(&self, hash: u64) {
        let newer = self.newer.load(Ordering::Relaxed);
        for (word, bit) in self.places(hash) {
            self.halves[newer][word].fetch_or(bit, Ordering::Relaxed);
        }
        let bits = self.halves[newer].len() as u32 * 64;
        // Of those who take the last place exactly one turns. Keys that come while it does may
        // be forgotten too soon, which makes a miss look like a first read.
        if self.taken.fetch_add(1, Ordering::Relaxed) + 1 == bits / BITS {
            let older = 1 - newer;
            for word in &self.halves[older] {
                word.store(0, Ordering::Relaxed);
            }
            self.newer.store(older, Ordering::Relaxed);
            self.taken.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the key of this hash left for room, not too long ago.
    pub(crate) fn knows(&self, hash: u64) -> bool {
        let set = |half: &[AtomicU64]| {
            self.places(hash)
                .all(|(word, bit)| half[word].load(Ordering::Relaxed) & bit != 0)
        };
        self.halves.iter().any(|half| set(half))
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> {
        let bits = self.halves[0].len() as u64 * 64;
        // Double hashing (Kirsch and Mitzenmacher, 2006).
        let step = (hash >> 32) | 1;
        (0..PROBES).map(move |probe| {
            let place = hash.wrapping_add(probe.wrapping_mul(step)) % bits;
            ((place / 64) as usize, 1 << (place % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher as _;

    #[test]
    fn recent_ghosts_are_known_old_ones_forgotten_and_strangers_rarely_taken_for_ghosts() {
        let ghost = Ghost::new(8 << 20);
        let hasher = foldhash::quality::FixedState::default();
        let hash = |key: u64| hasher.hash_one(key);
        let known = |keys: std::ops::Range<u64>| keys.filter(|&k| ghost.knows(hash(k))).count();
        (0..100_000).for_each(|key| ghost.take(hash(key)));
        assert_eq!(known(96_000..100_000), 4_000);
        assert!(known(0..10_000) < 500, "{} old ones", known(0..10_000));
        let strangers = known(200_000..210_000);
        assert!(strangers < 500, "{strangers} of 10,000");
        let bytes = 16 * Ghost::new(u64::MAX).halves[0].len() as u64;
        assert_eq!(bytes, MOST_BYTES);
    }
}
