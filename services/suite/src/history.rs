//! What was known of a product at what time, and whether a read came too late for it.
//!
//! All moments are of this process's own clock. A version is *known* from the moment at which its
//! write returned, or a read returned it, or anything later than it was known, whichever came
//! first. A read that was invoked more than Δ after a version was known, and that returns an older
//! one, breaks the promise.

use larder::clock::Stamp;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The histories of all products, by their place.
pub struct Histories(Box<[Mutex<History>]>);

/// When each version of one product became known: both grow from one entry to the next.
#[derive(Default)]
struct History(Vec<(Stamp, u64)>);

/// An answer that was read.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When it was asked for.
    pub invoked: Stamp,
    /// When it came.
    pub returned: Stamp,
    /// Its version; 0 for an absence.
    pub version: u64,
    /// How far behind its source it said it can be.
    pub told: Option<Duration>,
}

/// How an answer stands to what was known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// For how long something newer had been known when it was asked for.
    pub behind: Option<Duration>,
    /// That is more than it said.
    pub older_than_told: bool,
}

impl Histories {
    /// Of so many products, of which nothing is known yet.
    pub fn new(products: usize) -> Self {
        Self((0..products).map(|_| Mutex::default()).collect())
    }

    /// A write of this version returned.
    pub fn wrote(&self, product: usize, returned: Stamp, version: u64) {
        self.at(product, |history| history.know(returned, version));
    }

    /// Judges an answer, and notes its version.
    pub fn read(&self, product: usize, seen: Seen) -> Verdict {
        self.at(product, |history| {
            let verdict = history.judge(seen);
            history.know(seen.returned, seen.version);
            verdict
        })
    }

    fn at<T>(&self, product: usize, act: impl FnOnce(&mut History) -> T) -> T {
        act(&mut self.0[product]
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}

impl History {
    /// Calls end in another order than they come here in, so that the place must be looked for.
    fn know(&mut self, at: Stamp, version: u64) {
        let place = self.0.partition_point(|(known, _)| *known <= at);
        if self.0[..place]
            .last()
            .is_some_and(|(_, known)| *known >= version)
        {
            return;
        }
        // What is no newer and became known later is known from now on by this.
        let rest = &self.0[place..];
        let overtaken = rest.partition_point(|(_, known)| *known <= version);
        self.0.splice(place..place + overtaken, [(at, version)]);
    }

    fn judge(&self, seen: Seen) -> Verdict {
        let newer = self
            .0
            .partition_point(|(_, version)| *version <= seen.version);
        let since = self.0.get(newer).map(|(known, _)| *known);
        let behind = since
            .filter(|known| *known < seen.invoked)
            .map(|at| seen.invoked.since(at));
        let older_than_told = matches!((behind, seen.told), (Some(by), Some(told)) if by > told);
        Verdict {
            behind,
            older_than_told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Stamp {
        Stamp::from_nanos(millis * 1_000_000)
    }

    fn behind(histories: &Histories, invoked: u64, version: u64) -> Option<Duration> {
        let told = None;
        let seen = Seen {
            invoked: at(invoked),
            returned: at(invoked + 1),
            version,
            told,
        };
        histories.read(0, seen).behind
    }

    #[test]
    fn a_read_is_behind_from_the_return_of_the_first_newer_write() {
        let histories = Histories::new(1);
        histories.wrote(0, at(10), 1);
        histories.wrote(0, at(20), 2);
        histories.wrote(0, at(30), 3);
        assert_eq!(behind(&histories, 25, 2), None);
        assert_eq!(behind(&histories, 50, 3), None);
        assert_eq!(behind(&histories, 50, 2), Some(Duration::from_millis(20)));
        assert_eq!(behind(&histories, 50, 1), Some(Duration::from_millis(30)));
        assert_eq!(behind(&histories, 50, 0), Some(Duration::from_millis(40)));
    }

    #[test]
    fn a_read_that_overlaps_the_write_may_return_either() {
        let histories = Histories::new(1);
        histories.wrote(0, at(10), 1);
        histories.wrote(0, at(20), 2);
        assert_eq!(behind(&histories, 20, 1), None);
    }

    #[test]
    fn what_one_read_returned_is_known_to_the_next() {
        let histories = Histories::new(1);
        histories.wrote(0, at(10), 1);
        assert_eq!(behind(&histories, 20, 2), None);
        assert_eq!(behind(&histories, 31, 1), Some(Duration::from_millis(10)));
        // Its own write returns only now; that it was known before stays.
        histories.wrote(0, at(40), 2);
        assert_eq!(behind(&histories, 51, 1), Some(Duration::from_millis(30)));
    }

    #[test]
    fn returns_that_are_noted_in_another_order_make_the_same_history() {
        let [forth, back] = [Histories::new(1), Histories::new(1)];
        let writes = [(10, 1), (20, 3), (25, 2), (30, 4)];
        writes
            .iter()
            .for_each(|&(time, version)| forth.wrote(0, at(time), version));
        writes
            .iter()
            .rev()
            .for_each(|&(time, version)| back.wrote(0, at(time), version));
        for version in 0..5 {
            assert_eq!(
                behind(&forth, 99, version),
                behind(&back, 99, version),
                "{version}"
            );
        }
        assert_eq!(behind(&forth, 99, 1), Some(Duration::from_millis(79)));
    }

    #[test]
    fn an_answer_that_is_older_than_it_says_is_found_within_any_bound() {
        let histories = Histories::new(1);
        histories.wrote(0, at(10), 1);
        histories.wrote(0, at(20), 2);
        let judged = |told| {
            let told = Some(Duration::from_millis(told));
            let seen = Seen {
                invoked: at(50),
                returned: at(51),
                version: 1,
                told,
            };
            histories.read(0, seen).older_than_told
        };
        assert!(judged(29));
        assert!(!judged(30));
    }
}
