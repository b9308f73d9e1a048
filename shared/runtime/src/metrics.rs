//! Every call counted and timed, by method and status.
//!
//! The methods are known from the descriptors before the first call, so that a call looks its
//! own up in a map that never changes and adds to counters that its thread hardly shares: no
//! lock, and no allocation after a status has been seen once. Calls of methods that nobody
//! described share one entry, so that strangers cannot grow the metrics.

use crate::exposition::{Exemplars, Metric, Page, Sizes};
use crate::{status, trace};
use http::HeaderMap;
use pin_project_lite::pin_project;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// How long calls took, from the request's headers to the answer's last byte.
pub const CALL_DURATION: Metric = Metric::histogram(
    "rpc_server_call_duration_seconds",
    "Time from a call's headers to its answer's end.",
);

/// How long calls to others took, whatever was tried on the way.
pub const MADE_DURATION: Metric = Metric::histogram(
    "rpc_client_call_duration_seconds",
    "Time from a call to another service to its answer's end.",
);

/// The histogram's upper bounds in nanoseconds.
const BOUNDS: [u64; 14] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    2_500_000_000,
    10_000_000_000,
];
/// The same in seconds.
const BOUNDS_SECONDS: [f64; BOUNDS.len()] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.5, 10.0,
];
/// Threads spread over so many copies of each counter.
const STRIPES: usize = 8;
/// The status codes are 0 to 16.
const CODES: usize = 17;

/// The calls of a server, by method and status.
pub struct Metrics {
    /// By path, as a request names it: `/package.Service/Method`.
    methods: HashMap<Box<str>, Arc<Method>, foldhash::fast::RandomState>,
    other: Arc<Method>,
}

/// The calls of one method, by status. A status takes no room before it is seen.
struct Method {
    name: String,
    by_code: [OnceLock<Box<Histogram>>; CODES],
}

#[derive(Default)]
struct Histogram {
    stripes: [Stripe; STRIPES],
    /// Some whose traces are recorded.
    exemplars: Exemplars<{ BOUNDS.len() + 1 }>,
}

/// On cache lines of its own, so that threads do not take them from each other.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    /// One for each bound, and one for what is beyond the last.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Metrics {
    /// Metrics for every method of these encoded descriptor sets.
    pub fn new(descriptors: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut methods = HashMap::default();
        for set in descriptors {
            for name in method_names(set)? {
                methods.insert(format!("/{name}").into(), Arc::new(Method::new(name)));
            }
        }
        Ok(Self {
            methods,
            other: Arc::new(Method::new("_OTHER".to_owned())),
        })
    }

    /// All of it, for `/metrics`.
    pub fn measure(&self, page: &mut Page) {
        let mut methods: Vec<_> = self.methods.values().chain([&self.other]).collect();
        methods.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        page.metric(CALL_DURATION);
        for method in methods {
            method.measure(CALL_DURATION, page);
        }
    }

    /// The name of the method at this path: its own, or that of all which nobody described.
    pub(crate) fn method(&self, path: &str) -> &str {
        &self.methods.get(path).unwrap_or(&self.other).name
    }

    /// Counts a call that was answered before it came to the layer.
    pub(crate) fn answered(&self, path: &str, code: Code, took: Duration) {
        let method = self.methods.get(path).unwrap_or(&self.other);
        method.record(code, took);
    }

    fn begin(&self, path: &str) -> Call {
        Call::begin(self.methods.get(path).unwrap_or(&self.other).clone())
    }
}

/// The calls that this process makes, by method and status, of all its clients. Generated code
/// names the methods, so that there are few; of more than these, the others share one entry.
#[derive(Default)]
pub(crate) struct Made(RwLock<HashMap<Box<str>, Arc<Method>, foldhash::fast::RandomState>>);

/// Methods that are told apart.
const MOST_MADE: usize = 256;

pub(crate) static MADE: LazyLock<Made> = LazyLock::new(Made::default);

impl Made {
    /// All of it, for `/metrics`.
    pub(crate) fn measure(&self, page: &mut Page) {
        page.metric(MADE_DURATION);
        let methods = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut methods: Vec<_> = methods.values().collect();
        methods.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        for method in methods {
            method.measure(MADE_DURATION, page);
        }
    }

    /// A call that is about to be made.
    pub(crate) fn begin(&self, path: &str) -> Call {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(method) = known.get(path) {
            return Call::begin(method.clone());
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let path = if known.len() < MOST_MADE {
            path
        } else {
            "/_OTHER"
        };
        let new = || Arc::new(Method::new(path.trim_start_matches('/').to_owned()));
        Call::begin(known.entry(path.into()).or_insert_with(new).clone())
    }
}

impl Method {
    fn new(name: String) -> Self {
        Self {
            name,
            by_code: Default::default(),
        }
    }

