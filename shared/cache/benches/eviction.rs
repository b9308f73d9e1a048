//! Which entries should leave: hit ratios of both policies on real traces, beside exact LRU.
//!
//! `LARDER_TRACES=folder cargo bench -p larder --bench eviction`
//!
//! All entries count the same, and the memory is moka's, by the policies that
//! `larder::policy::Eviction` names. What it is told of reads it works off at once, so that the
//! figures are the policy's and not those of a queue in front of it that drops reads.

use moka::policy::EvictionPolicy;
use std::collections::{BTreeMap, HashMap};

fn main() {
    for name in ["web12.trace.xz", "orm-busy.trace.xz"] {
        let Some(trace) = larder_testkit::data::trace(name) else {
            continue;
        };
        let mut keys = trace.clone();
        keys.sort_unstable();
        keys.dedup();
        println!("{name}: {} reads of {} keys", trace.len(), keys.len());
        println!("  entries  of all   TinyLFU       LRU  exact LRU");
        for share in [1, 2, 5, 10, 25] {
            let capacity = keys.len() * share / 100;
            let lfu = moka(&trace, capacity, EvictionPolicy::tiny_lfu());
            let lru = moka(&trace, capacity, EvictionPolicy::lru());
            let exact = exact(&trace, capacity);
            println!("  {capacity:>7} {share:>5} %   {lfu:5.2} %   {lru:5.2} %    {exact:5.2} %");
        }
    }
}

fn moka(trace: &[u32], capacity: usize, policy: EvictionPolicy) -> f64 {
    let cache = moka::sync::Cache::builder()
        .max_capacity(capacity as u64)
        .eviction_policy(policy)
        .build_with_hasher(foldhash::fast::FixedState::default());
    let mut hits = 0;
    for (read, key) in trace.iter().enumerate() {
        match cache.get(key) {
            Some(()) => hits += 1,
            None => {
                cache.insert(*key, ());
                cache.run_pending_tasks();
            }
        }
        if read % 32 == 0 {
            cache.run_pending_tasks();
        }
    }
    percent(hits, trace)
}

fn exact(trace: &[u32], capacity: usize) -> f64 {
    let (mut read_at, mut order) = (HashMap::new(), BTreeMap::new());
    let mut hits = 0;
    for (now, key) in trace.iter().enumerate() {
        match read_at.insert(*key, now) {
            Some(before) => {
                hits += 1;
                order.remove(&before);
            }
            None if order.len() == capacity => {
                if let Some((_, oldest)) = order.pop_first() {
                    read_at.remove(&oldest);
                }
            }
            None => {}
        }
        order.insert(now, *key);
    }
    percent(hits, trace)
}

fn percent(hits: usize, trace: &[u32]) -> f64 {
    hits as f64 / trace.len() as f64 * 100.0
}
