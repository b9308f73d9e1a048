//! The estimate beside an exact simulation of a least-recently-used cache, on real traces.

use super::*;
use std::hash::BuildHasher as _;
use std::time::Instant;

/// Keys of the busy trace that a debug build reads; a release build reads all five million:
/// `cargo test --release -p larder --lib shards -- --nocapture`.
const CUT: usize = if cfg!(debug_assertions) {
    300_000
} else {
    usize::MAX
};

/// Exact hits by capacity: the distances of all reads, by a stack as high as the trace is long.
fn exact(trace: &[u32], weigh: impl Fn(u32) -> u64) -> Vec<u64> {
    let mut stack = Stack::new(trace.len());
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut distances = Vec::new();
    for &key in trace {
        if let Some(&place) = places.get(&key) {
            distances.push(stack.above(place) + weigh(key));
            stack.remove(place, weigh(key));
        }
        places.insert(key, stack.push(u64::from(key), weigh(key)));
    }
    distances.sort_unstable();
    distances
}

/// The mean absolute error over capacities from a thousandth of all bytes to all of them, half
/// of the capacities in equal steps and half in equal ratios.
fn error(trace: &[u32], seed: u64, weigh: impl Fn(u32) -> u64 + Copy) -> f64 {
    let hasher = foldhash::quality::FixedState::with_seed(seed);
    let (mut shards, began) = (Shards::default(), Instant::now());
    for key in trace {
        shards.note(hasher.hash_one(key), Some(weigh(*key)));
    }
    let took = began.elapsed() / u32::try_from(trace.len()).unwrap();
    let curve = shards.curve(trace.len() as f64);
    let distances = exact(trace, weigh);
    let mut keys = trace.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let all: u64 = keys.iter().map(|&key| weigh(key)).sum();
    let linear = (1..=100).map(|step| all * step / 100);
    let ratios = (0..100).map(|step| (all as f64 * 0.001f64.powf(f64::from(step) / 100.0)) as u64);
    let errors = linear.chain(ratios).map(|capacity| {
        let hits = distances.partition_point(|&distance| distance <= capacity);
        (curve.hit_ratio(capacity) - hits as f64 / trace.len() as f64).abs()
    });
    let error = errors.sum::<f64>() / 200.0;
    println!(
        "seed {seed}: {:.2} points off, {took:?} a read",
        error * 100.0
    );
    error
}

#[test]
fn the_curve_is_within_two_points_of_exact_simulation_on_both_traces() {
    for name in ["web12.trace.xz", "orm-busy.trace.xz"] {
        let Some(mut trace) = larder_testkit::data::trace(name) else {
            continue;
        };
        trace.truncate(CUT);
        println!("{name}: {} reads", trace.len());
        let sized = |key: u32| 400 + u64::from(key.wrapping_mul(2_654_435_761) >> 20);
        for seed in 1..=3 {
            assert!(error(&trace, seed, |_| 1) < 0.02, "{name}, entries alike");
            assert!(
                error(&trace, seed, sized) < 0.02,
                "{name}, 400 to 4,495 bytes"
            );
        }
    }
}

#[test]
fn a_loop_hits_never_below_its_length_and_always_above() {
    let hasher = foldhash::quality::FixedState::default();
    let mut shards = Shards::default();
    for key in (0..30).flat_map(|_| 0..20_000u64) {
        shards.note(hasher.hash_one(key), Some(100));
    }
    assert!(shards.len() <= KEYS && shards.threshold() < u64::MAX);
    let curve = shards.curve(600_000.0);
    assert!(
        curve.hit_ratio(1_800_000) < 0.02,
        "{}",
        curve.hit_ratio(1_800_000)
    );
    let above = curve.hit_ratio(2_200_000);
    assert!((above - 29.0 / 30.0).abs() < 0.02, "{above}");
}

#[test]
fn buckets_lie_in_order_without_a_gap() {
    for distance in (0..5_000)
        .chain((5..64).map(|bit| (1 << bit) - 1))
        .chain([u64::MAX])
    {
        let bucket = bucket(distance);
        assert!(bucket < BUCKETS && floor(bucket) <= distance, "{distance}");
        let next = floor(bucket + 1);
        assert!(distance < next || next == u64::MAX, "{distance} {next}");
    }
}
