//! What anybody can bring about is said now and then, not every time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How often the same is said.
pub(crate) const SAY_EVERY: Duration = Duration::from_secs(30);

/// Says when it is time to say something again.
#[derive(Default, Debug)]
pub(crate) struct Seldom {
    /// In seconds of this process.
    next: AtomicU64,
}

impl Seldom {
    pub const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
        }
    }

    /// Whether it is time, for one of all who ask.
    pub fn is_due(&self) -> bool {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        let now = BEGAN.get_or_init(Instant::now).elapsed().as_secs();
        let due = |next: u64| (next <= now).then_some(now + SAY_EVERY.as_secs());
        let taken = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due);
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_time_once_in_a_while() {
        let seldom = Seldom::new();
        assert!(seldom.is_due() && !seldom.is_due());
        tokio::time::advance(SAY_EVERY + Duration::from_secs(1)).await;
        assert!(seldom.is_due() && !seldom.is_due());
    }
}
