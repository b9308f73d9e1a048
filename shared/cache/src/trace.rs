//! Spans of what the cache does for somebody whose trace is recorded.
//!
//! This crate speaks to `tracing` alone. A span is made only inside of one with the same
//! [`TARGET`]: whoever lets a trace in decides whether it is recorded, and makes such a span if it
//! is. Everything else costs a look at one number where nothing listens, and one at the thread's
//! own stack of spans where something does.
//!
//! What happens in another process by a message of this one has no parent there. Its span is one
//! of its own trace, which links to the one that sent the message: see [`Tracing`].

use crate::hint::Hint;
use crate::read::{Answer, Error, Origin};
use tracing::field::Empty;
use tracing::{Level, Span};

/// The target of every span that is part of a trace, and of nothing else.
pub const TARGET: &str = "larder::trace";

/// The place of a span in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The trace's id.
    pub trace: [u8; 16],
    /// The span's.
    pub span: [u8; 8],
}

/// Who knows what traces are called, which `tracing` does not.
#[derive(Clone, Copy)]
pub struct Tracing {
    /// Where the running task is in a recorded trace, if it is in one.
    pub current: fn() -> Option<Place>,
    /// Has a span, which has no parent, follow from one of another trace.
    pub follow: fn(Span, Place) -> Span,
}

/// Nobody does.
impl Default for Tracing {
    fn default() -> Self {
        Self {
            current: || None,
            follow: |span, _| span,
        }
    }
}

/// Whether the running task is in a span of a recorded trace.
#[inline]
pub(crate) fn recorded() -> bool {
    tracing::span_enabled!(target: TARGET, Level::INFO) && is_in_one()
}

fn is_in_one() -> bool {
    let span = Span::current();
    span.metadata().is_some_and(|span| span.target() == TARGET)
}

/// The span that the running task is in, if its trace is recorded.
pub(crate) fn current() -> Span {
    match recorded() {
        true => Span::current(),
        false => Span::none(),
    }
}

/// A span of the running task's trace, if that is recorded.
macro_rules! span {
    ($name:literal, $($fields:tt)*) => {
        match $crate::trace::recorded() {
            true => tracing::info_span!(target: $crate::trace::TARGET, $name, $($fields)*),
            false => tracing::Span::none(),
        }
    };
}
pub(crate) use span;

/// A read that memory answered.
#[inline]
pub(crate) fn hit(keyspace: &str, origin: &Origin) {
    if recorded() {
        note_hit(keyspace, origin);
    }
}

#[cold]
fn note_hit(keyspace: &str, origin: &Origin) {
    let _ = tracing::info_span!(
        target: TARGET,
        "cache read",
        cache.keyspace = keyspace,
        cache.tier = origin.word(),
        cache.outcome = "hit",
        cache.waited_for = "nobody",
    );
}

/// A read of so many keys that memory did not answer.
pub(crate) fn read(keyspace: &str, keys: usize) -> Span {
    span!(
        "cache read",
        cache.keyspace = keyspace,
        cache.keys = keys,
        cache.tier = Empty,
        cache.outcome = Empty,
        cache.waited_for = Empty,
    )
}

/// The running read waits for a flight: its own, or one that another has begun, of which its trace
/// then tells more.
pub(crate) fn boarded(flight: &Span, led: bool) {
    if recorded() && !led {
        let span = Span::current();
        span.follows_from(flight.id());
        span.record("cache.waited_for", "caller");
    }
}

/// The running read waits for what another process loads.
pub(crate) fn waits_for_a_process() {
    if recorded() {
        Span::current().record("cache.waited_for", "process");
    }
}

/// The running read has an answer, or the last of several.
pub(crate) fn answered<V>(answer: &Result<Answer<V>, Error>, led: bool) {
    if !recorded() {
        return;
    }
    let span = Span::current();
    match answer {
        Ok(answer) => {
            span.record("cache.tier", answer.origin.word());
            let outcome = match answer.origin {
                Origin::Stale => "stale",
                _ if !led => "joined",
                Origin::L1 | Origin::L2 => "hit",
                Origin::Source => "load",
            };
            span.record("cache.outcome", outcome);
        }
        Err(error) => {
            let outcome = match error {
                Error::Overloaded { .. } => "refused",
                _ => "error",
            };
            span.record("cache.outcome", outcome);
            failed(&span, outcome);
        }
    }
}

/// A call of the remote tier.
pub(crate) fn remote(system: &'static str, operation: &'static str) -> Span {
    span!(
        "remote",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
        error.type = Empty,
    )
}

/// What a span is of has failed, in one word.
pub(crate) fn failed(span: &Span, why: &'static str) {
    span.record("error.type", why);
    span.record("otel.status_code", "ERROR");
}

/// The hint of a write goes out.
pub(crate) fn sent(source: &str, tags: usize) -> Span {
    span!(
        "send hint",
        otel.kind = "producer",
        cache.source = source,
        cache.tags = tags,
    )
}

/// The hint of another process's write has come in: what it moves here is told in a trace of its
/// own, which follows from the write's.
pub(crate) fn heard(tracing: &Tracing, source: &str, hint: &Hint) -> Span {
    let Some(place) = hint.place else {
        return Span::none();
    };
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "evict",
        otel.kind = "consumer",
        cache.source = source,
        cache.tags = hint.written.tags.len(),
        cache.outcome = Empty,
    );
    match span.is_disabled() {
        true => span,
        false => (tracing.follow)(span, place),
    }
}

/// What came of the hint that is being heeded.
pub(crate) fn heeded(outcome: &'static str) {
    if recorded() {
        Span::current().record("cache.outcome", outcome);
    }
}
