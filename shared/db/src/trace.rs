//! Spans of statements, for somebody whose trace is recorded.
//!
//! A span is made only inside of one with the same [`TARGET`]: whoever lets a trace in decides
//! whether it is recorded. Everything else costs a look at one number where nothing listens. No
//! span holds a statement's text, and none its values.

use crate::Error;
use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span};

/// The target of every span that is part of a trace, and of nothing else.
const TARGET: &str = "larder::trace";

/// Whether the running task is in a span of a recorded trace.
fn recorded() -> bool {
    let in_one = || Span::current().metadata().map(|span| span.target()) == Some(TARGET);
    tracing::span_enabled!(target: TARGET, Level::INFO) && in_one()
}

/// A statement that is about to be sent.
pub(crate) fn statement(postgres: bool, sql: &str) -> Span {
    if !recorded() {
        return Span::none();
    }
    let system = if postgres { "postgresql" } else { "sqlite" };
    let operation = operation(sql);
    tracing::info_span!(
        target: TARGET,
        "sql",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
        error.type = Empty,
    )
}

/// The same step, within its span.
pub(crate) async fn watched<T>(
    step: impl Future<Output = Result<T, Error>>,
    span: Span,
) -> Result<T, Error> {
    let ended = step.instrument(span.clone()).await;
    if ended.is_err() {
        span.record("error.type", "refused");
        span.record("otel.status_code", "ERROR");
    }
    ended
}

/// What a statement does, in its own first word; of one that ends a transaction as well, that.
fn operation(sql: &str) -> &str {
    let sql = sql.trim();
    match sql.strip_suffix("COMMIT") {
        Some(_) => "COMMIT",
        None => sql
            .split(|c: char| !c.is_ascii_alphabetic())
            .next()
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_what_it_does() {
        for (sql, name) in [
            ("SELECT a FROM b WHERE c = $1", "SELECT"),
            (" INSERT INTO a (b) VALUES ($1)", "INSERT"),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "BEGIN"),
            ("SELECT larder_journal_finish(); COMMIT", "COMMIT"),
            ("", ""),
        ] {
            assert_eq!(operation(sql), name);
        }
    }
}
