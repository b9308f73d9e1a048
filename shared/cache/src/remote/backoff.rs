//! Pauses between attempts: doubling, bounded, and never the same for two processes.

use std::time::Duration;

/// The next pause to make, from a first to a longest.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The pause to make now.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        jittered(pause)
    }

    /// Whether no pause was made since the last reset.
    pub(super) fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// Something worked: the next pause is the first again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Between half of `span` and all of it.
pub(super) fn jittered(span: Duration) -> Duration {
    // Without randomness the pause is merely the same everywhere.
    let share = getrandom::u32().unwrap_or(u32::MAX);
    span.mul_f64(0.5 + 0.5 * f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(50), ms(300));
        for full in [ms(50), ms(100), ms(200), ms(300), ms(300)] {
            let pause = backoff.pause();
            assert!(pause >= full / 2 && pause <= full, "{pause:?} for {full:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= ms(50));
    }
}
