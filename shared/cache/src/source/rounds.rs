//! Rounds: what the feed says has changed since the last one, asked for by and by.

use super::{Inner, Source};
use crate::digest::Applied;
use crate::feed::{self, Coverage, Round};
use crate::stats::SourceCounters;
use crate::watch::{Mover, What};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a round may take before it is asked for anew and the source is taken to be away.
const ROUND_DEADLINE: Duration = Duration::from_secs(1);
/// How long the whole journal may take.
const WHOLE_DEADLINE: Duration = Duration::from_secs(10);
/// So many rounds in a row that failed at once mean the same: one may have been asked for on a
/// connection that had ended.
const ROUNDS_FAILED: u32 = 2;

impl Source {
    /// Asks the feed for a round now and applies it: afterwards everything committed before the
    /// call is known. Cancel-safe.
    pub async fn prove(&self) -> Result<(), feed::Error> {
        let result = self.try_prove().await;
        if result.is_err() {
            SourceCounters::add(&self.0.counters.round_errors, 1);
        }
        result
    }

    async fn try_prove(&self) -> Result<(), feed::Error> {
        let inner = &self.0;
        let feed = inner.feed.as_ref().ok_or(feed::Error::Unsupported)?;
        let _one_at_a_time = inner.proving.lock().await;
        // After a gap the whole journal follows at once.
        for _ in 0..2 {
            let since = inner.digest.coverage();
            let asked_at = inner.core.clock.now();
            let limit = match since {
                Some(_) => ROUND_DEADLINE,
                None => WHOLE_DEADLINE,
            };
            let round = tokio::time::timeout(limit, feed.round(since.as_ref())).await;
            let late = round.is_err();
            let round = round.unwrap_or_else(|late| Err(feed::Error::Unavailable(Arc::new(late))));
            match (&round, &since) {
                (Err(feed::Error::Unavailable(_)), Some(_)) => {
                    let failed = inner.rounds_failed.fetch_add(1, Ordering::Relaxed) + 1;
                    if late || failed >= ROUNDS_FAILED {
                        inner.is_known_to_be_away();
                    }
                }
                (Err(feed::Error::Unavailable(_)), None) => {}
                // It answered, be it what proves nothing: loads are judged by what they bring.
                _ => {
                    inner.rounds_failed.store(0, Ordering::Relaxed);
                    inner.is_there();
                }
            }
            let round = round?;
            match inner.digest.apply_round(since.as_ref(), &round, asked_at) {
                Applied::Round { lines, .. } => {
                    inner.counters.round(lines);
                    inner.writers.note(&round, asked_at);
                    if lines > 0 {
                        let tags = round.changes.iter().map(|change| change.tag);
                        inner.tell_watchers(|| What::moved(tags, Mover::Round));
                    }
                    return Ok(());
                }
                Applied::Gap => {
                    SourceCounters::add(&inner.counters.gaps, 1);
                    tracing::warn!(source = &*inner.name, "a gap in the feed; taking it whole");
                    inner.tell_watchers(|| What::Gap);
                }
                Applied::WentBack => {
                    let problem = "its snapshot lacks what was visible before";
                    return Err(feed::Error::Unusable(problem.into()));
                }
            }
        }
        Err(feed::Error::Unusable(
            "a gap in what should have been the whole journal".into(),
        ))
    }

    /// Asks the feed for a round on another process's behalf, and applies nothing here.
    pub async fn round(&self, since: Option<&Coverage>) -> Result<Round, feed::Error> {
        self.0
            .feed
            .as_ref()
            .ok_or(feed::Error::Unsupported)?
            .round_for(since)
            .await
    }
}

impl Inner {
    fn is_known_to_be_away(&self) {
        if self.breaker.trip(self.core.clock.now()) {
            self.tell_watchers(|| What::Breaker { open: true });
        }
    }
}

/// Asks for a round at this interval, for ever.
pub(super) async fn poll(source: Source, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut healthy = true;
    loop {
        ticks.tick().await;
        let result = source.prove().await;
        let name = source.name();
        match (&result, healthy) {
            (Err(error), true) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(source = name, %error, cause, "nothing is proven for now");
            }
            (Ok(()), false) => tracing::info!(source = name, "proofs go on"),
            _ => {}
        }
        let goes_on = result.is_ok();
        if goes_on != healthy {
            source.0.tell_watchers(|| What::Proof { goes_on });
        }
        healthy = goes_on;
    }
}
