//! When requests are sent.
//!
//! In a closed loop a caller sends its next request when it has the answer to the one before, and
//! a server that stalls is asked less meanwhile. In an open loop requests are due at times that no
//! answer can move: their latency counts from when they were due, so that a stall is in the
//! latency of every request that should have been sent during it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long an open loop goes on sending what was due before its end.
const GRACE: Duration = Duration::from_secs(5);

/// How requests follow one another.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As fast as the callers get answers.
    Closed,
    /// So many in a second, evenly.
    Open(f64),
}

/// A series of requests that ends.
pub struct Schedule {
    pace: Pace,
    began: Instant,
    until: Instant,
    most: u64,
    next: AtomicU64,
}

/// A request, and when it is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// Its number, from 0.
    pub index: u64,
    /// When it is to be sent; its latency counts from then.
    pub at: Instant,
}

impl Schedule {
    /// Begins now, and ends after so long or so many requests, whichever comes first.
    pub fn begin(pace: Pace, takes: Duration, most: u64) -> Self {
        let began = Instant::now();
        Self {
            pace,
            began,
            until: began + takes,
            most,
            next: AtomicU64::new(0),
        }
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The next request, when it is due or as soon after that as somebody asks for it. A request
    /// whose caller stops waiting is not sent.
    pub async fn next(&self) -> Option<Due> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.due(index)?;
        if let Pace::Open(_) = self.pace {
            sleep_until(due.at).await;
            if Instant::now() > self.until + GRACE {
                // It is among those that were never sent.
                self.next.fetch_min(index, Ordering::Relaxed);
                return None;
            }
        }
        Some(due)
    }

    /// How long those had been due, at `now`, which were due and which nobody has sent: a bound
    /// from below on what their latency would have been.
    pub fn unsent(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let from = match self.pace {
            Pace::Closed => u64::MAX,
            Pace::Open(_) => self.next.load(Ordering::Relaxed),
        };
        (from..u64::MAX)
            .map_while(|index| self.due(index))
            .map(move |due| now.saturating_duration_since(due.at))
    }

    fn due(&self, index: u64) -> Option<Due> {
        let at = match self.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(per_second) => {
                self.began + Duration::from_secs_f64(index as f64 / per_second)
            }
        };
        (index < self.most && at < self.until).then_some(Due { index, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn an_open_loop_is_due_at_even_times_whatever_the_answers_do() {
        let schedule = Schedule::begin(Pace::Open(100.0), Duration::from_millis(100), u64::MAX);
        let mut due = Vec::new();
        while let Some(next) = schedule.next().await {
            due.push((next.at - schedule.began()).as_millis());
            if next.index == 2 {
                sleep(Duration::from_millis(55)).await;
            }
        }
        assert_eq!(due, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(schedule.unsent(Instant::now()).count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_sends_when_it_is_asked_and_ends_by_time_or_number() {
        let by_time = Schedule::begin(Pace::Closed, Duration::from_millis(50), u64::MAX);
        let mut sent = 0;
        while let Some(due) = by_time.next().await {
            assert_eq!(due.at, Instant::now());
            sleep(Duration::from_millis(20)).await;
            sent += 1;
        }
        assert_eq!(sent, 3);
        let by_number = Schedule::begin(Pace::Closed, Duration::from_secs(1), 2);
        assert_eq!(by_number.next().await.map(|due| due.index), Some(0));
        assert_eq!(by_number.next().await.map(|due| due.index), Some(1));
        assert_eq!(by_number.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_open_loop_could_not_send_is_told_with_how_late_it_was() {
        let schedule = Schedule::begin(Pace::Open(10.0), Duration::from_secs(1), u64::MAX);
        schedule.next().await.expect("the first");
        sleep(Duration::from_secs(7)).await;
        assert_eq!(schedule.next().await, None, "nobody waits that long");
        let late: Vec<_> = schedule.unsent(Instant::now()).collect();
        assert_eq!(late.len(), 9, "all but the first");
        assert_eq!(late[0], Duration::from_millis(6_900));
    }
}
