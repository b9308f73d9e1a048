//! Every request counted and timed, by route, method and status.
//!
//! A route is the template that it was found by, never the path, and a method beyond the usual is
//! `_OTHER`: strangers cannot grow the metrics.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use larder_runtime::exposition::{Metric, Page, Sizes};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long requests took, from their head to their answer's head.
pub const REQUEST_DURATION: Metric = Metric::histogram(
    "http_server_request_duration_seconds",
    "Time from a request's head to its answer's.",
);
/// Requests that are being answered.
pub const ACTIVE_REQUESTS: Metric = Metric::gauge(
    "http_server_active_requests",
    "Requests that are being answered.",
);

/// The histogram's upper bounds in microseconds.
const BOUNDS: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 2_500_000,
    10_000_000,
];
/// The same in seconds.
const BOUNDS_SECONDS: [f64; BOUNDS.len()] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.5, 10.0,
];
/// What nobody was there to be answered.
const LEFT: u16 = 499;
const OTHER: &str = "_OTHER";

/// The requests of a gateway.
#[derive(Default)]
pub struct Metrics {
    /// By route, method and status. A short section under a lock beside a call over the network.
    series: Mutex<BTreeMap<(String, &'static str, u16), Histogram>>,
    active: AtomicI64,
}

#[derive(Clone, Copy, Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len() + 1],
    micros: u64,
}

impl Metrics {
    /// How many requests are under way.
    pub fn active(&self) -> usize {
        usize::try_from(self.active.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// All of it, for `/metrics`.
    pub fn measure(&self, page: &mut Page) {
        let active = self.active.load(Ordering::Relaxed);
        page.add(ACTIVE_REQUESTS, &[], active as f64);
        page.metric(REQUEST_DURATION);
        for ((route, method, status), histogram) in &*self.series() {
            let labels = [
                ("http_route", route.as_str()),
                ("http_request_method", method),
                ("http_response_status_code", &status.to_string()),
            ];
            page.sizes(REQUEST_DURATION, &labels, histogram.read());
        }
    }

    /// The map is whole whatever happened to whoever held it.
    fn series(&self) -> MutexGuard<'_, BTreeMap<(String, &'static str, u16), Histogram>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histogram {
    fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())] += 1;
        self.micros = self.micros.saturating_add(micros);
    }

    fn read(&self) -> Sizes {
        Sizes {
            bounds: &BOUNDS_SECONDS,
            counts: self.buckets.to_vec(),
            sum: Duration::from_micros(self.micros).as_secs_f64(),
            exemplars: Vec::new(),
        }
    }
}

/// A request that is counted when it is dropped; without an answer before that, as one whose
/// client left.
struct Measured {
    metrics: Arc<Metrics>,
    route: String,
    method: &'static str,
    began: Instant,
    status: u16,
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.metrics.active.fetch_sub(1, Ordering::Relaxed);
        let key = (std::mem::take(&mut self.route), self.method, self.status);
        let took = self.began.elapsed();
        self.metrics.series().entry(key).or_default().record(took);
    }
}

/// Counts and times a request.
pub async fn measure(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    metrics.active.fetch_add(1, Ordering::Relaxed);
    let mut measured = Measured {
        metrics,
        route: route.map_or(OTHER, MatchedPath::as_str).to_owned(),
        method: word(request.method()),
        began: Instant::now(),
        status: LEFT,
    };
    let response = next.run(request).await;
    measured.status = response.status().as_u16();
    response
}

/// A method by its name, or by one for all that are unusual.
pub(crate) fn word(method: &Method) -> &'static str {
    const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let usual = USUAL.into_iter().find(|usual| *usual == method.as_str());
    usual.unwrap_or(OTHER)
}
