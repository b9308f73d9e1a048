//! What limits have decided, counted.

use crate::limiter::Limiter;
use larder_runtime::exposition::{Metric, Page};
use std::sync::atomic::{AtomicU64, Ordering};

/// Decisions by limit and outcome.
pub const DECISIONS: Metric = Metric::counter(
    "larder_rate_limit_decisions_total",
    "What rate limits decided.",
);
/// Whether a limit has to do without the remote tier.
pub const AWAY: Metric = Metric::gauge(
    "larder_rate_limit_away",
    "Whether a rate limit has to do without the remote tier.",
);
/// Requests whose forwarding header could not be read.
pub const MALFORMED: Metric = Metric::counter(
    "larder_rate_limit_malformed_total",
    "Requests whose forwarding header could not be read.",
);

/// Decisions of one limit by outcome.
#[derive(Debug, Default)]
pub struct Counts {
    passed: AtomicU64,
    refused: AtomicU64,
    refused_here: AtomicU64,
    passed_alone: AtomicU64,
    refused_alone: AtomicU64,
    away: AtomicU64,
}

macro_rules! counted {
    ($($outcome:ident),*) => {$(
        pub(crate) fn $outcome(&self) {
            self.$outcome.fetch_add(1, Ordering::Relaxed);
        }
    )*};
}

impl Counts {
    counted!(
        passed,
        refused,
        refused_here,
        passed_alone,
        refused_alone,
        away
    );

    /// Each outcome and how often it was: `passed` and `refused` by the shared limit,
    /// `refused_here` because a refusal still held, `passed_alone` and `refused_alone` by this
    /// process alone, and `away` where that is not allowed.
    pub fn read(&self) -> [(&'static str, u64); 6] {
        [
            ("passed", &self.passed),
            ("refused", &self.refused),
            ("refused_here", &self.refused_here),
            ("passed_alone", &self.passed_alone),
            ("refused_alone", &self.refused_alone),
            ("away", &self.away),
        ]
        .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }
}

/// These limits, for `/metrics`.
pub(crate) fn measure<'a>(
    page: &mut Page,
    limiters: impl Iterator<Item = &'a Limiter>,
    malformed: u64,
) {
    for limiter in limiters {
        let scope = ("scope", limiter.scope());
        for (outcome, count) in limiter.counts().read() {
            page.count(DECISIONS, &[scope, ("outcome", outcome)], count);
        }
        page.count(AWAY, &[scope], limiter.is_away().into());
    }
    page.count(MALFORMED, &[], malformed);
}
