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
    /// From when on, after it was done, it was within a point of what it had been before; `None`
    /// if it never was.
    pub back: Option<Duration>,
}

/// How far a ratio may be from what it was.
const NEAR: f64 = 0.01;

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
        let before = ratio(slots.get(first..begun)?)?;
        let windows = (begun..last.saturating_sub(WINDOW)).filter_map(|start| {
            let over = slots.get(start..start + WINDOW)?;
            Some((start, ratio(over)?))
        });
        let windows: Vec<(usize, f64)> = windows.collect();
        let low = |(_, ratio): &&(usize, f64)| *ratio < before - NEAR;
        let back = match windows.iter().rev().find(low) {
            None => Some(begun),
            // The window that was too low last ends so much later.
            Some((start, _)) => Some(start + 1).filter(|start| *start < last - WINDOW),
        };
        Some(Recovery {
            before,
            lowest: windows.iter().map(|(_, ratio)| *ratio).reduce(f64::min)?,
            after: windows.last()?.1,
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

fn ratio(slots: &[Slot]) -> Option<f64> {
    let reads: u32 = slots.iter().map(|slot| slot.reads).sum();
    let cached: u32 = slots.iter().map(|slot| slot.cached).sum();
    (reads >= FEW).then(|| f64::from(cached) / f64::from(reads))
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
}
