//! What limits have decided, counted.

use crate::limiter::Limiter;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Decisions by limit and outcome.
pub const DECISIONS: &str = "larder_rate_limit_decisions_total";
/// Whether a limit has to do without the remote tier.
pub const AWAY: &str = "larder_rate_limit_away";
/// Requests whose forwarding header could not be read.
pub const MALFORMED: &str = "larder_rate_limit_malformed_total";

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

/// These limits as Prometheus text.
pub(crate) fn render<'a>(
    limiters: impl Iterator<Item = &'a Limiter> + Clone,
    malformed: u64,
) -> String {
    let mut page =
        format!("# HELP {DECISIONS} What rate limits decided.\n# TYPE {DECISIONS} counter\n");
    for limiter in limiters.clone() {
        let scope = limiter.scope();
        for (outcome, count) in limiter.counts().read() {
            let labels = format!("scope=\"{scope}\",outcome=\"{outcome}\"");
            _ = writeln!(page, "{DECISIONS}{{{labels}}} {count}");
        }
    }
    _ = writeln!(
        page,
        "# HELP {AWAY} Whether a rate limit has to do without the remote tier.\n# TYPE {AWAY} gauge"
    );
    for limiter in limiters {
        let is_away = u8::from(limiter.is_away());
        _ = writeln!(page, "{AWAY}{{scope=\"{}\"}} {is_away}", limiter.scope());
    }
    _ = writeln!(
        page,
        "# HELP {MALFORMED} Requests whose forwarding header could not be read.\n\
         # TYPE {MALFORMED} counter\n{MALFORMED} {malformed}"
    );
    page
}
