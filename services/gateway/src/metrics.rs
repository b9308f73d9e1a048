//! Every request counted and timed, by route, method and status.
//!
//! A route is the template that it was found by, never the path, and a method beyond the usual is
//! `_OTHER`: strangers cannot grow the metrics.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long requests took, from their head to their answer's head.
pub const REQUEST_DURATION: &str = "http_server_request_duration_seconds";
/// Requests that are being answered.
pub const ACTIVE_REQUESTS: &str = "http_server_active_requests";

/// The histogram's upper bounds in microseconds, and as they are written.
const BOUNDS: [(u64, &str); 12] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (2_500_000, "2.5"),
    (10_000_000, "10"),
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

    /// All of it as Prometheus text.
    pub fn render(&self) -> String {
        let active = self.active.load(Ordering::Relaxed);
        let mut text = format!(
            "# HELP {ACTIVE_REQUESTS} Requests that are being answered.\n\
             # TYPE {ACTIVE_REQUESTS} gauge\n{ACTIVE_REQUESTS} {active}\n\
             # HELP {REQUEST_DURATION} Time from a request's head to its answer's.\n\
             # TYPE {REQUEST_DURATION} histogram\n"
        );
        for ((route, method, status), histogram) in &*self.series() {
            let labels = format!(
                "http_route=\"{route}\",http_request_method=\"{method}\",\
                 http_response_status_code=\"{status}\""
            );
            histogram.render(&labels, &mut text);
        }
        text
    }

    /// The map is whole whatever happened to whoever held it.
    fn series(&self) -> MutexGuard<'_, BTreeMap<(String, &'static str, u16), Histogram>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histogram {
    fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| micros <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())] += 1;
        self.micros = self.micros.saturating_add(micros);
    }

    fn render(&self, labels: &str, text: &mut String) {
        let mut total = 0;
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (count, bound) in self.buckets.iter().zip(bounds) {
            total += count;
            _ = writeln!(
                text,
                "{REQUEST_DURATION}_bucket{{{labels},le=\"{bound}\"}} {total}"
            );
        }
        let seconds = Duration::from_micros(self.micros).as_secs_f64();
        _ = writeln!(text, "{REQUEST_DURATION}_sum{{{labels}}} {seconds}");
        _ = writeln!(text, "{REQUEST_DURATION}_count{{{labels}}} {total}");
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

fn word(method: &Method) -> &'static str {
    const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let usual = USUAL.into_iter().find(|usual| *usual == method.as_str());
    usual.unwrap_or(OTHER)
}
