//! What a report covers: its days and its regions.

use crate::region::Regions;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use larder::Tag;
use larder_runtime::status;
use std::fmt;
use tonic::Status;

/// The first day that a report can cover, and the last.
const EPOCH: Date = Date::constant(2000, 1, 1);
const END: Date = Date::constant(2099, 12, 31);
/// The months that a report can cover. Each of them is a tag or five of a cached report.
const MOST_MONTHS: usize = 120;
/// Microseconds in a day.
pub const DAY: i64 = 86_400_000_000;

/// The days and the regions of a report, in their one form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scope {
    first: Date,
    last: Date,
    /// The regions.
    pub regions: Regions,
}

impl Scope {
    /// What a request's fields say, `prefix` standing before their names. Without days they are
    /// those of the last month that has ended.
    pub fn new(
        prefix: &str,
        (first_day, last_day): (&str, &str),
        regions: &[String],
    ) -> Result<Self, Status> {
        let field = |name: &str| format!("{prefix}{name}");
        let regions = Regions::parse(&field("regions"), regions)?;
        let (first, last) = match (first_day, last_day) {
            ("", "") => last_month(today()),
            ("", _) => {
                let problem = "must not be empty where there is a last_day";
                return Err(status::invalid(field("first_day"), problem));
            }
            (_, "") => {
                let problem = "must not be empty where there is a first_day";
                return Err(status::invalid(field("last_day"), problem));
            }
            (first, last) => (
                day(&field("first_day"), first)?,
                day(&field("last_day"), last)?,
            ),
        };
        if last < first {
            let problem = format!("must not lie before the first day, {first}");
            return Err(status::invalid(field("last_day"), problem));
        }
        let scope = Self {
            first,
            last,
            regions,
        };
        if scope.months().nth(MOST_MONTHS).is_some() {
            let problem =
                format!("lies more than {MOST_MONTHS} months after the first day, {first}");
            return Err(status::invalid(field("last_day"), problem));
        }
        Ok(scope)
    }

    /// The last month that has ended before this day.
    pub fn last_month(today: Date, regions: Regions) -> Self {
        let (first, last) = last_month(today);
        Self {
            first,
            last,
            regions,
        }
    }

    /// The first day.
    pub fn first(&self) -> Date {
        self.first
    }

    /// The last day.
    pub fn last(&self) -> Date {
        self.last
    }

    /// The months that have a day in it, in their order.
    pub fn months(&self) -> impl Iterator<Item = Month> + use<> {
        let last = Month::of(self.last);
        std::iter::successors(Some(Month::of(self.first)), move |month| {
            Some(month.next()).filter(|next| *next <= last)
        })
    }

    /// The first moment, and the first after the last day, in microseconds.
    pub fn moments(&self) -> (i64, i64) {
        (micros(self.first), micros(self.last) + DAY)
    }

    /// The tags that a change of one of its orders touches, and those by which reports of a region
    /// are dropped by hand.
    ///
    /// A report over all regions watches the months as such, so that a report has at most
    /// `MOST_MONTHS` tags for each of some regions, and as many for all of them.
    pub fn tags(&self, tags: &mut Vec<Tag>) {
        let regions = self.regions;
        tags.extend(regions.iter().map(|region| Tag::of(BY_HAND, region.name())));
        for month in self.months() {
            if regions.is_all() {
                tags.push(Tag::of("orders.month", &month.to_string()));
            } else {
                let of = |region| format!("{region}/{month}");
                let names = regions.iter().map(|region| of(region.name()));
                tags.extend(names.map(|name| Tag::of("orders.region", &name)));
            }
        }
    }

    /// Reads what `Display` wrote.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (first, last) = (date(parts.next()?)?, date(parts.next()?)?);
        let regions = Regions::read(parts.next()?)?;
        let scope = Self {
            first,
            last,
            regions,
        };
        (first <= last && scope.months().nth(MOST_MONTHS).is_none()).then_some(scope)
    }
}

/// The collection whose members are touched to drop a region's reports.
pub const BY_HAND: &str = "reports.region";

/// `2026-01-01/2026-05-31/north+south`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first,
            last,
            regions,
        } = self;
        write!(f, "{first}/{last}/{regions}")
    }
}

