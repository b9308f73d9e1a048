//! How much may pass: the generic cell rate algorithm.
//!
//! A key's whole state is one moment, the *theoretical arrival time*: when everything that passed
//! would have arrived, had it come evenly. Whoever comes no further ahead of it than a burst is
//! long may pass, and moves it on by one interval. There is no window at whose edge twice as much
//! could pass, and nothing to count down or to fill up in the background.
//!
//! The algorithm is the one that ATM networks police their cells with (ATM Forum, *Traffic
//! Management Specification* 4.0, 1996, section 4.4.2, "virtual scheduling"; ITU-T I.371).
//! All of it is in whole microseconds: Redis counts in doubles, which hold the microseconds
//! since 1970 exactly, but not the nanoseconds.

use std::time::Duration;

/// Nothing is remembered for longer, so that no state outlives its use.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);
/// A rate that Redis could follow on one key.
const FASTEST_PER_SECOND: u64 = 100_000;

/// So many at once, and then one each interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    interval_micros: u64,
    burst: u32,
}

/// Why numbers are no rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// It would let nothing pass.
    #[error("a rate of nothing, or with a burst of nothing, lets nothing pass")]
    Nothing,
    /// It is more than could be counted.
    #[error("a rate is at most {FASTEST_PER_SECOND} a second")]
    TooFast,
    /// It would have to be remembered for too long.
    #[error("a burst must be over within {} days", LONGEST.as_secs() / 86_400)]
    TooLong,
}

impl Rate {
    /// `count` in each `per`, of which `burst` may come at once. The interval between two is
    /// rounded up to a microsecond, so that never more passes than was said: at 3 a second that
    /// is one in a million less, at 30,000 a second one in a hundred.
    pub fn new(count: u32, per: Duration, burst: u32) -> Result<Self, Error> {
        if count == 0 || burst == 0 || per.is_zero() {
            return Err(Error::Nothing);
        }
        let per_micros = per.as_micros();
        let most = u128::from(FASTEST_PER_SECOND) * per_micros / 1_000_000;
        if u128::from(count) > most {
            return Err(Error::TooFast);
        }
        let interval = per_micros.div_ceil(u128::from(count));
        if interval * u128::from(burst) > LONGEST.as_micros() {
            return Err(Error::TooLong);
        }
        Ok(Self {
            interval_micros: u64::try_from(interval).map_err(|_| Error::TooLong)?,
            burst,
        })
    }

    /// How many may pass at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time from one to the next, once the burst is used up.
    pub const fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_micros)
    }

    /// The time in which a whole burst comes back.
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.window_micros())
    }

    pub(super) const fn interval_micros(&self) -> u64 {
        self.interval_micros
    }

    pub(super) const fn window_micros(&self) -> u64 {
        self.interval_micros * self.burst as u64
    }

    /// Lets pass as many of `wanted` as may, and gives the arrival time that there is then. Both
    /// times are in microseconds, of one clock.
    ///
    /// A time before `now` says that all of the burst is there. One that lies further ahead than
    /// a burst can bring about (the clock was set back, the rate is another one now) is taken for
    /// the furthest: nobody waits longer than for one interval.
    pub(super) fn pass(&self, arrival: Option<u64>, now: u64, wanted: u32) -> (Throttled, u64) {
        let full = now.saturating_add(self.window_micros());
        let arrival = arrival.unwrap_or(now).clamp(now, full);
        let free = (full - arrival) / self.interval_micros;
        let granted = wanted.min(u32::try_from(free).unwrap_or(u32::MAX));
        let arrival = arrival + u64::from(granted) * self.interval_micros;
        (self.throttled(granted, arrival - now), arrival)
    }

    /// What is to be said when the arrival time is so far ahead.
    pub(super) fn throttled(&self, granted: u32, ahead_micros: u64) -> Throttled {
        let window = self.window_micros();
        let free = window.saturating_sub(ahead_micros) / self.interval_micros;
        let remaining = u32::try_from(free).unwrap_or(u32::MAX);
        let wait = match remaining {
            0 => (ahead_micros + self.interval_micros).saturating_sub(window),
            _ => 0,
        };
        Throttled {
            granted,
            remaining,
            retry_after: Duration::from_micros(wait),
            reset_after: Duration::from_micros(ahead_micros),
        }
    }
}

/// What may pass, and what may pass next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Throttled {
    /// How many of those that were asked for may pass.
    pub granted: u32,
    /// How many more may pass at once.
    pub remaining: u32,
    /// When one more may pass: zero while some remain, and never more than one interval.
    pub retry_after: Duration,
    /// When a whole burst may pass again, if nothing does until then.
    pub reset_after: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_that_makes_no_sense_is_refused() {
        assert_eq!(Rate::new(0, SECOND, 1), Err(Error::Nothing));
        assert_eq!(Rate::new(1, Duration::ZERO, 1), Err(Error::Nothing));
        assert_eq!(Rate::new(1, SECOND, 0), Err(Error::Nothing));
        assert_eq!(Rate::new(100_001, SECOND, 1), Err(Error::TooFast));
        assert_eq!(Rate::new(1, 24 * 3600 * SECOND, 32), Err(Error::TooLong));
        assert_eq!(Rate::new(1, Duration::MAX, 1), Err(Error::TooLong));
        let rate = Rate::new(3, SECOND, 2).unwrap();
        assert_eq!(rate.interval(), Duration::from_micros(333_334));
        assert_eq!(rate.window(), Duration::from_micros(666_668));
    }

    #[test]
    fn an_arrival_time_that_cannot_be_is_taken_for_the_nearest_that_can() {
        let rate = Rate::new(10, SECOND, 5).unwrap();
        let now = 1_000_000_000;
        let (fresh, _) = rate.pass(None, now, 1);
        assert_eq!(rate.pass(Some(0), now, 1).0, fresh);
        let (full, _) = rate.pass(Some(u64::MAX), now, 1);
        assert_eq!((full.granted, full.retry_after), (0, rate.interval()));
    }

    proptest! {
        /// Whatever comes whenever: in no stretch of time does more pass than a burst and what
        /// the interval allows, and whoever waits as told passes.
        #[test]
        fn no_stretch_of_time_lets_more_pass_than_it_should(
            burst in 1_u32..20,
            interval in 1_u64..1_000,
            steps in prop::collection::vec((0_u64..3_000, 0_u32..30), 1..60),
        ) {
            let rate = Rate { interval_micros: interval, burst };
            let (mut now, mut arrival) = (1_000_000, None);
            let mut passed: Vec<(u64, u64)> = Vec::new();
            for (wait, wanted) in steps {
                now += wait;
                let (told, moved) = rate.pass(arrival, now, wanted);
                prop_assert!(told.granted <= wanted && told.granted <= burst);
                prop_assert!(told.retry_after <= rate.interval());
                arrival = Some(moved);
                passed.push((now, told.granted.into()));
                let mut total = 0;
                for (then, granted) in passed.iter().rev() {
                    total += granted;
                    prop_assert!(total <= u64::from(burst) + (now - then) / interval);
                }
                let next = now + told.retry_after.as_micros() as u64;
                prop_assert_eq!(rate.pass(arrival, next, 1).0.granted, 1);
                if told.remaining == 0 {
                    prop_assert_eq!(rate.pass(arrival, next - 1, 1).0.granted, 0);
                }
                let reset = now + told.reset_after.as_micros() as u64;
                prop_assert_eq!(rate.pass(arrival, reset, u32::MAX).0.granted, burst);
            }
        }
    }
}
