//! What is done in which order: the trace, spread over replicas and mixed with writes. It is a
//! pure function of the seed, so that a run can be repeated.

use crate::chance::mix;
use std::collections::HashMap;

/// What is to be done.
pub struct Plan {
    /// For each request, the place of its product among `products`.
    pub order: Vec<u32>,
    /// How many different products there are.
    pub products: usize,
    replicas: usize,
    write_share: f64,
    seed: u64,
}

/// One request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The place of its product.
    pub product: usize,
    /// Which replica it goes to.
    pub replica: usize,
    /// Whether it writes.
    pub is_write: bool,
}

impl Plan {
    /// Every key that occurs is a product, in the order of first occurrence.
    pub fn new(keys: &[u32], replicas: usize, write_share: f64, seed: u64) -> Self {
        let mut places = HashMap::new();
        let place = |key: &u32| {
            let next = places.len() as u32;
            *places.entry(*key).or_insert(next)
        };
        let order: Vec<u32> = keys.iter().map(place).collect();
        Self {
            order,
            products: places.len(),
            replicas,
            write_share,
            seed,
        }
    }

    /// The request at this place of the trace, if it is that long.
    pub fn step(&self, index: usize) -> Option<Step> {
        let product = *self.order.get(index)? as usize;
        let bits = mix(self.seed ^ mix(index as u64));
        // The upper half chooses what is done, the lower half where.
        let chance = (bits >> 32) as f64 / f64::from(u32::MAX);
        Some(Step {
            product,
            replica: (bits & 0xFFFF_FFFF) as usize % self.replicas,
            is_write: chance < self.write_share,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_places_in_the_order_of_first_occurrence() {
        let plan = Plan::new(&[9, 7, 9, 8], 2, 0.0, 1);
        assert_eq!((plan.order, plan.products), (vec![0, 1, 0, 2], 3));
    }

    #[test]
    fn a_seed_repeats_a_run_and_another_does_not() {
        let steps = |seed| {
            let plan = Plan::new(&[1; 1000], 2, 0.02, seed);
            (0..)
                .map_while(move |index| plan.step(index))
                .collect::<Vec<_>>()
        };
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
    }

    #[test]
    fn shares_come_out_as_asked_for() {
        let plan = Plan::new(&[1; 100_000], 2, 0.02, 1);
        let steps: Vec<_> = (0..).map_while(|index| plan.step(index)).collect();
        let writes = steps.iter().filter(|step| step.is_write).count();
        let second = steps.iter().filter(|step| step.replica == 1).count();
        assert!((1_800..2_200).contains(&writes), "{writes}");
        assert!((49_000..51_000).contains(&second), "{second}");
        assert!(!Plan::new(&[1], 1, 0.0, 1).step(0).expect("one").is_write);
        assert!(Plan::new(&[1], 1, 1.1, 1).step(0).expect("one").is_write);
    }
}
