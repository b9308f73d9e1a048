//! L1: a thin face on moka. It holds entries and knows nothing of the rule; an entry that moved
//! stays until something takes its place, is simply not served, and may yet be rescued.

mod pins;

use crate::entry::{Entry, Value};
use crate::key::Key;
use crate::measure::Measure;
use crate::policy::{Eviction, Policy};
use crate::stats::{Counters, Evicted};
use crate::tiers::Tiers;
use moka::notification::RemovalCause;
use pins::Pins;
use std::sync::Arc;

/// What an entry costs beside its value and what its key and tags hold on the heap, roughly:
/// the entry's own fields, moka's nodes and hash table. `benches/README.md` has the measurement.
pub(crate) const OVERHEAD_BYTES: usize = 400;

pub(crate) struct Local<K, V> {
    entries: moka::sync::Cache<K, Arc<Entry<V>>, foldhash::fast::RandomState>,
    pins: Pins<K, V>,
    largest: usize,
    measure: Arc<Measure>,
}

impl<K: Key, V: Value> Local<K, V> {
    /// Without memory its capacity is none, with which moka is off and a hit's path is the same.
    /// `evicted` is told the keys of entries that leave for room.
    pub(crate) fn new(
        name: &str,
        (policy, tiers): (&Policy, Tiers),
        counters: Arc<Counters>,
        measure: Arc<Measure>,
        evicted: impl Fn(&K) + Send + Sync + 'static,
    ) -> Self {
        let eviction = match policy.eviction {
            Eviction::TinyLfu => moka::policy::EvictionPolicy::tiny_lfu(),
            Eviction::Lru => moka::policy::EvictionPolicy::lru(),
        };
        let ghosts = measure.clone();
        let entries = moka::sync::Cache::builder()
            .name(name)
            .max_capacity(tiers.memory_of(policy.capacity_bytes))
            .weigher(|_, entry: &Arc<Entry<V>>| u32::try_from(weight(entry)).unwrap_or(u32::MAX))
            .eviction_policy(eviction)
            .eviction_listener(move |key: Arc<K>, _, cause| {
                let cause = cause_of(cause);
                counters.evicted(cause);
                if cause == Evicted::Size {
                    ghosts.evicted(&*key);
                    evicted(&key);
                }
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        // Beside what fills it: that is what a crowd asks for, and mostly the same entries.
        let room = tiers.memory_of(policy.capacity_bytes);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Self {
            entries,
            pins: Pins::new(room),
            largest: policy.largest_bytes,
            measure,
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<Arc<Entry<V>>> {
        self.entries.get(key).or_else(|| self.pins.get(key))
    }

    /// Keeps the entry, unless it is larger than the policy allows.
    pub(crate) fn insert(&self, key: K, entry: Arc<Entry<V>>) {
        self.keep(key, &entry);
    }

    /// As [`insert`](Local::insert), and says whether it is kept for sure: where the key is pinned
    /// and there is room for it, or, of a key that is not, for now.
    pub(crate) fn keep(&self, key: K, entry: &Arc<Entry<V>>) -> bool {
        let pinned = self.is_pinned(&key);
        let weight = weight(entry);
        if weight > self.largest {
            return false;
        }
        self.measure.weigh(&key, weight as u64);
        let kept = self.pins.renew(&key, entry, weight);
        self.entries.insert(key, entry.clone());
        kept || !pinned
    }

    /// Keeps the entries of these keys, those that are there and those that come, until they are
    /// [unpinned](Local::unpin) as often.
    pub(crate) fn pin(&self, keys: &[K]) {
        self.pins.pin(keys);
        for key in keys {
            if let Some(entry) = self.entries.get(key) {
                self.pins.renew(key, &entry, weight(&entry));
            }
        }
    }

    pub(crate) fn unpin(&self, keys: &[K]) {
        self.pins.unpin(keys);
    }

    pub(crate) fn is_pinned(&self, key: &K) -> bool {
        self.pins.has(key)
    }

    /// The keys, in no order; those that come or go meanwhile may be among them or not. Looks at
    /// no entry, and tells moka of no read.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Arc<K>> + Send + '_ {
        self.entries.iter().map(|(key, _)| key)
    }

    pub(crate) fn remove(&self, key: &K) {
        self.pins.remove(key);
        self.entries.invalidate(key);
    }

    /// Entries and their weight, after settling the books.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

pub(crate) fn weight<V: Value>(entry: &Entry<V>) -> usize {
    let value = entry.value.as_ref().map_or(0, Value::weight);
    let tags = size_of_val(&*entry.tags);
    let spilled = if entry.cells.spilled() {
        size_of_val(&*entry.cells)
    } else {
        0
    };
    OVERHEAD_BYTES + value + tags + spilled
}

fn cause_of(cause: RemovalCause) -> Evicted {
    match cause {
        RemovalCause::Size => Evicted::Size,
        RemovalCause::Replaced => Evicted::Replaced,
        RemovalCause::Explicit => Evicted::Removed,
        RemovalCause::Expired => Evicted::Expired,
    }
}
