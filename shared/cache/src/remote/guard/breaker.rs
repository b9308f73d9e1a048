//! A circuit breaker in two words of memory, without a lock, and what it has seen.

use super::{Counters, Limits};
use crate::clock::{Clock, Stamp};
use crate::remote::Error;
use crate::remote::backoff::jittered;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Calls go through.
const CLOSED: u64 = 0;
/// One call tries whether it may close again; all others are refused.
const TRYING: u64 = u64::MAX;

/// Refuses calls of one kind after failures in a row.
#[derive(Debug)]
pub(super) struct Breaker {
    kind: &'static str,
    remote: String,
    limits: Limits,
    clock: Clock,
    /// `CLOSED`, `TRYING`, or else open: the time after which one call may try.
    state: AtomicU64,
    /// Failures in a row while closed.
    failures: AtomicU32,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    failures: AtomicU64,
    timeouts: AtomicU64,
    refused: AtomicU64,
    opened: AtomicU64,
}

/// The leave to make one call. Dropped without a word, when its caller gave up, it says nothing
/// about the remote tier; a trial then passes to the next caller.
#[derive(Debug)]
#[must_use]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    trial: bool,
}

impl Breaker {
    pub(super) fn new(kind: &'static str, remote: String, limits: Limits, clock: Clock) -> Self {
        let (state, failures) = (AtomicU64::new(CLOSED), AtomicU32::new(0));
        Self {
            kind,
            remote,
            limits,
            clock,
            state,
            failures,
            counts: Counts::default(),
        }
    }

    /// The word for its calls.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            calls: read(&self.counts.calls),
            failures: read(&self.counts.failures),
            timeouts: read(&self.counts.timeouts),
            refused: read(&self.counts.refused),
            opened: read(&self.counts.opened),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) != CLOSED
    }

    /// The leave to make a call, or none.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let pass = self.try_enter();
        let count = match pass {
            Some(_) => &self.counts.calls,
            None => &self.counts.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        pass
    }

    fn try_enter(&self) -> Option<Pass<'_>> {
        let state = self.state.load(Ordering::Acquire);
        let trial = match state {
            CLOSED => false,
            TRYING => return None,
            retry_at if self.clock.now().as_nanos() < retry_at => return None,
            retry_at => {
                // Of all who see that the pause is over, one may try.
                let order = Ordering::AcqRel;
                self.state
                    .compare_exchange(retry_at, TRYING, order, Ordering::Relaxed)
                    .ok()?;
                true
            }
        };
        Some(Pass {
            breaker: self,
            trial,
        })
    }

    fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.state.store(CLOSED, Ordering::Release);
        let (kind, remote) = (self.kind, &self.remote);
        tracing::info!(
            remote.name = remote,
            remote.call = kind,
            "the remote tier is asked again"
        );
    }

    /// Opens it if it is closed.
    fn open(&self, error: &Error) {
        let opened = self.state.compare_exchange(
            CLOSED,
            self.retry_at(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if opened.is_ok() {
            self.counts.opened.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                remote.name = self.remote,
                remote.call = self.kind,
                error = error as &dyn std::error::Error,
                "the remote tier is left alone for a while"
            );
        }
    }

    /// Never one of the two special states.
    fn retry_at(&self) -> u64 {
        let stamp: Stamp = self.clock.now().after(jittered(self.limits.pause));
        stamp.as_nanos().clamp(CLOSED + 1, TRYING - 1)
    }
}

impl Pass<'_> {
    /// It failed in a way that is counted and opens nothing.
    pub(super) fn pardoned(self, error: &Error) {
        self.count(error);
        self.succeeded();
    }

    fn count(&self, error: &Error) {
        let counts = &self.breaker.counts;
        let count = match error {
            Error::Timeout(_) => &counts.timeouts,
            _ => &counts.failures,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// It was answered.
    pub(super) fn succeeded(mut self) {
        if std::mem::take(&mut self.trial) {
            self.breaker.close();
        } else if self.breaker.failures.load(Ordering::Relaxed) != 0 {
            self.breaker.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It was not; which may have been one failure too many.
    pub(super) fn failed(mut self, error: &Error) {
        self.count(error);
        let breaker = self.breaker;
        if std::mem::take(&mut self.trial) {
            breaker.state.store(breaker.retry_at(), Ordering::Release);
            return;
        }
        let failures = breaker
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if failures >= breaker.limits.failures {
            breaker.open(error);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial {
            let now = self
                .breaker
                .clock
                .now()
                .as_nanos()
                .clamp(CLOSED + 1, TRYING - 1);
            self.breaker.state.store(now, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn breaker(clock: &Clock) -> Breaker {
        let limits = Limits {
            failures: 3,
            ..Limits::default()
        };
        Breaker::new("read", "test".to_owned(), limits, clock.clone())
    }

    /// One more failure, and whether it opened the breaker.
    fn fail(breaker: &Breaker) -> bool {
        let pass = breaker.enter().expect("it is not open");
        pass.failed(&Error::Timeout(Duration::ZERO));
        breaker.is_open()
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let breaker = breaker(&Clock::manual());
        assert!(!fail(&breaker) && !fail(&breaker));
        breaker.enter().expect("it is closed").succeeded();
        assert!(!fail(&breaker) && !fail(&breaker));
        assert!(fail(&breaker));
        assert!(breaker.enter().is_none());
    }

    #[test]
    fn one_call_at_a_time_tries_after_the_pause() {
        let clock = Clock::manual();
        let breaker = breaker(&clock);
        assert_eq!(
            (0..3).map(|_| fail(&breaker)).collect::<Vec<_>>(),
            [false, false, true]
        );
        clock.advance(Duration::from_secs(1));
        let trial = breaker.enter().expect("the pause is over");
        assert!(breaker.enter().is_none());
        trial.failed(&Error::Timeout(Duration::ZERO));
        assert!(
            breaker.enter().is_none(),
            "a failed trial is followed by another pause"
        );
        clock.advance(Duration::from_secs(1));
        breaker.enter().expect("the pause is over").succeeded();
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_trial_that_its_caller_gave_up_is_left_to_the_next() {
        let clock = Clock::manual();
        let breaker = breaker(&clock);
        assert_eq!(
            (0..3).map(|_| fail(&breaker)).collect::<Vec<_>>(),
            [false, false, true]
        );
        clock.advance(Duration::from_secs(1));
        drop(breaker.enter().expect("the pause is over"));
        breaker
            .enter()
            .expect("the trial is free again")
            .succeeded();
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_call_begun_before_it_opened_does_not_close_it() {
        let breaker = breaker(&Clock::manual());
        let early = breaker.enter().expect("it is closed");
        assert_eq!(
            (0..3).map(|_| fail(&breaker)).collect::<Vec<_>>(),
            [false, false, true]
        );
        early.succeeded();
        assert!(breaker.is_open());
    }
}