/// A calendar month, written as the column `month` is: `2026-05`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The month that a day is in.
    pub fn of(day: Date) -> Self {
        Self {
            year: day.year(),
            month: day.month(),
        }
    }

    /// The one after it.
    pub fn next(self) -> Self {
        match self.month {
            12 => Self {
                year: self.year + 1,
                month: 1,
            },
            _ => Self {
                month: self.month + 1,
                ..self
            },
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// The day that a number of days after 1970 is.
pub fn nth_day(number: i64) -> Option<Date> {
    let number = i32::try_from(number).ok()?;
    Date::constant(1970, 1, 1).checked_add(number.days()).ok()
}

/// The number of a day after 1970-01-01.
pub fn day_number(day: Date) -> i64 {
    micros(day) / DAY
}

/// Today, in UTC.
pub fn today() -> Date {
    TimeZone::UTC.to_datetime(Timestamp::now()).date()
}

fn last_month(today: Date) -> (Date, Date) {
    let this = today.first_of_month();
    // Nobody's clock shows the first day of all time.
    let last = this.yesterday().unwrap_or(this);
    (last.first_of_month(), last)
}

/// The first moment of a day, in microseconds since 1970.
fn micros(day: Date) -> i64 {
    // Days from 2000 to 2099 have one; beyond, no order is.
    let moment = TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0));
    moment.map_or(0, Timestamp::as_microsecond)
}

/// The day in a request's field.
fn day(field: &str, text: &str) -> Result<Date, Status> {
    date(text).ok_or_else(|| {
        let problem = format!("must be a day from {EPOCH} to {END}, written like {EPOCH}");
        status::invalid(field, problem)
    })
}

/// A day in its one spelling.
fn date(text: &str) -> Option<Date> {
    let day: Date = text.parse().ok()?;
    let known = (EPOCH..=END).contains(&day);
    (known && day.to_string() == text).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Region;
    use jiff::civil::date;

    fn scope(first: &str, last: &str) -> Result<Scope, Status> {
        Scope::new("", (first, last), &[])
    }

    fn tags(scope: &Scope) -> Vec<Tag> {
        let mut tags = Vec::new();
        scope.tags(&mut tags);
        tags
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_field() {
        let refused = [
            ("2026-05-02", "2026-05-01", "last_day"),
            ("2026-02-30", "2026-05-01", "first_day"),
            ("2026-5-1", "2026-05-01", "first_day"),
            ("20260501", "2026-05-01", "first_day"),
            ("2026-05-01T00:00", "2026-05-01", "first_day"),
            ("1999-12-31", "2026-05-01", "first_day"),
            ("2026-05-01", "2100-01-01", "last_day"),
            ("2026-05-01", "yesterday", "last_day"),
            ("2026-05-01", "", "last_day"),
            ("", "2026-05-01", "first_day"),
            ("2016-05-31", "2026-05-01", "last_day"),
        ];
        for (first, last, field) in refused {
            let refused = scope(first, last).expect_err(first);
            let message = refused.message();
            assert!(message.starts_with(&format!("{field}: ")), "{message}");
        }
        assert!(scope("2016-06-30", "2026-05-01").is_ok(), "120 months");
    }

    #[test]
    fn without_days_it_is_the_last_month_that_has_ended() {
        let ended = |today| last_month(today);
        assert_eq!(
            ended(date(2026, 3, 31)),
            (date(2026, 2, 1), date(2026, 2, 28))
        );
        assert_eq!(
            ended(date(2026, 1, 1)),
            (date(2025, 12, 1), date(2025, 12, 31))
        );
        let (first, last) = last_month(today());
        let said = scope(&first.to_string(), &last.to_string()).expect("days");
        assert_eq!(scope("", "").expect("no days"), said);
    }

    #[test]
    fn a_scope_reads_back_from_its_text() {
        let scope = scope("2025-11-30", "2026-02-01").expect("days");
        assert_eq!(scope.to_string(), "2025-11-30/2026-02-01/all");
        assert_eq!(Scope::read(&scope.to_string()), Some(scope));
        for other in [
            "2026-02-01/2025-11-30/all",
            "2000-01-01/2099-12-31/all",
            "2025-11-30/2026-02-01",
            "2025-11-30/2026-02-01/all/day",
        ] {
            assert_eq!(Scope::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_report_depends_on_its_months_and_no_others() {
        let all = scope("2025-11-30", "2026-02-01").expect("days");
        for month in ["2025-11", "2025-12", "2026-01", "2026-02"] {
            assert!(tags(&all).contains(&Tag::of("orders.month", month)));
        }
        assert_eq!(tags(&all).len(), 4 + Region::ALL.len());
        let north = Scope {
            regions: Regions::one(Region::North),
            ..all
        };
        let mut expected = vec![Tag::of(BY_HAND, "north")];
        let months = ["2025-11", "2025-12", "2026-01", "2026-02"];
        expected.extend(months.map(|month| Tag::of("orders.region", &format!("north/{month}"))));
        assert_eq!(tags(&north), expected);
    }

    #[test]
    fn days_are_numbered_as_moments_are() {
        let day = date(2026, 5, 31);
        assert_eq!(nth_day(day_number(day)), Some(day));
        let (first, end) = scope("2026-05-31", "2026-05-31").expect("a day").moments();
        assert_eq!((first, end - first), (1_780_185_600_000_000, DAY));
    }
}
