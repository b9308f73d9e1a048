//! The table.

use super::world::World;
use larder_testkit::history::{Origin, Tally};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a fault did.
#[derive(Clone, Debug)]
pub struct Line {
    pub(crate) name: String,
    /// Before it, during it, and in the time after it.
    pub(crate) before: Tally,
    pub(crate) during: Tally,
    pub(crate) after: Tally,
    /// Loads per second before it, during it, and in the second after it.
    pub(crate) loads: [Option<f64>; 3],
    /// Transactions of PostgreSQL per second, at the same times.
    pub(crate) statements: [Option<f64>; 3],
    /// The oldest proof of any process during it.
    pub(crate) proof: Duration,
    /// Lines of rounds that came to a process during it.
    pub(crate) lines: u64,
    pub(crate) notes: Vec<String>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// The 99th percentile of answers marked stale, and of UNAVAILABLE.
    pub(crate) stale: Option<Duration>,
    pub(crate) unavailable: Option<Duration>,
}

impl Line {
    /// Everything that was judged.
    pub fn total(&self) -> Tally {
        let mut total = self.before.clone();
        total.add(&self.during);
        total.add(&self.after);
        total
    }

    /// What went wrong with single calls, by what it was.
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// What there is to say beside the table.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The head of the table, in Markdown.
pub fn header() -> &'static str {
    "| fault | reads | rows judged | writes | violations | longest staleness | p99.99 | errors | from cache before/during/after | loads/s before/during/1 s after | db transactions/s | marked stale | p99 of stale, of UNAVAILABLE | oldest proof | round lines |\n\
     |---|---:|---:|---:|---:|---:|---:|---:|---|---|---|---|---|---:|---:|"
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        let share = |tally: &Tally| match tally.reads {
            0 => "–".to_owned(),
            _ => format!("{:.1} %", tally.share_cached() * 100.0),
        };
        let shares = [&self.before, &self.during, &self.after].map(share);
        let loads = self
            .loads
            .map(|loads| loads.map_or_else(|| "–".to_owned(), |loads| format!("{loads:.0}")));
        let statements = self
            .statements
            .map(|count| count.map_or_else(|| "–".to_owned(), |count| format!("{count:.0}")));
        let errors: u64 = self.errors.values().sum();
        let span = |span: Option<Duration>| span.map_or_else(|| "–".to_owned(), millis);
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {errors} | {} | {} | {} | {} | {}, {} | {} | {} |",
            self.name,
            total.reads,
            total.facts,
            total.writes,
            total.violations,
            millis(total.longest),
            millis(total.behind(0.9999)),
            shares.join(" / "),
            loads.join(" / "),
            statements.join(" / "),
            total.of(Origin::Stale),
            span(self.stale),
            span(self.unavailable),
            millis(self.proof),
            self.lines,
        )
    }
}

fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}

/// Violations that are printed with the whole history: the first ones tell most.
const WHOLE: usize = 3;

/// Prints what was found, with the histories, and says how many there are.
pub fn print_violations(world: &World) -> usize {
    let found = world.history().violations();
    for (number, violation) in found.iter().enumerate() {
        let text = violation.to_string();
        let shown = if number < WHOLE {
            text.as_str()
        } else {
            text.lines().next().unwrap_or("")
        };
        eprintln!("VIOLATION {shown}");
    }
    found.len()
}
