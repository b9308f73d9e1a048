//! The result for a person at a terminal.

use super::report::{Measured, Outcome, Ratio, Report};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        for scenario in &self.scenarios {
            write!(f, "\n{scenario}")?;
        }
        if self.stopped_early {
            writeln!(f, "\nstopped before its end")?;
        }
        Ok(())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writes = 100.0 * self.write_share;
        writeln!(f, "{}: {writes:.0} % writes", self.scenario.name())?;
        writeln!(
            f,
            "{:<12}{:>11}{:>10}{:>10}{:>10}{:>11}{:>8}{:>8}{:>10}{:>9}",
            "",
            "requests/s",
            "read p50",
            "p99",
            "p99.9",
            "write p50",
            "L1 %",
            "L2 %",
            "db q/s",
            "failed"
        )?;
        for mode in &self.modes {
            row(f, mode)?;
        }
        for ratio in &self.ratios {
            writeln!(f, "{}", told(ratio))?;
        }
        let (old, unsent) = self.modes.iter().fold((0, 0), |(old, unsent), mode| {
            (old + mode.reads_too_old, unsent + mode.unsent)
        });
        writeln!(f, "reads older than they may be: {old}")?;
        if unsent > 0 {
            writeln!(f, "due and never sent: {unsent}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, mode: &Outcome) -> fmt::Result {
    let reads = mode.served.reads().max(1) as f64;
    let part = |count: u64| format!("{:.1}", 100.0 * count as f64 / reads);
    let queries = mode.queries_per_second;
    writeln!(
        f,
        "{:<12}{:>11.0}{:>10}{:>10}{:>10}{:>11}{:>8}{:>8}{:>10}{:>9}",
        mode.mode.title(),
        mode.requests_per_second,
        millis(mode.read_latency.p50_us),
        millis(mode.read_latency.p99_us),
        millis(mode.read_latency.p999_us),
        millis(mode.write_latency.p50_us),
        part(mode.served.l1),
        part(mode.served.l2),
        queries.map_or("unknown".to_owned(), |queries| format!("{queries:.0}")),
        mode.served.failed,
    )
}

/// Microseconds as a person reads them.
pub fn millis(micros: u64) -> String {
    match micros {
        0 => "-".to_owned(),
        1..=99_999 => format!("{:.2} ms", micros as f64 / 1e3),
        _ => format!("{:.0} ms", micros as f64 / 1e3),
    }
}

/// A comparison in words.
pub fn told(ratio: &Ratio) -> String {
    let spread = |[middle, least, most]: [f64; 3]| {
        format!("{} ({} to {})", times(middle), times(least), times(most))
    };
    let queries = ratio
        .queries
        .map(|queries| format!(", database queries for each request {}", spread(queries)));
    format!(
        "{} over {}: throughput {}, read p50 {}, p99 {}{}",
        ratio.of.title(),
        ratio.over.title(),
        spread(ratio.throughput),
        spread(ratio.read_p50),
        spread(ratio.read_p99),
        queries.unwrap_or_default(),
    )
}

/// A factor as a person reads it.
pub fn times(factor: f64) -> String {
    match factor {
        factor if factor >= 10.0 => format!("{factor:.0}×"),
        factor if factor >= 1.0 => format!("{factor:.1}×"),
        _ => format!("{factor:.2}×"),
    }
}
