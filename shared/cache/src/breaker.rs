//! A source that is away is left alone: loads fail at once, so that an answer in their place does
//! not wait for a timeout.
//!
//! It opens after a few loads in a row that failed, or when the poller finds the source away,
//! and then the loads under way are given up too. A source that is polled is known to be back by
//! its next round; for any other, one load now and then is let through as a probe.

use crate::clock::Stamp;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Failures in a row that open it.
const THRESHOLD: u32 = 3;
/// How long it stays open before a load is let through as a probe.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// Until when loads fail at once, where they are probes.
    open_until: AtomicU64,
    opened: Notify,
}

impl Breaker {
    /// Whether a load may be tried now. Where loads are `probes`, one caller gets a yes when the
    /// pause is over, and the pause begins anew for the others.
    pub(crate) fn allows(&self, now: Stamp, probes: bool) -> bool {
        if !self.is_open() {
            return true;
        }
        let until = self.open_until.load(Ordering::Acquire);
        let next = now.after(PAUSE).as_nanos();
        probes
            && now.as_nanos() >= until
            && self
                .open_until
                .compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// Whether the source is left alone.
    pub(crate) fn is_open(&self) -> bool {
        self.failures.load(Ordering::Acquire) >= THRESHOLD
    }

    /// Returns once it is open.
    pub(crate) async fn opened(&self) {
        let mut opened = pin!(self.opened.notified());
        // From now on, so that nothing is missed between the look and the wait.
        opened.as_mut().enable();
        if !self.is_open() {
            opened.await;
        }
    }

    /// The source answered. Says whether it was left alone until now.
    pub(crate) fn succeeded(&self) -> bool {
        self.failures.load(Ordering::Relaxed) != 0
            && self.failures.swap(0, Ordering::AcqRel) >= THRESHOLD
    }

    /// The source did not answer. Says whether it is left alone from now on.
    pub(crate) fn failed(&self, now: Stamp) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel) + 1;
        if failures >= THRESHOLD {
            self.open_until
                .store(now.after(PAUSE).as_nanos(), Ordering::Release);
            self.opened.notify_waiters();
        }
        failures == THRESHOLD
    }

    /// The source is known to be away. Says whether it is left alone from now on.
    pub(crate) fn trip(&self, now: Stamp) -> bool {
        self.failures.fetch_max(THRESHOLD - 1, Ordering::AcqRel);
        self.failed(now)
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
        assert!(breaker.allows(now, true), "two in a row are no outage");
        breaker.failed(now);
        assert!(!breaker.allows(now, true));
        let later = now.after(PAUSE);
        assert!(breaker.allows(later, true), "the probe");
        assert!(!breaker.allows(later, true), "only one");
        breaker.succeeded();
        assert!(breaker.allows(later, true));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_it_opens_and_no_load_is_a_probe_where_there_are_none() {
        let breaker = Breaker::default();
        let now = Stamp::from_nanos(1_000_000_000);
        let mut waiting = pin!(breaker.opened());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        breaker.trip(now);
        assert!(futures_util::poll!(waiting.as_mut()).is_ready());
        assert!(futures_util::poll!(pin!(breaker.opened())).is_ready());
        assert!(!breaker.allows(now.after(PAUSE * 10), false));
        breaker.succeeded();
        assert!(breaker.allows(now, false));
    }
}
