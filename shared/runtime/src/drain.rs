//! How long a process that ends waits for those whom it serves.
//!
//! Work under way is waited for: somebody wants to know what became of it. A peer that takes no
//! answer, acknowledges no goodbye, or began something and fell silent is not: it would hold the
//! process until the very end of the drain, and whoever waits for that, such as a rollout, with it.

use crate::server::Limits;
use std::time::Duration;
use tokio::time::Instant;

/// However short the settling: connections that stood in the queue when the drain began are taken, and
/// what came over them is answered. A port that is closed at once resets them, and nobody knows what
/// became of their calls.
const QUEUED: Duration = Duration::from_millis(100);
/// How often it is seen whether anything is under way.
const LOOK: Duration = Duration::from_millis(20);

/// For how long calls are still taken.
pub fn settling(limits: Limits) -> Duration {
    limits.settle.max(QUEUED).min(limits.drain)
}

/// Waits until nothing has been under way for so long.
pub async fn silence(under_way: impl Fn() -> usize, long: Duration) {
    let mut since = Instant::now();
    while since.elapsed() < long {
        tokio::time::sleep(LOOK).await;
        if under_way() > 0 {
            since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn silence_begins_when_the_last_call_has_ended() {
        let (calls, begun) = (AtomicUsize::new(1), Instant::now());
        let ending = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            calls.store(0, Ordering::Relaxed);
        };
        let quiet = silence(|| calls.load(Ordering::Relaxed), Duration::from_secs(3));
        tokio::join!(ending, quiet);
        let took = begun.elapsed();
        // Less than a look before the last call has ended, nothing is known of that.
        assert!((22..24).contains(&took.as_secs()), "{took:?}");
    }
}
