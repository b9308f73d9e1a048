//! Time as one process sees it. No two clocks are ever compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment on this process's own monotonic clock, in nanoseconds. It counts the time that the
/// machine was suspended, so a copy does not look young because its host slept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// Before everything: proves nothing.
    pub const NEVER: Stamp = Stamp(0);

    /// The moment `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long before `self` the moment `earlier` was; zero when it was not.
    pub const fn since(self, earlier: Stamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` later.
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Where stamps come from: the machine, or a test's hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's clock.
    pub fn machine() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`] moves it; it starts at one hour.
    pub fn manual() -> Self {
        Self(Some(Arc::new(AtomicU64::new(3_600_000_000_000))))
    }

    /// Now.
    #[inline]
    pub fn now(&self) -> Stamp {
        match &self.0 {
            None => machine_now(),
            Some(nanos) => Stamp(nanos.load(Ordering::Acquire)),
        }
    }

    /// The wall clock, since 1970: for expiry and for measurements, never for the rule. A manual
    /// clock's wall clock moves with it.
    pub(crate) fn wall(&self) -> Duration {
        match &self.0 {
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            Some(nanos) => Duration::from_nanos(nanos.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock on; a machine's clock does not listen.
    pub fn advance(&self, span: Duration) {
        if let Some(nanos) = &self.0 {
            let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            nanos.fetch_add(span, Ordering::AcqRel);
        }
    }
}

#[inline]
fn machine_now() -> Stamp {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    // Elsewhere, as on macOS, the monotonic clock is the one that counts suspension.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(CLOCK);
    Stamp(
        (time.tv_sec as u64)
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec as u64),
    )
}
