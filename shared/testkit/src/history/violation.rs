//! What was found, with the history that shows it.

use super::Tally;
use super::register::{Event, millis};
use std::fmt;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Older than Δ allows, and not marked.
    Stale,
    /// The same, and the same caller had been shown something newer.
    WentBack,
    /// The same, and what is shown was deleted.
    Returned,
    /// The same, and what is missing was inserted.
    Missing,
    /// Older than the age that the answer reports.
    OlderThanTold,
    /// A write whose token was shown is not reflected.
    Token,
    /// A value of a transaction that was rolled back.
    Aborted,
    /// A value that does not belong to its version or to where it was found.
    Garbled,
    /// A write was acknowledged, and the database does not have it.
    Lost,
    /// All is quiet and healed, and the answer is not what the database holds.
    Differs,
    /// Too few answers came from a cache.
    ShareTooLow,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which promise.
    pub kind: Kind,
    said: String,
    trail: Vec<Event>,
}

impl Violation {
    pub(super) fn new(kind: Kind, said: String, trail: Vec<Event>) -> Self {
        Self { kind, said, trail }
    }

    pub(super) fn of_share(tally: &Tally, least: f64) -> Self {
        let said = format!(
            "{:.1} % of {} reads were served from a cache, and {:.1} % should be",
            tally.share_cached() * 100.0,
            tally.reads,
            least * 100.0
        );
        Self::new(Kind::ShareTooLow, said, Vec::new())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.kind, self.said)?;
        for event in &self.trail {
            writeln!(f, "    {:>16}  {}", millis(event.at), event.text)?;
        }
        Ok(())
    }
}
