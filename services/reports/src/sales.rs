//! A sales report, made of what the database summed up: every period is in it, also those without
//! sales.

use crate::model::timestamp;
use crate::report::{Bucket, Sales};
use crate::scope::{day_number, nth_day};
use jiff::civil::Date;
use larder_db::{Error as Db, Row};
use larder_proto::reports::v1 as wire;
use std::collections::HashMap;

/// Puts the report together.
pub fn report(
    report: &Sales,
    rows: &[Row],
    computed_at: i64,
) -> Result<wire::GetSalesReportResponse, Db> {
    let mut sold = HashMap::with_capacity(rows.len());
    for row in rows {
        sold.insert(row.get::<Option<i64>>(0)?, sums(row)?);
    }
    let scope = &report.scope;
    let mut period = |number: Option<i64>, first: Date, last: Date| wire::SalesPeriod {
        first_day: first.max(scope.first()).to_string(),
        last_day: last.min(scope.last()).to_string(),
        ..sold.remove(&number).unwrap_or_default()
    };
    let numbers = number(report.bucket, scope.first())..=number(report.bucket, scope.last());
    let periods = numbers.filter_map(|number| {
        let (first, last) = days(report.bucket, number)?;
        Some(period(Some(number), first, last))
    });
    let periods = periods.collect();
    Ok(wire::GetSalesReportResponse {
        periods,
        total: Some(period(None, scope.first(), scope.last())),
        regions: scope.regions.names(),
        computed_at: Some(timestamp(computed_at)),
    })
}

/// What the database says of a period.
fn sums(row: &Row) -> Result<wire::SalesPeriod, Db> {
    Ok(wire::SalesPeriod {
        orders: row.get(1)?,
        // There is nothing to sum up where there are no orders.
        units: row.get::<Option<i64>>(2)?.unwrap_or_default(),
        revenue_cents: row.get::<Option<i64>>(3)?.unwrap_or_default(),
        customers: row.get(4)?,
        ..wire::SalesPeriod::default()
    })
}

/// The number of the period that a day is in, as the statements in `store.rs` count.
fn number(bucket: Bucket, day: Date) -> i64 {
    match bucket {
        Bucket::Day => day_number(day),
        Bucket::Week => (day_number(day) + 3) / 7,
        Bucket::Month => i64::from(day.year()) * 12 + i64::from(day.month()) - 1,
    }
}

/// The first and the last day of the period of this number.
fn days(bucket: Bucket, number: i64) -> Option<(Date, Date)> {
    match bucket {
        Bucket::Day => {
            let day = nth_day(number)?;
            Some((day, day))
        }
        Bucket::Week => Some((nth_day(7 * number - 3)?, nth_day(7 * number + 3)?)),
        Bucket::Month => {
            let (year, month) = (number.div_euclid(12), number.rem_euclid(12) + 1);
            let (year, month) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?);
            let first = Date::new(year, month, 1).ok()?;
            Some((first, first.last_of_month()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{Weekday, date};

    #[test]
    fn every_day_lies_in_the_period_of_its_number() {
        let mut day = date(2023, 12, 1);
        while day < date(2025, 2, 1) {
            for bucket in [Bucket::Day, Bucket::Week, Bucket::Month] {
                let (first, last) = days(bucket, number(bucket, day)).expect("a period");
                assert!(first <= day && day <= last, "{day} in {first}..{last}");
                let next = number(bucket, last.tomorrow().expect("a day"));
                assert_eq!(next, number(bucket, day) + 1, "no gap after {last}");
            }
            let (monday, sunday) = days(Bucket::Week, number(Bucket::Week, day)).expect("a week");
            assert_eq!(
                (monday.weekday(), sunday.weekday()),
                (Weekday::Monday, Weekday::Sunday)
            );
            day = day.tomorrow().expect("a day");
        }
    }
}
