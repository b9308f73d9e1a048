//! What a keyspace notes of its reads, so that somebody can say how well it is cut: which keys are
//! [hot], how often memory of another size [would hit](shards), and which keys [left it](ghost).
//!
//! A read in memory pays for it with a hash, a comparison and a count-down. Only the few that are
//! sampled go further, and they never wait: where somebody else is writing just then, the sample
//! is lost. For hot keys, [reads](pace) are sampled; for the curve, keys are, and so many that
//! their reads stay within [`BUDGET`].
//!
//! What counts as a read: every key that `get` or `get_many` was asked for, whatever came of it,
//! those that other processes asked this one for, and what `peek` found. A `peek` that finds
//! nothing is followed by a `get`, which counts. Not counted: what [`Keyspace::warm`] brings,
//! since nobody asked for it, and the parts of a [memo](crate::Memo) that was answered whole,
//! since their keyspaces were not asked.
//!
//! [`Keyspace::warm`]: crate::Keyspace::warm

mod ghost;
pub(crate) mod hot;
mod pace;
pub(crate) mod shards;
mod stack;
mod window;

use crate::clock::Stamp;
use crate::key::Key;
use crate::stats::Counters;
use ghost::Ghost;
use hot::{Hot, Sketch};
use shards::{Curve, Shards};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
pub(crate) use window::Tally;
use window::Window;

/// Reads that the curve takes in a second: half a hundredth of a core. Where more come, half of
/// the keys are let go, and the rest of the second is.
const BUDGET: u32 = 20_000;

/// Fewer keys than this say too little: there, only the second is let go. What is lost then are
/// mostly reads of the hottest keys, for which the curve makes up by itself.
const LEAST_KEYS: usize = 1024;

/// After this, a read counts half in the curve, and in what is said of hits and misses with it.
const HALF_LIFE: Duration = Duration::from_secs(3600);

/// What one keyspace notes of its reads.
pub(crate) struct Measure {
    hasher: foldhash::quality::RandomState,
    /// The keys whose hashes lie below are noted in the curve; none for the rest of a second
    /// whose budget is spent.
    threshold: AtomicU64,
    hot: Mutex<Sketch>,
    curve: Mutex<Sample>,
    ghost: Ghost,
    counters: Arc<Counters>,
    /// Hits and misses in the counters that nobody asked for.
    unasked: [AtomicU64; 2],
}

/// The sample of keys, and how much was made of this second.
#[derive(Default)]
struct Sample {
    /// Made when the first read comes: it takes a mebibyte.
    shards: Option<Box<Shards>>,
    second: u64,
    noted: u32,
    window: Window,
    aged_at: Stamp,
}

impl Measure {
    pub(crate) fn new(capacity_bytes: u64, counters: Arc<Counters>) -> Self {
        Self {
            hasher: Default::default(),
            threshold: AtomicU64::new(u64::MAX),
            hot: Mutex::default(),
            curve: Mutex::default(),
            ghost: Ghost::new(capacity_bytes),
            counters,
            unasked: Default::default(),
        }
    }

    /// A key was asked for; its entry weighs so much, if it is in memory.
    #[inline]
    pub(crate) fn read<K: Key>(
        &self,
        key: &K,
        weight: impl FnOnce() -> Option<u64>,
        now: impl FnOnce() -> Stamp,
    ) {
        let hash = self.hasher.hash_one(key);
        let stands_for = pace::sampled();
        if stands_for.is_some() || hash < self.threshold.load(Ordering::Relaxed) {
            self.note(key, hash, weight(), stands_for, now());
        }
    }

    #[cold]
    fn note<K: Key>(
        &self,
        key: &K,
        hash: u64,
        weight: Option<u64>,
        stands_for: Option<u32>,
        now: Stamp,
    ) {
        if let Ok(mut curve) = self.curve.try_lock() {
            curve.age(now, || self.tally());
            let threshold = curve.note(hash, weight, now);
            self.threshold.store(threshold, Ordering::Relaxed);
        }
        if let Some(reads) = stands_for
            && let Ok(mut hot) = self.hot.try_lock()
        {
            hot.note(hash, u64::from(reads), now, |text| key.write(text));
        }
    }

    /// The key's entry comes into memory and weighs so much.
    pub(crate) fn weigh<K: Key>(&self, key: &K, weight: u64) {
        let hash = self.hasher.hash_one(key);
        if hash < self.threshold.load(Ordering::Relaxed)
            && let Ok(mut curve) = self.curve.try_lock()
            && let Some(shards) = &mut curve.shards
        {
            shards.weigh(hash, weight);
        }
    }

    /// Of what the counters count, so many hits and misses were of keys that nobody asked for.
    pub(crate) fn unasked(&self, hits: usize, misses: usize) {
        self.unasked[0].fetch_add(hits as u64, Ordering::Relaxed);
        self.unasked[1].fetch_add(misses as u64, Ordering::Relaxed);
    }

    /// The key's entry left memory for room.
    pub(crate) fn evicted<K: Key>(&self, key: &K) {
        self.ghost.take(self.hasher.hash_one(key));
    }

    /// Whether the key's entry left memory for room, not too long ago.
    pub(crate) fn was_evicted<K: Key>(&self, key: &K) -> bool {
        self.ghost.knows(self.hasher.hash_one(key))
    }