    fn record(&self, code: Code, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS
            .iter()
            .position(|bound| nanos <= *bound)
            .unwrap_or(BOUNDS.len());
        let histogram = self.by_code[code as usize].get_or_init(Box::default);
        let stripe = &histogram.stripes[stripe_of_this_thread()];
        stripe.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        stripe.nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Some(place) = trace::current() {
            let exemplars = &histogram.exemplars;
            exemplars.note(bucket, took.as_secs_f64(), place.trace);
        }
    }

    fn measure(&self, metric: Metric, page: &mut Page) {
        for (code, histogram) in self.by_code.iter().enumerate() {
            if let Some(histogram) = histogram.get() {
                let code = status::code_name(Code::from_i32(code as i32));
                let labels = [
                    ("rpc_method", self.name.as_str()),
                    ("rpc_response_status_code", code),
                ];
                page.sizes(metric, &labels, histogram.read());
            }
        }
    }
}

impl Histogram {
    fn read(&self) -> Sizes {
        let sum = |count: &dyn Fn(&Stripe) -> &AtomicU64| -> u64 {
            let stripes = self.stripes.iter();
            stripes
                .map(|stripe| count(stripe).load(Ordering::Relaxed))
                .sum()
        };
        Sizes {
            bounds: &BOUNDS_SECONDS,
            counts: (0..=BOUNDS.len())
                .map(|bucket| sum(&|stripe| &stripe.buckets[bucket]))
                .collect(),
            sum: Duration::from_nanos(sum(&|stripe| &stripe.nanos)).as_secs_f64(),
            exemplars: self.exemplars.read(),
        }
    }
}

/// `package.Service/Method` of every method in an encoded descriptor set.
fn method_names(set: &[u8]) -> Result<Vec<String>, prost::DecodeError> {
    let set = FileDescriptorSet::decode(set)?;
    let names = set.file.iter().flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            let methods = service.method.iter();
            methods.map(|method| format!("{}.{}/{}", file.package(), service.name(), method.name()))
        })
    });
    Ok(names.collect())
}

/// Threads take their stripes in turn, once.
fn stripe_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}

/// A call that is counted when it is dropped; without an end before that, as CANCELLED.
pub(crate) struct Call {
    method: Arc<Method>,
    began: Instant,
    code: Code,
}

impl Call {
    fn begin(method: Arc<Method>) -> Self {
        Self {
            method,
            began: Instant::now(),
            code: Code::Cancelled,
        }
    }

    /// The same answer, whose end is this call's.
    pub(crate) fn around<R: http_body::Body>(
        self,
        answer: http::Response<R>,
    ) -> http::Response<MeasuredBody<R>> {
        let mut call = Some(self);
        // An error's status is in the headers, a success has its own behind the body.
        let ended = code_in(answer.headers())
            .or_else(|| answer.body().is_end_stream().then_some(Code::Unknown));
        if let Some((code, call)) = ended.zip(call.take_if(|_| ended.is_some())) {
            call.end(code);
        }
        answer.map(|body| MeasuredBody { body, call })
    }

    fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.method.record(self.code, self.began.elapsed());
    }
}

/// Counts and times every call.
pub fn layer(metrics: Arc<Metrics>) -> MetricsLayer {
    MetricsLayer { metrics }
}

/// See [`layer`].
#[derive(Clone)]
pub struct MetricsLayer {
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// A service whose calls are counted and timed: see [`layer`].
#[derive(Clone)]
pub struct Measured<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, Q, R> Service<http::Request<Q>> for Measured<S>
where
    S: Service<http::Request<Q>, Response = http::Response<R>>,
    R: http_body::Body,
{
    type Response = http::Response<MeasuredBody<R>>;
    type Error = S::Error;
    type Future = MeasuredFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let call = Some(self.metrics.begin(request.uri().path()));
        MeasuredFuture {
            answer: self.inner.call(request),
            call,
        }
    }
}

pin_project! {
    /// The answer of a call that is counted.
    pub struct MeasuredFuture<F> {
        #[pin]
        answer: F,
        call: Option<Call>,
    }
}

impl<F, R, E> Future for MeasuredFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    R: http_body::Body,
{
    type Output = Result<http::Response<MeasuredBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        Poll::Ready(match (answer, this.call.take()) {
            (Ok(answer), Some(call)) => Ok(call.around(answer)),
            // Polled after its end, which nobody does.
            (Ok(answer), None) => Ok(answer.map(|body| MeasuredBody { body, call: None })),
            (Err(error), call) => {
                call.into_iter().for_each(|call| call.end(Code::Unknown));
                Err(error)
            }
        })
    }
}

pin_project! {
    /// The body of a call that is counted at its end.
    pub struct MeasuredBody<B> {
        #[pin]
        body: B,
        call: Option<Call>,
    }
}

impl<B: http_body::Body> http_body::Body for MeasuredBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let ended = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(code_in),
            Some(Err(_)) | None => Some(None),
        };
        if let Some((code, call)) = ended.zip(this.call.take_if(|_| ended.is_some())) {
            call.end(code.unwrap_or(Code::Unknown));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(Status::GRPC_STATUS)
        .map(|code| Code::from_bytes(code.as_bytes()))
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
