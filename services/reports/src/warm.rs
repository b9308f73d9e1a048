//! Off-peak warming: at stated times of the day, last month's standard reports are computed before
//! anybody asks for them.
//!
//! Every replica follows the schedule, and each report is computed by one of them: whoever comes
//! first holds its lock, and the others take what it has stored, into their own memory. A report
//! lives for an hour unless it is asked for, so a time shortly before people come is a good one.

use crate::caching::Keyspaces;
use crate::region::{Region, Regions};
use crate::report::{Bucket, CustomerValue, Order, Sales, TopProducts};
use crate::scope::Scope;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use larder::{Error, Read};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// How long it sleeps at most before it looks at the clock again, which may be set, or may have
/// stood still while the machine slept.
const LOOK: Duration = Duration::from_secs(60);

/// Times of the day, in UTC; there may be none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Schedule(Vec<Time>);

/// What is wrong with a schedule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected times of the day in UTC, like 03:00 or 03:00,06:30, or `never`")]
pub struct Malformed;

impl FromStr for Schedule {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "never" {
            return Ok(Self::default());
        }
        let time = |text: &str| Time::strptime("%H:%M", text.trim()).map_err(|_| Malformed);
        let mut times = text.split(',').map(time).collect::<Result<Vec<_>, _>>()?;
        times.sort_unstable();
        times.dedup();
        Ok(Self(times))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("never");
        }
        for (index, time) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{:02}:{:02}", time.hour(), time.minute())?;
        }
        Ok(())
    }
}

impl Schedule {
    /// The first of its moments after `now`; `None` where it has none.
    fn next(&self, now: DateTime) -> Option<DateTime> {
        let today = self.0.iter().find(|time| **time > now.time());
        let next = match today {
            Some(time) => now.date().to_datetime(*time),
            None => now.date().tomorrow().ok()?.to_datetime(*self.0.first()?),
        };
        Some(next)
    }

    /// Warms at each of its moments, for ever; `now` is the machine's clock, in UTC.
    pub async fn follow(self, keyspaces: Keyspaces, now: impl Fn() -> DateTime) {
        let mut last = now();
        while let Some(due) = self.next(last) {
            loop {
                let left = due.duration_since(now());
                let Ok(left) = Duration::try_from(left) else {
                    break;
                };
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left.min(LOOK)).await;
            }
            last = now();
            warm(&keyspaces, last.date()).await;
        }
    }
}

/// The machine's clock, in UTC.
pub fn now() -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp::now())
}

/// Computes the standard reports of the month that has ended before this day, one after the other,
/// and says how many there are now: over all regions and over each of them, what was sold day by
/// day, what sold best, and who bought.
pub async fn warm(keyspaces: &Keyspaces, today: Date) -> usize {
    let began = Instant::now();
    let each = Region::ALL.into_iter().map(Regions::one);
    let (mut warm, mut failed) = (0, 0);
    for regions in std::iter::once(Regions::ALL).chain(each) {
        let scope = Scope::last_month(today, regions);
        let sales = Sales {
            scope,
            bucket: Bucket::Day,
        };
        let top = TopProducts {
            scope,
            order: Order::Revenue,
        };
        let read = Read::bounded();
        let outcomes = [
            keyspaces.sales.get(&sales, &read).await.map(drop),
            keyspaces.top_products.get(&top, &read).await.map(drop),
            keyspaces
                .customer_value
                .get(&CustomerValue { scope }, &read)
                .await
                .map(drop),
        ];
        for outcome in outcomes {
            match outcome {
                Ok(()) => warm += 1,
                Err(error) => {
                    failed += 1;
                    told(&error, &scope);
                }
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(
        reports.warm = warm,
        reports.failed = failed,
        seconds,
        "last month's reports are warm"
    );
    warm
}

fn told(error: &Error, scope: &Scope) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, report.scope = %scope, "a report could not be computed ahead");
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::datetime;

    fn schedule(text: &str) -> Schedule {
        text.parse().expect("a schedule")
    }

    #[test]
    fn a_schedule_reads_back_from_its_text() {
        for text in ["never", "03:00", "00:00,06:30,23:59"] {
            assert_eq!(schedule(text).to_string(), text);
        }
        assert_eq!(schedule("6:30, 03:00,03:00").to_string(), "03:00,06:30");
        for text in ["", "24:00", "3", "03:00;04:00", "soon"] {
            assert_eq!(text.parse::<Schedule>(), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn the_next_moment_is_today_or_tomorrow() {
        let next = |text: &str, now| schedule(text).next(now);
        let noon = datetime(2026, 12, 31, 12, 0, 0, 0);
        assert_eq!(next("never", noon), None);
        let evening = datetime(2026, 12, 31, 18, 0, 0, 0);
        assert_eq!(next("03:00,18:00", noon), Some(evening));
        let morning = datetime(2027, 1, 1, 3, 0, 0, 0);
        assert_eq!(next("03:00,12:00", noon), Some(morning));
        assert_eq!(next("03:00", noon), Some(morning));
    }
}
