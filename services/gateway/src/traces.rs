//! A span around each request whose trace is recorded.

use crate::metrics::word;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use larder_runtime::trace::{self, TARGET};
use tracing::Instrument as _;
use tracing::field::Empty;

/// Records a request, if its trace is.
pub async fn record(request: Request, next: Next) -> Response {
    let Some(begun) = trace::begin(request.headers()) else {
        return next.run(request).await;
    };
    let method = word(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(MatchedPath::as_str);
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let span = begun.with(tracing::info_span!(
        target: TARGET,
        parent: None,
        "http",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        url.scheme = "http",
        url.path = request.uri().path(),
        error.type = Empty,
    ));
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
    response
}
