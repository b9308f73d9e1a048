//! Traces: whose are recorded, and how they go from one process to the next.
//!
//! Whether a trace is recorded is decided once, where it comes in, before anything is made for it.
//! One that is not costs the look at a header: no span exists of it, here or further in. So
//! whoever makes a span asks only whether it is in one that [`is recorded`](recorded), and the hit
//! path of a cache stays what it was.
//!
//! A call that goes out says what was decided, by `traceparent`, also where that is no: or the
//! next process would decide for itself, and record parts of traces that have no beginning.

mod grpc;

pub(crate) use grpc::Asked;
pub use grpc::{TraceLayer, Traced, TracedBody, TracedFuture, layer};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
use opentelemetry::trace::{SpanId, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _,
};
use std::cell::Cell;
use std::sync::OnceLock;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of every span that is part of a trace, and of nothing else.
pub const TARGET: &str = "larder::trace";

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Set once, where traces are sent anywhere.
static SAMPLER: OnceLock<Sampler> = OnceLock::new();

/// From now on traces are recorded, as this one decides.
pub(crate) fn turn_on(sampler: Sampler) {
    let _ = SAMPLER.set(sampler);
}

/// Whether any trace is recorded by this process.
#[inline]
pub fn is_on() -> bool {
    SAMPLER.get().is_some()
}

/// The place of a span in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The trace's id.
    pub trace: [u8; 16],
    /// The span's.
    pub span: [u8; 8],
}

impl Place {
    /// The trace's id as it is written.
    pub fn trace_id(&self) -> String {
        TraceId::from_bytes(self.trace).to_string()
    }

    /// The span's id as it is written.
    pub fn span_id(&self) -> String {
        SpanId::from_bytes(self.span).to_string()
    }
}

/// Where the running task is in a recorded trace, if it is in one.
pub fn current() -> Option<Place> {
    if !is_on() {
        return None;
    }
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_sampled().then(|| Place {
            trace: span.trace_id().to_bytes(),
            span: span.span_id().to_bytes(),
        })
    })
}

/// Says that a span came about by another, in a trace of its own.
pub fn link(span: &Span, to: Place) {
    span.add_link(remote(to));
}

fn remote(place: Place) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(place.trace),
        SpanId::from_bytes(place.span),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    )
}

/// A trace of which a span is about to be recorded.
pub struct Begun {
    parent: Context,
    /// The id of a trace that begins here.
    own: Option<TraceId>,
}

/// Whether the trace that these headers are of, or one that begins with them, is recorded.
pub fn begin(headers: &HeaderMap) -> Option<Begun> {
    let sampler = SAMPLER.get()?;
    let parent = match headers.contains_key(TRACEPARENT) {
        true => TraceContextPropagator::new().extract_with_context(&Context::new(), &From(headers)),
        false => Context::new(),
    };
    let known = parent.span().span_context().is_valid();
    let id = match known {
        true => parent.span().span_context().trace_id(),
        false => RandomIdGenerator::default().new_trace_id(),
    };
    let asked = known.then_some(&parent);
    let decided = sampler.should_sample(asked, id, "", &SpanKind::Server, &[], &[]);
    (decided.decision == SamplingDecision::RecordAndSample).then_some(Begun {
        parent,
        own: (!known).then_some(id),
    })
}

impl Begun {
    /// Makes this span, which has no parent yet, the first of this process in the trace.
    pub fn with(self, span: Span) -> Span {
        PRESET.set(self.own);
        // It is new, so that it takes a parent; and it gets its ids with its context.
        let _ = span.set_parent(self.parent);
        let _ = span.context();
        PRESET.set(None);
        span
    }
}

/// Begins a trace by a span that came about by another one, as that one is recorded.
pub fn follow(span: Span, cause: Place) -> Span {
    link(&span, cause);
    let _ = span.set_parent(Context::new());
    span
}

/// Says in these headers which span they come from; or, where none is recorded, that it was
/// decided so.
pub(crate) fn inject(span: Option<&Span>, headers: &mut HeaderMap) {
    if !is_on() {
        return;
    }
    let Some(span) = span else {
        let ids = RandomIdGenerator::default();
        let text = format!("00-{}-{}-00", ids.new_trace_id(), ids.new_span_id());
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(TRACEPARENT, value);
        }
        return;
    };
    TraceContextPropagator::new().inject_context(&span.context(), &mut To(headers));
}

/// Whether the running task is in a span of a recorded trace.
#[inline]
pub fn recorded() -> bool {
    is_on()
        && Span::current()
            .metadata()
            .is_some_and(|span| span.target() == TARGET)
}

struct From<'a>(&'a HeaderMap);

impl Extractor for From<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct To<'a>(&'a mut HeaderMap);

impl Injector for To<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}

thread_local! {
    /// The id that the next trace gets on this thread: the one that it was chosen by.
    static PRESET: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Ids by chance, and of a trace the one that it was chosen by.
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        PRESET.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}
