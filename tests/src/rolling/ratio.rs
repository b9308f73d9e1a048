//! How much came from a cache, and when.

use super::fleet::Part;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How finely time is told apart.
const SLOT: Duration = Duration::from_millis(100);
/// Over how many slots a ratio is taken.
const WINDOW: usize = 10;
/// A ratio of fewer reads says nothing.
const FEW: u32 = 20;

/// Reads by the moment they were answered at.
#[derive(Default, Debug)]
pub(crate) struct Ratios(Mutex<BTreeMap<Part, Vec<Slot>>>);

#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    reads: u32,
    cached: u32,
}

/// How a ratio came back after something was done.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Recovery {
    /// The ratio in the time before.
    pub before: f64,
    /// The lowest over a second since.
    pub lowest: f64,
    /// The ratio over the last second.
    pub after: f64,
    /// From when on, after it was done, no second was lower than before by more than a point, or by
    /// more than chance explains; `None` if it never was.
    pub back: Option<Duration>,
}

/// How far a ratio may be from what it was, however many reads it is of.
const NEAR: f64 = 0.01;
/// How many standard errors of a share of so few reads are chance: of a hundred windows that
/// nothing was done to, not one is further off.
const CHANCE: f64 = 3.0;

impl Ratios {
    /// A read of this service was answered.
    pub(crate) fn read(&self, part: Part, at: Duration, cached: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = all.entry(part).or_default();
        let number = slot(at);
        if slots.len() <= number {
            slots.resize(number + 1, Slot::default());
        }
        slots[number].reads += 1;
        slots[number].cached += u32::from(cached);
    }

    /// What became of the ratio of a service, or of all, between `begun` and `now`; `before` is
    /// how long before `begun` nothing had been done.
    pub(crate) fn recovery(
        &self,
        part: Option<Part>,
        before: Duration,
        begun: Duration,
        now: Duration,
    ) -> Option<Recovery> {
        let slots = self.of(part);
        let (first, begun, last) = (slot(begun.saturating_sub(before)), slot(begun), slot(now));
        let before = Share::of(slots.get(first..begun)?)?;
        let windows = (begun..last.saturating_sub(WINDOW)).filter_map(|start| {
            let over = slots.get(start..start + WINDOW)?;
            Some((start, Share::of(over)?))
        });
        let windows: Vec<(usize, Share)> = windows.collect();
        let low = |(_, share): &&(usize, Share)| share.is_below(before);
        let back = match windows.iter().rev().find(low) {
            None => Some(begun),
            // The window that was too low last ends so much later.
            Some((start, _)) => Some(start + 1).filter(|start| *start < last - WINDOW),
        };
        let ratios = windows.iter().map(|(_, share)| share.ratio());
        Some(Recovery {
            before: before.ratio(),
            lowest: ratios.reduce(f64::min)?,
            after: windows.last()?.1.ratio(),
            back: back.map(|slot| SLOT * u32::try_from(slot - begun).unwrap_or(u32::MAX)),
        })
    }

    fn of(&self, part: Option<Part>) -> Vec<Slot> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum: Vec<Slot> = Vec::new();
        for (_, slots) in all
            .iter()
            .filter(|(of, _)| part.is_none_or(|part| part == **of))
        {
            sum.resize(sum.len().max(slots.len()), Slot::default());
            for (sum, slot) in sum.iter_mut().zip(slots) {
                sum.reads += slot.reads;
                sum.cached += slot.cached;
            }
        }
        sum
    }
}

fn slot(at: Duration) -> usize {
    usize::try_from(at.as_millis() / SLOT.as_millis()).unwrap_or(usize::MAX)
}

/// So many of so many reads came from a cache.
#[derive(Clone, Copy)]
struct Share {
    cached: f64,
    reads: f64,
}

impl Share {
    /// Nothing where reads are few.
    fn of(slots: &[Slot]) -> Option<Self> {
        let reads: u32 = slots.iter().map(|slot| slot.reads).sum();
        let cached: u32 = slots.iter().map(|slot| slot.cached).sum();
        (reads >= FEW).then(|| Self {
            cached: f64::from(cached),
            reads: f64::from(reads),
        })
    }

    fn ratio(self) -> f64 {
        self.cached / self.reads
    }

    /// Whether it is lower than before, beyond chance.
    fn is_below(self, before: Self) -> bool {
        // Of both together, and of one read that missed at least: a share of 1 has no error otherwise.
        let reads = self.reads + before.reads;
        let together = ((self.cached + before.cached) / reads).min(1.0 - 1.0 / reads);
        let variance = together * (1.0 - together) * (1.0 / self.reads + 1.0 / before.reads);
        self.ratio() < before.ratio() - NEAR.max(CHANCE * variance.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u32) -> Duration {
        SLOT * tenths
    }

    #[test]
    fn a_ratio_that_fell_is_back_when_no_later_second_is_lower() {
        let ratios = Ratios::default();
        for tenth in 0..60 {
            for read in 0..100 {
                // Half of it is missing for the first second after the third.
                let cached = !(30..40).contains(&tenth) || read % 2 == 0;
                ratios.read(Part::Products, at(tenth), cached);
            }
        }
        let recovery = ratios.recovery(None, at(20), at(30), at(60));
        let recovery = recovery.expect("enough reads");
        assert_eq!((recovery.before, recovery.lowest), (1.0, 0.5));
        assert_eq!((recovery.after, recovery.back), (1.0, Some(at(10))));
        assert_eq!(
            ratios.recovery(Some(Part::Comments), at(20), at(30), at(60)),
            None
        );
    }

    #[test]
    fn a_ratio_that_stays_low_is_not_back() {
        let ratios = Ratios::default();
        for tenth in 0..60 {
            for _ in 0..100 {
                ratios.read(Part::Products, at(tenth), tenth < 30);
            }
        }
        let recovery = ratios.recovery(None, at(20), at(30), at(60));
        assert_eq!(recovery.expect("enough reads").back, None);
    }

    #[test]
    fn what_chance_explains_is_no_loss() {
        let of = |cached: u32, reads: u32| Share::of(&[Slot { reads, cached }]).expect("enough");
        // Two of fifty missed where one of fifty did: nothing. Two hundred of five thousand: a loss.
        assert!(!of(48, 50).is_below(of(98, 100)));
        assert!(of(4800, 5000).is_below(of(9800, 10000)));
        // And a tenth of fifty is one beside a share of 1.
        assert!(of(45, 50).is_below(of(10_000, 10_000)));
    }
}
