//! A source that is away is left alone: after a few failures in a row loads fail at once, but for
//! one probe now and then, so that an answer in its place does not wait for a timeout.

use crate::clock::Stamp;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Failures in a row that open it.
const THRESHOLD: u32 = 3;
/// How long it stays open before a load is let through as a probe.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// Until when loads fail at once.
    open_until: AtomicU64,
}

impl Breaker {
    /// Whether a load may be tried now. When the pause is over, one caller gets a yes for a probe
    /// and the pause begins anew for the others.
    pub(crate) fn allows(&self, now: Stamp) -> bool {
        if self.failures.load(Ordering::Acquire) < THRESHOLD {
            return true;
        }
        let until = self.open_until.load(Ordering::Acquire);
        let next = now.after(PAUSE).as_nanos();
        now.as_nanos() >= until
            && self
                .open_until
                .compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// The source answered.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Release);
        }
    }

    /// The source did not answer.
    pub(crate) fn failed(&self, now: Stamp) {
        if self.failures.fetch_add(1, Ordering::AcqRel) + 1 >= THRESHOLD {
            self.open_until
                .store(now.after(PAUSE).as_nanos(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_probe_through() {
        let breaker = Breaker::default();
        let now = Stamp::from_nanos(1_000_000_000);
        breaker.failed(now);
        breaker.failed(now);
        breaker.succeeded();
        breaker.failed(now);
        breaker.failed(now);
        assert!(breaker.allows(now), "two in a row are no outage");
        breaker.failed(now);
        assert!(!breaker.allows(now));
        let later = now.after(PAUSE);
        assert!(breaker.allows(later), "the probe");
        assert!(!breaker.allows(later), "only one");
        breaker.succeeded();
        assert!(breaker.allows(later));
    }
}