    /// The keys that were read most, at most this many: see [`Hot`].
    pub(crate) fn hot(&self, most: usize, now: Stamp) -> Vec<Hot> {
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        hot.hottest(most, now)
    }

    /// What became of the reads of the last hours, and the curve that they make.
    pub(crate) fn curve(&self, now: Stamp) -> (Tally, Curve) {
        let mut sample: MutexGuard<'_, Sample> =
            self.curve.lock().unwrap_or_else(PoisonError::into_inner);
        sample.age(now, || self.tally());
        let tally = sample.window.until(&self.tally());
        let shards = sample.shards.get_or_insert_default();
        let curve = shards.curve(tally.reads());
        (tally, curve)
    }

    fn tally(&self) -> Tally {
        let [hits, misses] = [0, 1].map(|n| self.unasked[n].load(Ordering::Relaxed));
        Tally::of(&self.counters.snapshot(), hits, misses)
    }
}

impl Sample {
    /// Notes the read, within the second's budget; answers the threshold from now on.
    fn note(&mut self, hash: u64, weight: Option<u64>, now: Stamp) -> u64 {
        let shards = self.shards.get_or_insert_default();
        let second = now.as_nanos() / 1_000_000_000;
        if self.second != second {
            (self.second, self.noted) = (second, 0);
        }
        if self.noted == BUDGET {
            return 0;
        }
        shards.note(hash, weight);
        self.noted += 1;
        if self.noted == BUDGET {
            shards.shrink((shards.len() / 2).max(LEAST_KEYS));
            return 0;
        }
        shards.threshold()
    }

    /// Lets what was noted fade, once in a half-life.
    fn age(&mut self, now: Stamp, tally: impl FnOnce() -> Tally) {
        if self.aged_at == Stamp::NEVER {
            self.aged_at = now;
        }
        let passed = now.since(self.aged_at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        if passed >= 1.0 {
            let share = 0.5f64.powf(passed);
            self.window.fade(&tally(), share);
            if let Some(shards) = &mut self.shards {
                shards.fade(share);
            }
            self.aged_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_whose_budget_is_spent_is_let_go_and_the_next_one_samples_fewer_keys() {
        let hasher = foldhash::quality::FixedState::default();
        let mut sample = Sample::default();
        let at = |second: u64| Stamp::from_nanos(second * 1_000_000_000);
        let mut note =
            |n: u64, second| sample.note(hasher.hash_one(n % 5_000), Some(1), at(second));
        for n in 0..u64::from(BUDGET) - 1 {
            assert_ne!(note(n, 1), 0);
        }
        assert_eq!((note(0, 1), note(1, 1)), (0, 0));
        assert_ne!(note(2, 2), 0);
        assert!(sample.shards.as_ref().unwrap().len() <= 2_501);
        for second in 3..9 {
            for n in 0..3_000_000 {
                if sample.note(hasher.hash_one(n % 5_000), Some(1), at(second)) == 0 {
                    break;
                }
            }
        }
        assert_eq!(sample.shards.unwrap().len(), LEAST_KEYS);
    }

    /// Nanoseconds of each call, in the quickest of many short runs: what others do on the same
    /// machine only ever adds.
    fn quickest(mut call: impl FnMut(u64)) -> f64 {
        const CALLS: u64 = 2_000;
        let run = |run: u64| {
            let began = std::time::Instant::now();
            for n in 0..CALLS {
                call(run * CALLS + n);
            }
            began.elapsed().as_nanos() as f64 / CALLS as f64
        };
        (0..if cfg!(debug_assertions) { 3 } else { 2_000 })
            .map(run)
            .fold(f64::INFINITY, f64::min)
    }

    /// Prints what a read pays and what samples cost in a second at the most:
    /// `cargo test --release -p larder --lib priced -- --nocapture`.
    #[test]
    fn the_sample_stays_full_while_it_is_priced() {
        let hasher = foldhash::quality::FixedState::default();
        // As many keys as the sample has room for, so that none is let go at once.
        let key = |n: u64| hasher.hash_one(n) % shards::KEYS as u64;
        let measure = Measure::new(64 << 20, Arc::default());
        measure.threshold.store(0, Ordering::Relaxed);
        let now = crate::clock::Clock::machine().now();
        let (mut shards, mut hot) = (Shards::default(), Sketch::default());
        let curve = quickest(|n| shards.note(hasher.hash_one(key(n)), Some(600)));
        let seen = quickest(|n| hot.note(key(n), 1, now, |text| text.push_str("key")));
        let passed = quickest(|n| measure.read(&key(n).to_string(), || Some(600), || now));
        let named = quickest(|n| drop(std::hint::black_box(key(n).to_string())));
        println!(
            "a read that is not in the curve's sample: {:.0} ns; a read in it: {curve:.0} ns, \
             {:.2} % of a core in a full second; a hot key's sample: {seen:.0} ns, {:.2} % of the \
             thread that is sampled all the time",
            passed - named,
            curve * f64::from(BUDGET) / 1e7,
            seen / pace::SPAN.as_nanos() as f64 * 100.0,
        );
        assert!(shards.len() > LEAST_KEYS, "{} keys", shards.len());
    }
}
