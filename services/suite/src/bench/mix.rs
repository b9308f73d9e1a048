//! What is asked: which request is which call on which replica. A pure function of the seed, so
//! that every mode is asked the same.
//!
//! Of a hundred reads, 80 get one product, 10 get ten at once, and 10 list the first twenty of a
//! category. A write changes the price of one product, which moves that product and every list of
//! its category.

use super::keys::Keys;
use crate::chance;
use clap::ValueEnum;
use serde::Serialize;

/// Products in a batch.
pub const BATCH: u64 = 10;
/// Products on a page.
pub const PAGE: i32 = 20;

/// How much is written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// 95 % reads.
    ReadMostly,
    /// Reads alone.
    ReadOnly,
    /// An invalidation storm: 20 % writes.
    Storm,
}

impl Scenario {
    /// Which part of the requests are writes.
    pub fn write_share(self) -> f64 {
        match self {
            Self::ReadMostly => 0.05,
            Self::ReadOnly => 0.0,
            Self::Storm => 0.2,
        }
    }

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadMostly => "read-mostly",
            Self::ReadOnly => "read-only",
            Self::Storm => "storm",
        }
    }
}

/// A call; products and categories by their place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    /// Reads one product.
    Get(usize),
    /// Reads ten.
    Batch(Vec<usize>),
    /// Reads the first page of a category.
    List(usize),
    /// Writes a product's price.
    Write(usize),
}

/// What is asked in a run.
pub struct Mix {
    /// Of which products.
    pub keys: Keys,
    /// How much is written.
    pub scenario: Scenario,
    /// What chance begins with.
    pub seed: u64,
    /// How many replicas there are.
    pub replicas: usize,
    /// How many categories there are.
    pub categories: usize,
}

impl Mix {
    /// Which replica request `index` goes to, and what it is.
    pub fn request(&self, index: u64) -> (usize, Call) {
        let share = |question| chance::share(self.seed, index, question);
        let below = |share: f64, count: usize| ((share * count as f64) as usize).min(count - 1);
        let product = |nth| self.keys.pick(self.seed, index, nth);
        let replica = below(share(0), self.replicas.max(1));
        if share(1) < self.scenario.write_share() {
            return (replica, Call::Write(product(0)));
        }
        let call = match share(2) {
            kind if kind < 0.8 || self.categories == 0 => Call::Get(product(0)),
            kind if kind < 0.9 => Call::Batch((0..BATCH).map(product).collect()),
            _ => Call::List(below(share(3), self.categories)),
        };
        (replica, call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(scenario: Scenario, seed: u64) -> Mix {
        Mix {
            keys: Keys::zipf(100, 0.99),
            scenario,
            seed,
            replicas: 2,
            categories: 12,
        }
    }

    #[test]
    fn shares_come_out_as_they_are_documented() {
        for scenario in [Scenario::ReadMostly, Scenario::ReadOnly, Scenario::Storm] {
            let mix = mix(scenario, 3);
            let (mut counts, mut second) = ([0_f64; 4], 0_f64);
            const REQUESTS: u64 = 100_000;
            for index in 0..REQUESTS {
                let (replica, call) = mix.request(index);
                second += replica as f64;
                match call {
                    Call::Get(product) => {
                        assert!(product < 100);
                        counts[0] += 1.0;
                    }
                    Call::Batch(products) => {
                        assert_eq!(products.len(), 10);
                        counts[1] += 1.0;
                    }
                    Call::List(category) => {
                        assert!(category < 12);
                        counts[2] += 1.0;
                    }
                    Call::Write(_) => counts[3] += 1.0,
                }
            }
            let (all, reads) = (REQUESTS as f64, 1.0 - scenario.write_share());
            let expected = [
                0.8 * reads,
                0.1 * reads,
                0.1 * reads,
                scenario.write_share(),
            ];
            for (count, expected) in counts.into_iter().zip(expected) {
                assert!((count / all - expected).abs() < 0.005, "{counts:?}");
            }
            assert!((second / all - 0.5).abs() < 0.01, "{second}");
        }
    }

    #[test]
    fn a_seed_repeats_the_requests_and_another_does_not() {
        let asked = |seed| {
            let mix = mix(Scenario::Storm, seed);
            (0..200).map(|index| mix.request(index)).collect::<Vec<_>>()
        };
        assert_eq!(asked(1), asked(1));
        assert_ne!(asked(1), asked(2));
    }
}
