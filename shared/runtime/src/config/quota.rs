//! How many in which time, as it is written in a setting: `100/s`, `6000/min`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many in each unit of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// Why a text is no quota.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a count, a slash and a unit of time: 100/s, 6000/min, 10000/h, 100000/d")]
pub struct NotQuota;

impl Quota {
    /// How many; never none.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// In which time.
    pub fn per(&self) -> Duration {
        Duration::from_secs(match self.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86_400,
        })
    }
}

impl FromStr for Quota {
    type Err = NotQuota;

    fn from_str(text: &str) -> Result<Self, NotQuota> {
        let (count, unit) = text.trim().split_once('/').ok_or(NotQuota)?;
        // `parse` alone would take a sign.
        let plain = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = count.parse().map_err(|_| NotQuota)?;
        let unit = match unit {
            "s" | "sec" | "second" => Unit::Second,
            "m" | "min" | "minute" => Unit::Minute,
            "h" | "hour" => Unit::Hour,
            "d" | "day" => Unit::Day,
            _ => return Err(NotQuota),
        };
        match plain && count > 0 {
            true => Ok(Self { count, unit }),
            false => Err(NotQuota),
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "min",
            Unit::Hour => "h",
            Unit::Day => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_read_and_printed() {
        for (text, count, seconds, printed) in [
            ("100/s", 100, 1, "100/s"),
            ("6000/min", 6000, 60, "6000/min"),
            ("5/m", 5, 60, "5/min"),
            (" 1/hour ", 1, 3600, "1/h"),
            ("4294967295/d", u32::MAX, 86_400, "4294967295/d"),
        ] {
            let quota: Quota = text.parse().expect(text);
            assert_eq!(quota.count(), count);
            assert_eq!(quota.per(), Duration::from_secs(seconds));
            assert_eq!(quota.to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_quota_is_refused() {
        for text in [
            "",
            "/",
            "/s",
            "100",
            "100/",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "4294967296/s",
            "1 /s",
            "1/ s",
            "1/week",
            "1/s/s",
            "many/s",
        ] {
            assert_eq!(text.parse::<Quota>(), Err(NotQuota), "{text}");
        }
    }
}
