//! Which product a request is about: by a zipfian distribution, or as a trace has it.

use crate::chance;
use std::collections::HashMap;

/// Where keys come from.
pub enum Keys {
    /// The product of rank r is asked for in proportion to 1 / r^θ; with θ = 0 all are alike.
    /// For each product, the part of the requests that it and those before it have.
    Zipf(Box<[f64]>),
    /// In the order of a trace, which begins anew at its end.
    Trace {
        /// For each request, the place of its product.
        order: Box<[u32]>,
        /// How many different ones there are.
        products: usize,
    },
}

impl Keys {
    /// So many products, skewed like this.
    pub fn zipf(products: usize, theta: f64) -> Self {
        let mut sum = 0.0;
        let mut sums: Box<[f64]> = (1..=products.max(1))
            .map(|rank| {
                sum += (rank as f64).powf(-theta);
                sum
            })
            .collect();
        sums.iter_mut().for_each(|part| *part /= sum);
        Self::Zipf(sums)
    }

    /// Every key of the trace is a product, in the order of first occurrence; there is at least
    /// one.
    pub fn trace(keys: &[u32]) -> Self {
        let mut places = HashMap::new();
        let place = |key: &u32| {
            let next = places.len() as u32;
            *places.entry(*key).or_insert(next)
        };
        let order = keys.iter().map(place).collect();
        let products = places.len();
        Self::Trace { order, products }
    }

    /// How many products there are.
    pub fn products(&self) -> usize {
        match self {
            Self::Zipf(sums) => sums.len(),
            Self::Trace { products, .. } => *products,
        }
    }

    /// The place of the product that request `index` is about, or the `nth` that it is about: the
    /// same for the same seed.
    pub fn pick(&self, seed: u64, index: u64, nth: u64) -> usize {
        match self {
            Self::Zipf(sums) => {
                let share = chance::share(seed, index, 1_000 + nth);
                sums.partition_point(|part| *part <= share)
                    .min(sums.len() - 1)
            }
            Self::Trace { order, .. } => {
                let place = (index + nth) % order.len() as u64;
                order[place as usize] as usize
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(keys: &Keys, seed: u64, draws: u64) -> Vec<u64> {
        let mut counts = vec![0; keys.products()];
        (0..draws).for_each(|index| counts[keys.pick(seed, index, 0)] += 1);
        counts
    }

    #[test]
    fn ranks_are_drawn_in_proportion_to_their_power() {
        let (theta, draws) = (0.99, 400_000);
        let counts = counts(&Keys::zipf(1000, theta), 7, draws);
        let norm: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-theta)).sum();
        for rank in [1, 2, 5, 20, 100] {
            let expected = draws as f64 * f64::from(rank).powf(-theta) / norm;
            let drawn = counts[rank as usize - 1] as f64;
            // Five standard deviations of a count, so that chance does not fail it.
            let allowed = 5.0 * expected.sqrt();
            assert!(
                (drawn - expected).abs() < allowed,
                "rank {rank}: {drawn} for {expected}"
            );
        }
        assert!(counts.iter().all(|count| *count > 0), "the last ranks too");
    }

    #[test]
    fn without_skew_all_are_alike() {
        let counts = counts(&Keys::zipf(10, 0.0), 1, 100_000);
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_seed_repeats_the_keys_and_another_does_not() {
        let keys = Keys::zipf(1000, 0.99);
        let drawn = |seed| {
            (0..100)
                .map(|index| keys.pick(seed, index, 0))
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn a_trace_is_followed_and_begins_anew() {
        let keys = Keys::trace(&[9, 7, 9, 8]);
        let drawn: Vec<_> = (0..6).map(|index| keys.pick(1, index, 0)).collect();
        assert_eq!((drawn, keys.products()), (vec![0, 1, 0, 2, 0, 1], 3));
        assert_eq!(keys.pick(1, 2, 1), 2, "the next of it");
    }
}
