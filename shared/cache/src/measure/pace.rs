//! Which reads are sampled: one in `gap` on the average, where `gap` follows the pace of each
//! thread's reads.
//!
//! A thread that reads seldom has every read sampled, so that a quiet keyspace is known well. One
//! that reads all the time has one sampled every [`SPAN`], whose cost is then under a hundredth of
//! the thread's time. A sample stands for as many reads as its gap was long on the average, and
//! gaps are random, so no rhythm of the reads is seen too often or never.

use crate::clock::Clock;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far apart in time the samples of one thread should be.
pub(super) const SPAN: Duration = Duration::from_micros(25);

/// The longest gap, in reads.
const MOST: u32 = 256;

struct Pace {
    /// Reads until the next sample, which is one of them.
    left: Cell<u32>,
    /// How long the gap under way is on the average, and how long it is.
    gap: Cell<u32>,
    drawn: Cell<u32>,
    sampled_at: Cell<u64>,
    random: Cell<u64>,
}

thread_local! {
    static PACE: Pace = const {
        Pace {
            left: Cell::new(1),
            gap: Cell::new(1),
            drawn: Cell::new(1),
            sampled_at: Cell::new(0),
            random: Cell::new(0),
        }
    };
}

/// Counts a read of this thread: if it is sampled, how many reads it stands for.
#[inline]
pub(crate) fn sampled() -> Option<u32> {
    PACE.with(|pace| match pace.left.get() {
        0 | 1 => Some(pace.next()),
        left => {
            pace.left.set(left - 1);
            None
        }
    })
}

impl Pace {
    #[cold]
    fn next(&self) -> u32 {
        let now = Clock::machine().now().as_nanos();
        let took = now.saturating_sub(self.sampled_at.replace(now));
        let stands_for = self.gap.get();
        let gap = paced(stands_for, self.drawn.get(), took);
        let drawn = 1 + (self.random() % u64::from(2 * gap - 1)) as u32;
        self.gap.set(gap);
        self.drawn.set(drawn);
        self.left.set(drawn);
        stands_for
    }

    /// Xorshift (Marsaglia, 2003): good enough to break a rhythm.
    fn random(&self) -> u64 {
        static SEED: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
        let mut state = self.random.get();
        if state == 0 {
            state = SEED.fetch_add(0x6a09_e667_f3bc_c908, Ordering::Relaxed) | 1;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        state >> 16
    }
}

/// The next gap, after one of `drawn` reads (`gap` on the average) took that many nanoseconds; at
/// most twice or half as long, as one pause says little.
fn paced(gap: u32, drawn: u32, took_nanos: u64) -> u32 {
    let fitting = SPAN.as_nanos() as u64 * u64::from(drawn) / took_nanos.max(1);
    let (least, most) = ((gap / 2).max(1), (gap * 2).min(MOST));
    (fitting.min(u64::from(MOST)) as u32).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_for_all_reads_at_any_pace() {
        for pause in [Duration::ZERO, Duration::from_micros(20)] {
            let stood_for = std::thread::spawn(move || {
                let mut sum = 0;
                for _ in 0..20_000 {
                    sum += u64::from(sampled().unwrap_or(0));
                    let until = std::time::Instant::now() + pause;
                    while std::time::Instant::now() < until {}
                }
                sum
            });
            let stood_for = stood_for.join().unwrap();
            assert!(
                (16_000..24_000).contains(&stood_for),
                "{stood_for} for 20,000"
            );
        }
    }

    #[test]
    fn quick_reads_are_sampled_seldom_and_slow_ones_always() {
        let mut gap = 1;
        for _ in 0..20 {
            gap = paced(gap, gap, u64::from(gap) * 100);
        }
        assert_eq!(gap, 250, "every 25 µs at 100 ns a read");
        for _ in 0..20 {
            gap = paced(gap, gap, u64::from(gap) * 50_000);
        }
        assert_eq!(gap, 1);
        assert_eq!(paced(MOST, MOST, 0), MOST, "never beyond its bound");
    }
}
